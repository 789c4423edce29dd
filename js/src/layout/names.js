/** What a screen reader says for a node, and what a person reads when a label was cut. */

import { formatValue, percent } from "./scales.js";

/** @typedef {import("../types.js").Node} Node */
/** @typedef {import("../types.js").Measure} Measure */
/** @typedef {import("./graph.js").GraphIndex} GraphIndex */

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
  const label = node.label ?? "no token";
  const adds = amount(value, measure);
  const target = index.graph.target.text;
  switch (node.kind) {
    case "embed":
      return `Embedding of ${index.graph.tokens[node.position]?.text ?? label}`;
    case "residual":
      return `Stream ${streamPlace(node)}: would predict ${label}, rank of ${target} ${node.target_rank ?? "unknown"}`;
    case "norm":
      return node.layer === null ? "Final norm" : `Norm before ${normReader(node)}`;
    case "query":
      return `Head ${node.head} looks for ${label}`;
    case "key":
      return `Memory key in head ${node.head}, left by ${sourceToken(index, node.source)}: ${label}, attention ${percent(node.weight ?? 0)}`;
    case "value":
      return `Memory value in head ${node.head}, left by ${sourceToken(index, node.source)}: ${label}${adds}`;
    case "head":
      return `Head ${node.head} writes ${label}${adds}`;
    case "row":
      return `Output row of head ${node.head} writes ${label}${adds}`;
    case "attention":
      return `Attention of layer ${node.layer} writes ${label}${adds}`;
    case "neuron_key":
      return `Neuron ${node.neuron} looks for ${label}`;
    case "neuron":
      return `Neuron ${node.neuron} writes ${label}${adds}`;
    case "expert":
      return `Expert writes ${label}${adds}`;
    case "mlp":
      return `MLP of layer ${node.layer} writes ${label}${adds}`;
    case "bias":
      return `Bias${node.label === null ? "" : ` writes ${label}`}${adds}`;
    case "rest":
      return `${restName(node)}${adds}`;
    case "logits":
      return `Prediction: ${index.graph.prediction[0]?.text ?? "nothing"}`;
  }
}

/** @param {Node} node */
function streamPlace(node) {
  const stage = node.id.split(".").pop();
  const words = { pre: "before", mid: "after attention in", post: "after" };
  return `${words[/** @type {"pre" | "mid" | "post"} */ (stage)] ?? "at"} layer ${node.layer}`;
}

/** @param {Node} node */
const normReader = (node) => (node.id.endsWith("ln1") ? "attention" : "the MLP");

/**
 * @param {GraphIndex} index
 * @param {import("./graph.js").LayerParts} parts
 * @param {{attention: number | null, mlp: number | null}} values
 * @param {Measure} measure
 */
export function layerName(index, parts, values, measure) {
  const writes = [
    parts.attention &&
      `attention writes ${parts.attention.label}${amount(values.attention, measure)}`,
    parts.mlp && `MLP writes ${parts.mlp.label}${amount(values.mlp, measure)}`,
    parts.post &&
      `then the stream would predict ${parts.post.label}, rank of ${index.graph.target.text} ${parts.post.target_rank ?? "unknown"}`,
  ].filter(Boolean);
  return `Layer ${parts.layer}: ${writes.join("; ")}`;
}
