/** What the other prompt's graph has and this one's has not, so that it is drawn beside it. */

import { BARE_EDGE, BARE_NODE } from "./bare.js";

/** @import { Against, Block, Edge, FlowGraph, Node, OtherNode } from "../types.js" */

/** Kinds that one prompt may have alone: of a token, or an expert, that the other has not. */
const KINDS = new Set(["key", "value", "neuron", "neuron_key", "expert", "head", "row"]);
const OF_ITS_TOKEN = /\.[KV]b\d+$/;

/**
 * The other side of the graph with that of its open layers.
 *
 * @param {FlowGraph} graph
 * @param {Block[]} blocks Of the graph's own revision.
 * @returns {Against | null}
 */
export function wholeAgainst({ against }, blocks) {
  if (!against) return null;
  const sides = blocks.flatMap((block) => block.against ?? []);
  if (sides.length === 0) return against;
  return {
    ...against,
    nodes: [...against.nodes, ...sides.flatMap(({ nodes }) => nodes)],
    edges: [...against.edges, ...sides.flatMap(({ edges }) => edges)],
  };
}

/**
 * @param {Against | null} against With its open layers.
 * @param {Map<string, unknown>} own Nodes of this side.
 * @returns {{nodes: Node[], edges: Edge[]}} What this side has none of; it adds nothing here.
 */
export function onlyThere(against, own) {
  const nodes = (against?.nodes ?? [])
    .filter(({ id, kind }) => KINDS.has(kind) && !own.has(id))
    .map(nodeOnlyThere);
  const ids = new Set(nodes.map(({ id }) => id));
  const edges = (against?.edges ?? [])
    .filter(({ source, target }) => ids.has(source) || ids.has(target))
    .map(({ source, target, kind }) => ({ ...BARE_EDGE, source, target, kind }));
  return { nodes, edges };
}

/**
 * @param {OtherNode} node
 * @returns {Node} With what it says there; of this side it has no number.
 */
export function nodeOnlyThere(node) {
  const { source = null } = node;
  return {
    ...BARE_NODE,
    ...node,
    // Below nothing: a token of the other prompt, which has no place among those of this one.
    source: source !== null && OF_ITS_TOKEN.test(node.id) ? -1 - source : source,
    logit: null,
    effect: null,
    target_rank: null,
    target_probability: null,
    activation: null,
    only: "there",
  };
}
