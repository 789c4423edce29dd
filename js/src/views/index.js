/** The views of a widget: a folder each, and a line each here. */

import { layersTables } from "./layers/table.js";
import { createLayersView } from "./layers/view.js";
import { routesTables } from "./routes/table.js";
import { createRoutesView } from "./routes/view.js";

/** @import { Controller } from "../state/controller.js" */
/** @import { State } from "../state/state.js" */
/** @import { ViewName } from "../types.js" */
/** @import { Tip } from "../ui/tip.js" */
/** @import { ViewTables } from "./shared/tables.js" */

/**
 * @typedef {object} Room What a view has to draw in.
 * @property {number} width In pixels; 0 until the page is laid out.
 * @property {number} height That a picture should keep to, if it can.
 * @property {boolean} dark
 * @property {boolean} reducedMotion
 * @property {boolean} [whole] Whether all of the picture is needed at once, in sight or not.
 * @property {Set<string> | null} [found] Nodes, and "token 3", that a search lights; null for none.
 *
 * @typedef {object} Surroundings What the shell lends a view.
 * @property {Tip} tip
 * @property {(message: string) => void} onProblem
 *
 * @typedef {object} Spot In pixels from the view's corner.
 * @property {number} left
 * @property {number} top
 * @property {number} width
 * @property {number} height
 *
 * @typedef {object} View
 * @property {HTMLElement} el
 * @property {(state: State, room: Room) => void} update Also of a state in which another view is
 *   shown: `state.view` says which.
 * @property {(id: string) => Spot | null} [spot] Where something may lie over the picture while this
 *   node of it is read. A view without it is drawn again in what is left beside.
 * @property {() => void} hide What follows the pointer goes.
 * @property {() => void} destroy
 *
 * @typedef {object} ViewEntry
 * @property {ViewName} name
 * @property {string} label
 * @property {string} title
 * @property {(controller: Controller, shell: Surroundings) => View} create
 * @property {(state: State) => ViewTables} tables All that its picture says, for those who do not see
 *   it: each view has both, so that no view can be added that only some can read.
 */

/** @type {ViewEntry[]} */
export const VIEWS = [
  {
    name: "block",
    label: "Layers",
    title: "The stream of one position, layer by layer",
    create: createLayersView,
    tables: layersTables,
  },
  {
    name: "routes",
    label: "Routes",
    title: "Where the prediction comes from: all positions, all layers",
    create: createRoutesView,
    tables: routesTables,
  },
];
