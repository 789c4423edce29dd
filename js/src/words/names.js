/** What a screen reader says for a node, and what a person reads when a label was cut. */

import { restOfLabel } from "./begun.js";
import { formatValue, percent } from "./figures.js";

/** @typedef {import("../types.js").FlowGraph} FlowGraph */
/** @typedef {import("../types.js").Node} Node */
/** @typedef {import("../types.js").Edge} Edge */
/** @typedef {import("../types.js").Measure} Measure */
/** @typedef {import("../views/shared/graph.js").GraphIndex} GraphIndex */

/** What an opaque part is: a state space, a convolution, linear attention. */
export const OPAQUE = "a layer that does not attend, shown as one part";

const UNITS = {
  logit: "logit",
  share: "of the sum",
  norm: "length",
  proximity: "proximity",
};

/**
 * @param {number | null} value
 * @param {Measure} measure
 */
function amount(value, measure) {
  return value === null ? "" : `, ${formatValue(value, measure)} ${UNITS[measure]}`;
}

/**
 * @param {GraphIndex} index
 * @param {number | null} source
 */
function sourceToken(index, source) {
  const token = source === null ? undefined : index.graph.tokens[source];
  return token ? `${token.text} at position ${token.position}` : "an earlier token";
}

/**
 * @param {Node} node
 * @returns {string} "␣Jap (␣Japanese)": its label, and the word that it begins.
 */
function labelWords(node) {
  const { label } = node;
  const rest = restOfLabel(node);
  return rest ? `${label} (${label}${rest})` : (label ?? "no token");
}

/** @param {Node} node */
const restName = (node) => (node.rest ? `${node.rest.count} more: ${restUnit(node.rest)}` : "rest");

/** @param {{of: string, count: number}} rest */
export function restUnit({ of, count }) {
  const unit = { value: "memory", memory: "memory", neuron: "neuron" }[of] ?? of;
  if (count === 1) return unit;
  return unit.endsWith("y") ? `${unit.slice(0, -1)}ies` : `${unit}s`;
}

/**
 * @param {GraphIndex} index
 * @param {Node} node
 * @param {number | null} value
 * @param {Measure} measure
 * @returns {string}
 */
export function nodeName(index, node, value, measure) {
  const label = labelWords(node);
  const adds = amount(value, measure);
  const target = index.graph.target.text;
  const writes = node.unit === "nats" ? "raises" : "writes";
  switch (node.kind) {
    case "embed":
      return `Embedding of ${index.graph.tokens[node.position]?.text ?? label}`;
    case "residual":
      return `Stream ${streamPlace(index, node)}: would predict ${label}${standing(target, node)}`;
    case "norm":
      return node.layer === null ? "Final norm" : `Norm before ${normReader(index, node)}`;
    case "query":
      return `Head ${node.head} looks for ${label}`;
    case "key":
      return `Memory key in head ${node.head}, left by ${sourceToken(index, node.source)}: ${label}, attention ${percent(node.weight ?? 0)}`;
    case "value":
      return `Memory value in head ${node.head}, left by ${sourceToken(index, node.source)}: ${label}${adds}`;
    case "head":
      return `Head ${node.head} ${writes} ${label}${adds}`;
    case "row":
      return `Output row of head ${node.head} ${writes} ${label}${adds}`;
    case "attention":
      return `Attention of layer ${node.layer} ${writes} ${label}${adds}`;
    case "opaque":
      return `Opaque part of layer ${node.layer}, ${OPAQUE}, ${writes} ${label}${adds}`;
    case "neuron_key":
      return `Neuron ${neuronNumber(node)} looks for ${label}`;
    case "neuron":
      return `Neuron ${neuronNumber(node)} ${writes} ${label}${adds}`;
    case "expert":
      return `Expert ${writes} ${label}${adds}`;
    case "mlp":
      return `MLP of layer ${node.layer} ${writes} ${label}${adds}`;
    case "bias":
      return `Bias${node.label === null ? "" : ` ${writes} ${label}`}${adds}`;
    case "rounding":
      return `Rounding in half precision${adds}`;
    case "rest":
      return `${restName(node)}${adds}`;
    case "logits":
      return `Prediction: ${index.graph.prediction[0]?.text ?? "nothing"}`;
  }
}

/**
 * The name of a node that has words in the picture. It begins with them as they are written there:
 * who speaks to their computer says what they see.
 *
 * @param {GraphIndex} index
 * @param {Node} node
 * @param {number | null} value
 * @param {Measure} measure
 * @param {string[]} seen Its words, in the order in which they are drawn.
 * @returns {string} "␣Japan H4 +2.67 logit: written by head 4"
 */
export function seenName(index, node, value, measure, seen) {
  const words = seen.filter(Boolean);
  if (words.length === 0) return nodeName(index, node, value, measure);
  const number = formatValue(value, measure);
  const counts = number !== "" && words[words.length - 1].endsWith(number);
  const unit = counts ? ` ${UNITS[measure]}` : node.kind === "key" ? " attention" : "";
  const { label } = node;
  const told = label !== null && words[0] === label + restOfLabel(node);
  const cut = label !== null && !UNLABELLED.has(node.kind) && !told;
  const more = [
    whatItIs(index, node),
    cut ? `in full ${labelWords(node)}` : "",
    told && words[0] !== label ? `its token is ${label}` : "",
    counts || number === "" ? "" : `${number} ${UNITS[measure]}`,
  ];
  return `${words.join(" ")}${unit}: ${more.filter(Boolean).join(", ")}`;
}

