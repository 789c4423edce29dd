/** What a screen reader says for a node, and what a person reads when a label was cut. */

import { restOfLabel } from "./begun.js";
import { formatValue, percent } from "./figures.js";
import { capitalised } from "./format.js";
import { wordsOf } from "./lenses.js";

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
  effect: "logit of effect",
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
  if (source !== null && source < 0) {
    return `${index.graph.against?.tokens[-1 - source]?.text} of the other prompt`;
  }
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
  const { graph } = index;
  switch (node.kind) {
    case "embed":
      return `Embedding of ${graph.tokens[node.position]?.text ?? label}`;
    case "residual":
      return `Stream ${streamPlace(index, node)}: ${wordsOf(graph, node).foretells} ${label}${standing(graph.target.text, node)}`;
    case "norm":
      return node.layer === null ? "Final norm" : `Norm before ${normReader(index, node)}`;
    case "key":
    case "value":
      return `${capitalised(memoryWords(index, node))}: ${label}${node.kind === "key" ? `, attention ${percent(node.weight ?? 0)}` : adds}`;
    case "bias":
      return `Bias${node.label === null ? "" : ` ${wordsOf(graph, node).does} ${label}`}${adds}`;
    case "edit":
      return `What interventions changed${adds}`;
    case "rounding":
      return `Rounding in half precision${adds}`;
    case "rest":
      return `${restName(node)}${adds}`;
    case "logits":
      return `Prediction: ${graph.prediction[0]?.text ?? "nothing"}`;
    default:
      return `${capitalised(does(index, node))} ${label}${adds}`;
  }
}

/**
 * @param {GraphIndex} index
 * @param {Node} node
 * @returns {string} "memory key in head 4, left by ␣Japan at position 3"
 */
const memoryWords = (index, { kind, head, source }) =>
  `memory ${kind} in head ${head}, left by ${sourceToken(index, source)}`;

/**
 * @param {GraphIndex} index
 * @param {Node} node That looks for its token, or does something for it.
 * @returns {string} "head 4 looks for", "the MLP of layer 3 writes"
 */
function does({ graph }, node) {
  const { kind, head, layer, id } = node;
  const { does: verb } = wordsOf(graph, node);
  switch (kind) {
    case "query":
      return `head ${head} looks for`;
    case "row":
      return `an output row of head ${head} ${verb}`;
    case "attention":
      return `attention of layer ${layer} ${verb}`;
    case "opaque":
      return `the opaque part of layer ${layer}, ${OPAQUE}, ${verb}`;
    case "neuron_key":
      return `neuron ${neuronNumber(node)} looks for`;
    case "neuron":
      return `neuron ${neuronNumber(node)} ${verb}`;
    case "expert":
      return `expert ${id.split(".E")[1] ?? ""} ${verb}`;
    case "mlp":
      return `the MLP of layer ${layer} ${verb}`;
    default:
      return `head ${head} ${verb}`;
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
 * @returns {string} "␣Japan H4 +2.67 logit: what head 4 writes"
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
const UNLABELLED = new Set(["rest", "rounding", "edit", "bias"]);

/**
 * @param {GraphIndex} index
 * @param {Node} node
 */
function whatItIs(index, node) {
  switch (node.kind) {
    case "key":
    case "value":
      return memoryWords(index, node);
    case "bias":
      return `a constant that layer ${node.layer} adds`;
    case "rounding":
      return "what rounding in half precision added";
    case "rest":
      return "left out of the picture, not out of the sum";
    case "embed":
    case "residual":
    case "norm":
    case "logits":
      return nodeName(index, node, null, "logit");
    default:
      return `what ${does(index, node)}`;
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
      `${WRITERS[node.kind] ?? node.kind} ${wordsOf(index.graph, node).does} ${labelWords(node)}${amount(value, measure)}`,
  );
  if (post) {
    phrases.push(
      `then the stream ${wordsOf(index.graph, post).foretells} ${labelWords(post)}` +
        standing(index.graph.target.text, post),
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
