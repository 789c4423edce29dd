/** The layers view: the stream of one position, layer by layer, in the shell. */

import { withHeads } from "../../state/filters.js";
import { knownNode, mergedGraph, pendingLayers, shownMeasure } from "../../state/selectors.js";
import { createChangeGuard, h } from "../../ui/dom.js";
import { createStage } from "./drawing/stage.js";
import { gatheredLayer, gatherHeads } from "./gather.js";
import { createNodeTip } from "./tip.js";

/** @import { Controller } from "../../state/controller.js" */
/** @import { State } from "../../state/state.js" */
/** @import { FlowGraph, StageAction } from "../../types.js" */
/** @import { Room, Surroundings } from "../index.js" */

/**
 * @param {Controller} controller
 * @param {Surroundings} shell
 */
export function createLayersView(controller, { tip, onProblem }) {
  const el = h("div", { class: "vw-stage-slot", "data-role": "stage", hidden: true });
  const tooltip = createNodeTip(tip);
  const stage = createStage(el, { dispatch });
  const changed = createChangeGuard();
  const regather = createChangeGuard();
  /** @type {FlowGraph | null} */
  let gathered = null;
  /** @type {string | null} */
  let hovered = null;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let later;
  let pendingDrawn = 0;
  /** @type {Room} */
  let room = { width: 0, height: 0, dark: false, reducedMotion: false, found: null };
  const hide = () => hover({ node: null, x: 0, y: 0 });
  el.addEventListener("pointerleave", hide);

  /** @param {StageAction} action */
  function dispatch(action) {
    if (action.type === "hover") return hover(action);
    if (action.type !== "select") return controller.dispatch(action);
    // The heads that were put together come apart again.
    const layer = action.nodes.map(gatheredLayer).find((each) => each !== null);
    if (layer == null) return controller.dispatch(action);
    const { filters } = controller.getState();
    controller.dispatch({ type: "set-filters", filters: withHeads(filters, layer, null) });
  }

  /** @param {{node: string | null, x: number, y: number}} action */
  function hover({ node, x, y }) {
    const state = controller.getState();
    // The panel says more of the node it shows.
    if (node === null || node === state.selection.at(-1)) tooltip.hide();
    else tooltip.show(state, node, x, y);
    if (hovered === node) return;
    hovered = node;
    draw(state);
  }

  /**
   * @param {State} state
   * @param {Room} next
   */
  function update(state, next) {
    room = next;
    el.hidden = state.graph === null || state.view !== "block";
    if (hovered !== null && hovered === state.selection.at(-1)) tooltip.hide();
    const known = hovered === null || gatheredLayer(hovered) !== null || knownNode(state, hovered);
    if (!known) hide();
    // What a page carries is there before a picture of the wait for it could be seen.
    if (!room.whole && pendingLayers(state).length > pendingDrawn) {
      later ??= setTimeout(() => draw(controller.getState()));
    } else draw(state);
  }

  /** @param {State} state */
  function draw(state) {
    clearTimeout(later);
    later = undefined;
    // Until it is attached and laid out there is no width to draw to.
    if (room.width === 0 || state.view !== "block") return;
    const { heads, layers } = state.filters;
    const whole = mergedGraph(state);
    // Drawn anew only where something changed.
    if (regather(whole, heads)) gathered = whole && gatherHeads(whole, heads);
    const graph = gathered;
    if (!graph) return;
    const { expanded, selection, effects, sinks, composed } = state;
    const measure = shownMeasure(state);
    const pending = pendingLayers(state);
    pendingDrawn = pending.length;
    const told = measure === "effect" ? effects : undefined;
    const of = [graph, expanded, pending, selection, hovered, measure, layers, told];
    of.push(sinks, composed);
    if (!changed(...of, ...Object.values(room))) return;
    const view = {
      graph,
      expanded,
      pending,
      selection,
      hovered,
      measure,
      layers,
      effects: told,
      sinks,
      composed,
      ...room,
    };
    try {
      stage.update(view);
    } catch (error) {
      // The prompt and the panel go on working; so does the other view.
      console.error(error);
      const why = error instanceof Error ? error.message : String(error);
      onProblem(`The graph could not be drawn: ${why}`);
    }
  }

  function destroy() {
    clearTimeout(later);
    stage.destroy();
  }

  return { el, update, spot: stage.spot, hide: tooltip.hide, destroy };
}
