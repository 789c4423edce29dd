/** A few tokens and how likely each is, as a small table. */

import { h } from "../../ui/dom.js";
import { percent } from "../../words/format.js";

/** @import { FlowGraph, Node } from "../../types.js" */

const TOKENS = 5;

/**
 * @param {Node["top"]} tokens
 * @param {FlowGraph} graph
 */
export function tokenTable(tokens, graph) {
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
          h("td", { class: "vw-token" }, token.text),
          h("td", {}, percent(token.probability)),
        ),
      ),
  );
}
