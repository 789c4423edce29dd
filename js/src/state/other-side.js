/** The other prompt that the one on screen is compared with, as far as it is known. */

import { BARE_NODE } from "./bare.js";
import { memoise } from "./selectors.js";

/** @import { Against, Block, Detail, FlowGraph, Node, OtherNode, PromptToken } from "../types.js" */
/** @import { State } from "./state.js" */

const otherIndex = memoise(
  (state) => [state.graph, state.blocks],
  (graph, blocks) => {
    /** @type {Map<string, Node>} */
    const found = new Map();
    if (!graph?.against) return found;
    const isNow = (/** @type {Block} */ { revision }) => revision === graph.revision;
    const opened = Object.values(blocks).filter(isNow);
    /** @type {OtherNode[]} */
    const nodes = [graph.against, ...opened.map(({ against }) => against)].flatMap(
      (side) => side?.nodes ?? [],
    );
    for (const node of nodes) {
      const facts = graph.against.streams[node.id];
      found.set(node.id, { ...BARE_NODE, ...node, ...(facts ? { label: facts.label } : {}) });
    }
    return found;
  },
);

/**
 * The same node in the other prompt: its detail where that has come, else what the graph holds.
 *
 * @param {State} state
 * @param {string} id
 * @returns {Detail | Node | null} Null where there is no other prompt, or no such part in it.
 */
export function otherNode(state, id) {
  if (!state.graph?.against) return null;
  const detail = state.details[id] ?? state.oldDetails[id];
  return detail?.other ?? otherIndex(state).get(id) ?? null;
}

/**
 * @param {Pick<Against, "pairs">} against
 * @param {number} position Here.
 * @returns {number | null} That of its partner there.
 */
export const partnerOf = ({ pairs }, position) =>
  pairs.find(([here]) => here === position)?.[1] ?? null;

/**
 * @typedef {object} TokenPair Null where a token has no partner.
 * @property {PromptToken | null} here
 * @property {PromptToken | null} there
 */

/**
 * The tokens of both prompts, partners beside each other, each in its order.
 *
 * @param {FlowGraph} graph
 * @returns {TokenPair[]}
 */
export function alignedTokens({ tokens, against }) {
  const others = against?.tokens ?? [];
  /** @type {TokenPair[]} */
  const found = [];
  let [here, there] = [0, 0];
  const alone = (/** @type {number} */ toHere, /** @type {number} */ toThere) => {
    for (; here < toHere; here++) found.push({ here: tokens[here], there: null });
    for (; there < toThere; there++) found.push({ here: null, there: others[there] });
  };
  for (const [i, j] of against?.pairs ?? []) {
    alone(i, j);
    found.push({ here: tokens[here++], there: others[there++] });
  }
  alone(tokens.length, others.length);
  return found;
}
