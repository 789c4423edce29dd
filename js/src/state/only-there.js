/** What the other prompt's graph has and this one's has not, so that it is drawn beside it. */

import { BARE_EDGE, BARE_NODE } from "./bare.js";

/** @import { Against, Block, Edge, FlowGraph, Node, OtherNode } from "../types.js" */

/** Kinds that one prompt may have alone: of a token, or an expert, that the other has not. */
const KINDS = new Set(["key", "value", "neuron", "neuron_key", "expert", "head", "row"]);
const POSITION = /^P(b?)(\d+)\./;
const HEAD = /(?:^|\.)L(\d+)\.H(\d+)\./;
const SOURCE = /\.[KV](b?)(\d+)$/;

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
  const [, own, at] = POSITION.exec(node.id) ?? [];
  const [, alone, of] = SOURCE.exec(node.id) ?? [];
  const [, layer, head] = HEAD.exec(node.id) ?? [];
  return {
    ...BARE_NODE,
    ...(layer === undefined ? {} : { layer: Number(layer), head: Number(head) }),
    ...node,
    // Among the tokens of this prompt. Below nothing: one of the other, which has no place there.
    ...(at === undefined ? {} : { position: own ? -1 - Number(at) : Number(at) }),
    source: of === undefined ? null : alone ? -1 - Number(of) : Number(of),
    logit: null,
    effect: null,
    target_rank: null,
    target_probability: null,
    activation: null,
    only: "there",
  };
}