/** Kinds that are shown by what they are, whatever they write. */
const UNLABELLED = new Set(["rest", "rounding", "bias"]);

/**
 * @param {GraphIndex} index
 * @param {Node} node
 */
function whatItIs(index, node) {
  const { head, layer, source } = node;
  switch (node.kind) {
    case "query":
      return `what head ${head} looks for`;
    case "key":
      return `memory key in head ${head}, left by ${sourceToken(index, source)}`;
    case "value":
      return `memory value in head ${head}, left by ${sourceToken(index, source)}`;
    case "head":
      return `written by head ${head}`;
    case "row":
      return `written by an output row of head ${head}`;
    case "attention":
      return `written by attention of layer ${layer}`;
    case "opaque":
      return `written by the opaque part of layer ${layer}, ${OPAQUE}`;
    case "neuron_key":
      return `what neuron ${neuronNumber(node)} looks for`;
    case "neuron":
      return `written by neuron ${neuronNumber(node)}`;
    case "expert":
      return `written by expert ${node.id.split(".E")[1] ?? ""}`;
    case "mlp":
      return `written by the MLP of layer ${layer}`;
    case "bias":
      return `a constant that layer ${layer} adds`;
    case "rounding":
      return "what rounding in half precision added";
    case "rest":
      return "left out of the picture, not out of the sum";
    default:
      return nodeName(index, node, null, "logit");
  }
}

/**
 * @param {Node} node
 * @returns {string} "919", "919 of expert 2"
 */
export const neuronNumber = ({ neuron, expert }) =>
  typeof expert === "number" ? `${neuron} of expert ${expert}` : `${neuron}`;

/** What the stream has taken in at a layer's middle. */
export const MIDDLE = { attention: "attention", opaque: "the opaque part", both: "both mixers" };

/** @type {WeakMap<Edge[], Map<string, Edge[]>>} Edges by what they flow into. */
const inflows = new WeakMap();

/** @param {Edge[]} edges */
function intoOf(edges) {
  let into = inflows.get(edges);
  if (!into) {
    into = new Map(edges.map(({ target }) => [target, /** @type {Edge[]} */ ([])]));
    for (const edge of edges) into.get(edge.target)?.push(edge);
    inflows.set(edges, into);
  }
  return into;
}

/**
 * What has joined the stream by the middle of a layer. An opaque part may join after it.
 * @param {FlowGraph} graph
 * @param {number | null} layer
 * @returns {keyof typeof MIDDLE}
 */
export function mixerOf({ edges }, layer) {
  const [mid, post] = [`L${layer}.mid`, `L${layer}.post`];
  const all = intoOf(edges);
  const into = (all.get(mid) ?? []).filter(({ kind }) => kind === "write");
  const early = into.length > 0 ? into : (all.get(post) ?? []);
  const joins = (/** @type {string} */ part) =>
    early.some(({ source }) => source === `L${layer}.${part}`);
  if (!joins("mix")) return "attention";
  return joins("attn") ? "both" : "opaque";
}

/**
 * @param {GraphIndex} index
 * @param {Node} node
 */
function streamPlace({ graph }, { id, layer }) {
  const stage = id.split(".").pop();
  if (stage === "mid") return `after ${MIDDLE[mixerOf(graph, layer)]} in layer ${layer}`;
  const words = { pre: "before", post: "after" };
  return `${words[/** @type {"pre" | "post"} */ (stage)] ?? "at"} layer ${layer}`;
}

/**
 * @param {GraphIndex} index
 * @param {Node} node
 */
const normReader = ({ graph }, { id, layer }) =>
  id.endsWith("ln1") ? MIDDLE[mixerOf(graph, layer)] : "the MLP";

/** @type {Record<string, string>} */
const WRITERS = { attention: "attention", opaque: "an opaque part", mlp: "MLP" };

/**
 * @param {GraphIndex} index
 * @param {import("../views/shared/graph.js").LayerParts} parts
 * @param {import("../views/layers/layout/overview.js").Write[]} writes
 * @param {Measure} measure
 */
export function layerName(index, parts, writes, measure) {
  const { post } = parts;
  const phrases = writes.map(
    ({ node, value }) =>
      `${WRITERS[node.kind] ?? node.kind} ${node.unit === "nats" ? "raises" : "writes"} ${labelWords(node)}${amount(value, measure)}`,
  );
  if (post) {
    phrases.push(
      `then the stream would predict ${labelWords(post)}` + standing(index.graph.target.text, post),
    );
  }
  return `Layer ${parts.layer}: ${phrases.join("; ")}`;
}

/**
 * @param {string} target
 * @param {Node} node
 * @returns {string} Nothing of a direction, which has no rank.
 */
function standing(target, { target_rank: rank }) {
  return rank === null ? "" : `, rank of ${target} ${rank}`;
}
