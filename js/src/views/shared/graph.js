/** A flow graph, indexed for layout: what a layer holds and what flows into what. */

/** @typedef {import("../../types.js").FlowGraph} FlowGraph */
/** @typedef {import("../../types.js").Node} Node */
/** @typedef {import("../../types.js").Edge} Edge */
/** @typedef {import("../../types.js").Measure} Measure */

/**
 * @typedef {object} LayerParts
 * @property {number} layer
 * @property {Node | undefined} pre
 * @property {Node | undefined} attention Missing in layers that do not attend.
 * @property {Node | undefined} mix An opaque part in attention's place, or beside it.
 * @property {Node | undefined} mid Missing in parallel blocks, and where one half is missing.
 * @property {Node | undefined} mlp Missing in layers of attention alone.
 * @property {Node | undefined} post
 *
 * @typedef {object} GraphIndex
 * @property {FlowGraph} graph
 * @property {Map<string, Node>} nodes
 * @property {Map<string, Edge[]>} into
 * @property {Map<string, Edge[]>} from
 * @property {LayerParts[]} layers
 * @property {Map<number, Node[]>} byLayer
 */

/**
 * @template K, V
 * @param {Map<K, V[]>} groups
 * @param {K} key
 * @param {V} value
 */
function push(groups, key, value) {
  const group = groups.get(key);
  if (group) group.push(value);
  else groups.set(key, [value]);
}

/**
 * @param {FlowGraph} graph
 * @returns {GraphIndex}
 */
export function indexGraph(graph) {
  const nodes = new Map(graph.nodes.map((node) => [node.id, node]));
  /** @type {Map<string, Edge[]>} */
  const into = new Map();
  /** @type {Map<string, Edge[]>} */
  const from = new Map();
  for (const edge of graph.edges) {
    push(into, edge.target, edge);
    push(from, edge.source, edge);
  }
  /** @type {Map<number, Node[]>} */
  const byLayer = new Map();
  for (const node of nodes.values()) if (node.layer !== null) push(byLayer, node.layer, node);
  const layers = Array.from({ length: graph.model.n_layers }, (_, layer) => ({
    layer,
    pre: nodes.get(`L${layer}.pre`),
    attention: nodes.get(`L${layer}.attn`),
    mix: nodes.get(`L${layer}.mix`),
    mid: nodes.get(`L${layer}.mid`),
    mlp: nodes.get(`L${layer}.mlp`),
    post: nodes.get(`L${layer}.post`),
  }));
  return { graph, nodes, into, from, layers, byLayer };
}

const WHOLE_EDGES = new Set(["part", "write", "split"]);
const NUMBERED_BY_LOGIT = new Set([
  "value",
  "head",
  "row",
  "attention",
  "opaque",
  "neuron",
  "expert",
  "mlp",
  "bias",
  "rounding",
  "edit",
  "rest",
]);

/**
 * What a node says beside its label: what it adds to the whole it flows into.
 * @param {GraphIndex} index
 * @param {Node} node
 * @param {Measure} measure
 * @returns {number | null}
 */
export function nodeValue(index, node, measure) {
  if (!NUMBERED_BY_LOGIT.has(node.kind)) return null;
  const own = measure === "logit" ? node.logit : measure === "effect" ? node.effect : null;
  if (own != null) return own;
  let total = null;
  for (const edge of index.from.get(node.id) ?? []) {
    const value = WHOLE_EDGES.has(edge.kind) ? (edge[measure] ?? null) : null;
    if (value !== null) total = (total ?? 0) + value;
  }
  return total;
}

/**
 * @param {GraphIndex} index
 * @param {string} source
 * @param {string} target
 */
export function edgeBetween(index, source, target) {
  return index.from.get(source)?.find((edge) => edge.target === target);
}
