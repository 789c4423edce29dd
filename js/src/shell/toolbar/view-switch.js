/** Layers or routes: two ways to look at one computation. */

import { h, setAttribute } from "../parts/dom.js";

/** @import { Controller } from "../../state/controller.js" */
/** @import { State } from "../../state/state.js" */
/** @import { ViewName } from "../../types.js" */

/** @type {[ViewName, string, string][]} */
const VIEWS = [
  ["block", "Layers", "The stream of one position, layer by layer"],
  ["routes", "Routes", "Where the prediction comes from: all positions, all layers"],
];

/** @param {Controller} controller */
export function createViewSwitch({ dispatch }) {
  const buttons = VIEWS.map(([view, label, title]) =>
    h(
      "button",
      {
        type: "button",
        class: "vw-switch-part",
        "data-view": view,
        title,
        click: () => dispatch({ type: "set-view", view }),
      },
      label,
    ),
  );
  const el = h("div", { class: "vw-switch", role: "group", "aria-label": "View" }, buttons);

  /** @param {State} state */
  function update({ view, graph }) {
    for (const button of buttons) {
      setAttribute(button, "aria-pressed", String(button.dataset.view === view));
      button.disabled = !graph;
    }
  }

  return { el, update };
}
