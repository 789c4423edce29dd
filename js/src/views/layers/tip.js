/** What a node is, beside the pointer. Says only what is already known: it never asks the kernel. */

import { otherNode } from "../../state/other-side.js";
import { knownNode, measuredOf, outgoingPart } from "../../state/selectors.js";
import { h } from "../../ui/dom.js";
import { kindWords, nodeFacts, nodeTitle, rankWords } from "../../words/words.js";
import { tokenTable } from "../shared/tokenTable.js";

/** @import { State } from "../../state/state.js" */
/** @import { Node } from "../../types.js" */
/** @import { Tip } from "../../ui/tip.js" */

/** @param {Tip} tip */
export function createNodeTip(tip) {
  /**
   * @param {State} state
   * @param {string} id
   * @param {number} x In client coordinates.
   * @param {number} y
   */
  function show(state, id, x, y) {
    const node = knownNode(state, id);
    if (!node || !state.graph) return tip.hide();
    tip.show(id, () => contentOf(state, node), x, y);
  }

  return { show, hide: tip.hide };
}

/**
 * @param {State} state
 * @param {Node} node
 */
function contentOf(state, node) {
  const graph = /** @type {NonNullable<State["graph"]>} */ (state.graph);
  const edge = outgoingPart(state, node.id);
  const measured = measuredOf(state, node.id);
  const other = otherNode(state, node.id);
  const part = { share: edge?.share ?? null, whole: edge?.target ?? null, measured, other };
  const tokens = node.kind === "logits" ? graph.prediction : node.top;
  return [
    h("p", { class: "vw-tip-title" }, nodeTitle(node, graph)),
    h("p", { class: "vw-tip-kind" }, kindWords(node, graph)),
    // The first of its tokens is its label, but for a sign that the graph chose to read otherwise.
    node.label !== null &&
      node.label !== tokens[0]?.text &&
      h("p", { class: "vw-tip-label vw-token" }, node.label),
    tokenTable(tokens, graph, node.unit),
    ...nodeFacts(node, graph, part).map((fact) => h("p", { class: "vw-tip-facts" }, fact)),
    node.target_rank !== null &&
      h(
        "p",
        { class: "vw-tip-facts" },
        `${graph.target.text}: ${rankWords(node.target_rank)} here`,
      ),
  ];
}
