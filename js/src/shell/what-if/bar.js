/** What is done to the pass that is on screen: a chip each, and what became of the prediction. */

import { withoutIntervention } from "../../state/interventions.js";
import { layerOf } from "../../state/revisions.js";
import { sameValue } from "../../state/same.js";
import { createChangeGuard, fill, h, iconButton } from "../../ui/dom.js";
import { createRoving } from "../../ui/roving.js";
import { interventionWords, nameOfPart, outcome } from "../../words/interventions.js";
import { createRuns } from "./runs.js";

/** @import { Controller } from "../../state/controller.js" */
/** @import { State } from "../../state/state.js" */
/** @import { FlowGraph, Intervention } from "../../types.js" */
/** @import { Popovers } from "../../ui/popover.js" */

/**
 * @param {Controller} controller
 * @param {Popovers} popovers
 */
export function createInterventionBar(controller, popovers) {
  const { dispatch, live } = controller;
  const runs = createRuns(controller, popovers);
  const changed = createChangeGuard();
  const el = h("div", {
    class: "vw-edits",
    "data-role": "interventions",
    role: "group",
    "aria-label": "What is changed in this pass",
    hidden: true,
  });
  const roving = createRoving(el);
  const set = (/** @type {Intervention[]} */ interventions) =>
    dispatch({ type: "set-interventions", interventions });

  /** @param {State} state */
  function update(state) {
    const { interventions: list, graph } = state;
    if (!changed(list, graph, state.runs)) return;
    runs.update(state);
    el.hidden = !graph || (list.length === 0 && state.runs.length === 0);
    if (!graph) return;
    const waits = live && !sameValue(list, graph.interventions ?? []);
    fill(
      el,
      h("span", {}, "what if"),
      list.length === 0 && h("span", {}, "nothing is changed now"),
      list.map((item, at) => chipOf(item, at, list, graph)),
      live &&
        list.length > 0 &&
        h(
          "button",
          { class: "vw-link", "data-role": "remove-all", click: () => set([]) },
          "remove all",
        ),
      h(
        "span",
        { class: waits ? "vw-outcome waiting" : "vw-outcome", "data-role": "outcome" },
        outcome(graph),
      ),
      runs.open,
    );
  }

  /**
   * @param {Intervention} item
   * @param {number} at
   * @param {Intervention[]} list
   * @param {FlowGraph} graph
   */
  function chipOf(item, at, list, graph) {
    const words = `${nameOfPart(item.id, graph)} ${interventionWords(item, graph)}`;
    return h(
      "span",
      { class: "vw-edit", "data-id": item.id },
      h(
        "button",
        {
          title: "Show it",
          click: () => dispatch({ type: "reveal", node: item.id, layer: layerOf(item.id) }),
        },
        words,
      ),
      live &&
        iconButton("close", `Take back: ${words}`, () => set(withoutIntervention(list, at)), {
          "data-role": `take-back-${at}`,
        }),
    );
  }

  return { el, update, roving, destroy: roving.destroy };
}
