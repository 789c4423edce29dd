/** The routes view in the shell: its stage, its tooltip, and what stands there while it has none. */

import { createChangeGuard, h } from "../../ui/dom.js";
import { createRoutesStage } from "./drawing/stage.js";
import { openRoute } from "./open.js";
import { nodeTip, onlyTip, ribbonTip } from "./tip.js";
import { nothingPasses, otherMeasure, waitingWords } from "./words.js";

/** @import { Controller } from "../../state/controller.js" */
/** @import { State } from "../../state/state.js" */
/** @import { Room, Surroundings } from "../index.js" */
/** @import { FlowGraph, Node, Routes } from "../../types.js" */
/** @import { RoutesScene } from "./layout/scene.js" */
/** @import { RouteTarget } from "./drawing/pointer.js" */

/**
 * @param {Controller} controller
 * @param {Surroundings} shell
 */
export function createRoutesView(controller, { tip, onProblem }) {
  const slot = h("div", { class: "vw-stage-slot" });
  const note = h("p", { class: "vw-placeholder", role: "status", "aria-live": "off" });
  const el = h("div", { class: "vw-routes-slot", "data-role": "routes", hidden: true }, note, slot);
  el.addEventListener("pointerleave", tip.hide);
  const stage = createRoutesStage(slot, { hover, open });
  const changed = createChangeGuard();
  /** @type {{routes: Routes, graph: FlowGraph} | null} The last that belong together. */
  let shown = null;

  /**
   * @param {State} state
   * @param {Room} room
   */
  function update(state, { width, reducedMotion, found = null }) {
    const away = state.view !== "routes" || !state.graph;
    if (away && !el.hidden) tip.hide();
    el.hidden = away;
    if (away) return;
    const graph = state.graph;
    const { routes } = state;
    if (!routes) shown = null;
    else if (graph && routes.revision === graph.revision && routes !== shown?.routes) {
      shown = { routes, graph };
    }
    const empty = shown?.routes.nodes.every(({ kind }) => kind !== "residual") ?? false;
    slot.hidden = shown === null || empty;
    const saved = shown?.routes.measure;
    const other = !controller.live && saved !== undefined && saved !== state.measure;
    note.hidden = !slot.hidden && !other;
    if (slot.hidden) note.textContent = empty ? nothingPasses(state) : waitingWords(state);
    else if (other) note.textContent = otherMeasure(saved, state.measure);
    if (!shown || empty || width === 0) return;
    const { keep, selection } = state;
    const { layers } = state.filters;
    if (!changed(shown, keep, selection, width, reducedMotion, found, layers)) return;
    try {
      stage.update({ ...shown, keep, selection, width, reducedMotion, found, layers });
    } catch (error) {
      console.error(error);
      const why = error instanceof Error ? error.message : String(error);
      onProblem(`The routes could not be drawn: ${why}`);
    }
  }

  /**
   * @param {RouteTarget | null} target
   * @param {number} x
   * @param {number} y
   */
  function hover(target, x, y) {
    const { selection } = controller.getState();
    const only = target && stage.onlyAt(target);
    if (only && shown) {
      const { routes, graph } = shown;
      return tip.show(`only ${target.id}`, () => onlyTip(only, routes, graph), x, y);
    }
    const nodes = target && shown ? nodesAt(target) : [];
    const [first] = nodes;
    // The panel says more of what it shows.
    if (!target || !first || !shown || selection.includes(first.id)) return tip.hide();
    const { routes, graph } = shown;
    tip.show(
      `${target.kind} ${target.id}`,
      () =>
        first.kind === "value"
          ? ribbonTip(nodes, routes, graph)
          : nodeTip(first, routes, graph, prunedInto(routes, first.id)),
      x,
      y,
    );
  }

  /**
   * @param {RouteTarget} target
   * @returns {Node[]}
   */
  function nodesAt(target) {
    const ids = new Set(stage.nodesAt(target));
    return (shown?.routes.nodes ?? [])
      .filter(({ id }) => ids.has(id))
      .sort((a, b) => Math.abs(b.influence ?? 0) - Math.abs(a.influence ?? 0));
  }

  /**
   * @param {RouteTarget} target
   * @param {RoutesScene} scene
   * @param {boolean} additive
   */
  function open(target, scene, additive) {
    const only = stage.onlyAt(target);
    if (only) {
      tip.hide();
      const ids = only.carriers.map(({ node }) => node.id);
      controller.dispatch({ type: "select", nodes: ids, additive });
      return;
    }
    const nodes = nodesAt(target);
    if (nodes.length === 0) return;
    tip.hide();
    const { routes } = scene.model;
    controller.dispatch(openRoute(nodes, routes, controller.getState(), additive));
  }

  return {
    el,
    update,
    hide: tip.hide,
    destroy: stage.destroy,
  };
}

/**
 * @param {Routes} routes
 * @param {string} id
 */
function prunedInto({ nodes, edges }, id) {
  const rest = new Set(nodes.filter(({ kind }) => kind === "rest").map((node) => node.id));
  return edges
    .filter(({ source, target }) => target === id && rest.has(source))
    .reduce((sum, { influence }) => sum + (influence ?? 0), 0);
}
