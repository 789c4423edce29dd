/** Heads that the reader has hidden, drawn as one: the others of their layer. Sums stay what they are. */

/** @import { Edge, Filters, FlowGraph, Node } from "../../types.js" */

const GATHERED = /^L(\d+)\.attn\.others$/;

/**
 * @param {string} id
 * @returns {number | null} The layer whose hidden heads it stands for, if it does.
 */
export function gatheredLayer(id) {
  const found = GATHERED.exec(id);
  return found ? Number(found[1]) : null;
}

/**
 * The graph with the heads that are not chosen in one node a layer, which brings what they bring.
 *
 * @param {FlowGraph} graph
 * @param {Filters["heads"]} chosen By layer.
 * @returns {FlowGraph}
 */
export function gatherHeads(graph, chosen) {
  const gathered = Object.entries(chosen)
    .map(([layer, heads]) => hiddenHeads(graph, Number(layer), heads))
    .filter((each) => each !== null);
  if (gathered.length === 0) return graph;
  const gone = new Set(gathered.flatMap(({ ids }) => ids));
  const isGone = (/** @type {string} */ id) => gone.has(id);
  return {
    ...graph,
    nodes: [...graph.nodes.filter(({ id }) => !isGone(id)), ...gathered.map(({ node }) => node)],
    edges: [
      ...graph.edges.filter(({ source, target }) => !isGone(source) && !isGone(target)),
      ...gathered.map(({ edge }) => edge),
    ],
  };
}

/**
 * @param {FlowGraph} graph
 * @param {number} layer
 * @param {number[]} chosen
 * @returns {{ids: string[], node: Node, edge: Edge} | null}
 */
function hiddenHeads({ nodes, edges }, layer, chosen) {
  const own = nodes.filter((node) => node.layer === layer);
  const hidden = own.filter(({ kind, head }) => kind === "head" && !chosen.includes(head ?? -1));
  if (hidden.length === 0) return null;
  const names = new Set(hidden.map(({ id }) => id));
  const isPart = (/** @type {string} */ id) =>
    names.has(id) || names.has(id.split(".").slice(0, 2).join("."));
  const rows = own.filter(({ kind, head }) => kind === "row" && names.has(`L${layer}.H${head}`));
  const ids = [...own.filter(({ id }) => isPart(id)), ...rows].map(({ id }) => id);
  const gone = new Set(ids);
  const whole = `L${layer}.attn`;
  const into = edges.filter(({ source, target }) => target === whole && gone.has(source));
  const id = `${whole}.others`;
  const [first] = hidden;
  return {
    ids,
    node: {
      ...first,
      id,
      kind: "rest",
      head: null,
      label: null,
      top: [],
      bottom: [],
      target_probability: null,
      target_rank: null,
      norm: null,
      logit: sumOf(into.map(({ logit }) => logit)),
      rest: { of: "head", count: hidden.length },
    },
    edge: {
      source: id,
      target: whole,
      kind: "part",
      share: sumOf(into.map(({ share }) => share)),
      logit: sumOf(into.map(({ logit }) => logit)),
      effect: sumOf(into.map(({ effect = null }) => effect)),
      // Lengths and proximities do not add up: no width stands for those of a sum.
      norm: null,
      proximity: null,
      value: null,
    },
  };
}

/** @param {(number | null)[]} values */
function sumOf(values) {
  if (values.length === 0 || values.some((value) => value === null)) return null;
  return values.reduce((/** @type {number} */ sum, value) => sum + (value ?? 0), 0);
}
