/** What a node is, beside the pointer. Says only what is already known: it never asks the kernel. */

import { knownNode, outgoingPart } from "../../state/selectors.js";
import { fill, h } from "./dom.js";
import { percent } from "./format.js";
import { KIND_WORDS, nodeFacts, nodeTitle, rankWords } from "./words.js";

/** @import { State } from "../../state/state.js" */
/** @import { Node } from "../../types.js" */

const OFFSET = 14;
const MARGIN = 6;
const TOKENS = 5;

/** @typedef {ReturnType<typeof createTip>} Tip */

/** @param {Tip} tip */
export function createTooltip(tip) {
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
 * The box itself, whatever it says; one for all that a view shows.
 *
 * @param {HTMLElement} root
 * @param {HTMLElement} panel Not to be covered, where it stands beside the stage.
 */
export function createTip(root, panel) {
  const el = h("div", { class: "vw-tooltip", role: "tooltip", hidden: true });
  root.append(el);

  /**
   * @param {string} id What it is of: said anew only when that changes.
   * @param {() => import("./dom.js").Child[]} content
   * @param {number} x In client coordinates.
   * @param {number} y
   */
  function show(id, content, x, y) {
    if (el.dataset.of !== id || el.hidden) {
      fill(el, content());
      el.dataset.of = id;
      el.hidden = false;
    }
    place(x, y);
  }

  function hide() {
    el.hidden = true;
  }

  /**
   * @param {number} x
   * @param {number} y
   */
  function place(x, y) {
    const frame = root.getBoundingClientRect();
    const { offsetWidth: width, offsetHeight: height } = el;
    const right = x - frame.left + OFFSET;
    const below = y - frame.top + OFFSET;
    const edge = panel.offsetLeft > 0 ? panel.offsetLeft : frame.width;
    const left = right + width > edge - MARGIN ? right - width - 2 * OFFSET : right;
    const top = below + height > frame.height - MARGIN ? below - height - 2 * OFFSET : below;
    el.style.left = `${clamp(left, MARGIN, frame.width - width - MARGIN)}px`;
    el.style.top = `${clamp(top, MARGIN, frame.height - height - MARGIN)}px`;
  }

  return { show, hide };
}

/**
 * @param {State} state
 * @param {Node} node
 */
function contentOf(state, node) {
  const graph = /** @type {NonNullable<State["graph"]>} */ (state.graph);
  const edge = outgoingPart(state, node.id);
  const part = { share: edge?.share ?? null, whole: edge?.target ?? null };
  const tokens = node.kind === "logits" ? graph.prediction : node.top;
  return [
    h("p", { class: "vw-tip-title" }, nodeTitle(node, graph)),
    h("p", { class: "vw-tip-kind" }, KIND_WORDS[node.kind]),
    // The first of its tokens is its label, but for a sign that the graph chose to read otherwise.
    node.label !== null &&
      node.label !== tokens[0]?.text &&
      h("p", { class: "vw-tip-label vw-token" }, node.label),
    tokenTable(tokens, graph),
    ...nodeFacts(node, graph, part).map((fact) => h("p", { class: "vw-tip-facts" }, fact)),
    node.target_rank !== null &&
      h(
        "p",
        { class: "vw-tip-facts" },
        `${graph.target.text}: ${rankWords(node.target_rank)} here`,
      ),
  ];
}

/**
 * @param {Node["top"]} tokens
 * @param {NonNullable<State["graph"]>} graph
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

/**
 * @param {number} value
 * @param {number} low
 * @param {number} high
 */
const clamp = (value, low, high) => Math.max(low, Math.min(value, high));
