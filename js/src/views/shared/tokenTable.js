/** A few tokens and how likely each is, as a small table. */

import { h } from "../../ui/dom.js";
import { tokenWords } from "../../ui/token.js";
import { strength } from "../../words/lenses.js";

/** @import { FlowGraph, Node } from "../../types.js" */

const TOKENS = 5;

/**
 * @param {Node["top"]} tokens
 * @param {FlowGraph} graph
 * @param {Node["unit"]} [unit]
 */
export function tokenTable(tokens, graph, unit) {
  if (tokens.length === 0) return null;
  return h(
    "table",
    { class: "vw-tip-tokens" },
    tokens
      .slice(0, TOKENS)
      .map((token) =>
        h(
          "tr",
          { class: token.id === graph.target.id ? "target" : null },
          h("td", { class: "vw-token" }, tokenWords(token)),
          h("td", {}, strength(token, unit ?? undefined)),
        ),
      ),
  );
}
