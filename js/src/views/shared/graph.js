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
 * @property {OtherIndex | null} there The other prompt's side; null where there is none.
 *
 * @typedef {object} OtherIndex By the ids of here.
 * @property {Map<string, import("../../types.js").OtherNode>} nodes
 * @property {Map<string, Edge[]>} from
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
  return { graph, nodes, into, from, layers, byLayer, there: indexOther(graph) };
}

/**
 * @param {FlowGraph} graph
 * @returns {OtherIndex | null}
 */
function indexOther({ against }) {
  if (!against) return null;
  /** @type {Map<string, Edge[]>} */
  const from = new Map();
  for (const edge of against.edges) push(from, edge.source, /** @type {Edge} */ (edge));
  return { nodes: new Map(against.nodes.map((node) => [node.id, node])), from };
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
 * @param {Pick<GraphIndex, "from">} index
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

/**
 * The same number in the other prompt.
 * @param {GraphIndex} index
 * @param {Node} node
 * @param {Measure} measure
 * @returns {number | null} Null where nothing is compared, or nothing is known of it there.
 */
export function thereValue({ there }, { id }, measure) {
  const other = there?.nodes.get(id);
  return there && other ? nodeValue(there, /** @type {Node} */ (other), measure) : null;
}

/**
 * By how much a number differs, here minus there: what one side alone has is nothing on the other.
 * @param {GraphIndex} index
 * @param {Node} node
 * @param {number | null} here
 * @param {Measure} measure
 * @returns {number | null}
 */
export function differenceOf(index, node, here, measure) {
  const there = thereValue(index, node, measure);
  if (there === null) return null;
  if (node.only) return -there;
  return here === null ? null : here - there;
}
