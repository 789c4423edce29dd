/** What a node or an edge has none of is left out on the wire. */

/** @import { Edge, Node } from "../types.js" */

/** @type {Omit<Node, "id" | "kind">} */
export const BARE_NODE = {
  layer: null,
  position: 0,
  head: null,
  source: null,
  neuron: null,
  label: null,
  top: [],
  bottom: [],
  target_probability: null,
  target_rank: null,
  norm: null,
  logit: null,
  effect: null,
  activation: null,
  weight: null,
  score: null,
  rest: null,
};
/** @type {Omit<Edge, "source" | "target" | "kind">} */
export const BARE_EDGE = { share: null, logit: null, norm: null, proximity: null, value: null };
