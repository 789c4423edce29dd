/** What a screen reader says of the routes view, and its sentences on screen. */

import { formatValue, inLogits, percent, probability } from "../../../words/figures.js";
import { wordsOf } from "../../../words/lenses.js";

import { besideWords, carriedThere, thereRoutes, tokenThere } from "../there.js";

/** @typedef {import("../../../types.js").FlowGraph} FlowGraph */
/** @typedef {import("../../../types.js").Measure} Measure */
/** @typedef {import("../../../types.js").Routes} Routes */
/** @typedef {import("./model.js").Stream} Stream */
/** @typedef {import("./model.js").Passage} Passage */

/**
 * @param {number} influence
 * @param {Routes} routes
 * @returns {string} "+2.68 logits", "41% of the prediction"
 */
export function influenceWords(influence, { measure }) {
  if (inLogits(measure)) return `${formatValue(influence, measure)} logits`;
  return `${percent(influence)} of the prediction`;
}

/**
 * @param {FlowGraph} graph
 * @param {number} position
 */
const tokenAt = (graph, position) => graph.tokens[position]?.text ?? `token ${position}`;

/**
 * @param {FlowGraph} graph
 * @param {Routes} routes
 * @param {Stream} stream
 */
export function streamName(graph, routes, { node, position, level, influence }) {
  const place =
    level === 0
      ? "as its embedding"
      : level % 2 === 1
        ? `after attention in layer ${node.layer}`
        : `after layer ${node.layer}`;
  const says = node.label === null ? "" : `, ${wordsOf(graph, node).foretells} ${node.label}`;
  return `${tokenAt(graph, position)} at position ${position}, ${place}${says}: ${influenceWords(influence, routes)} pass here`;
}

/**
 * @param {FlowGraph} graph
 * @param {Routes} routes
 * @param {{kind: string, layer: number, position: number, influence: number}} mark
 */
export function markName(graph, routes, { kind, layer, position, influence }) {
  const what = { mlp: "MLP", opaque: "Opaque part", value: "Attention to its own token" }[kind];
  return `${what ?? kind} of layer ${layer} at ${tokenAt(graph, position)}, position ${position}: ${influenceWords(influence, routes)}`;
}

/**
 * @param {FlowGraph} graph
 * @param {Routes} routes
 * @param {Passage} passage
 */
export function passageName(graph, routes, passage) {
  const { from, to, layer, influence, carriers } = passage;
  const heads = [...new Set(carriers.map(({ node }) => node.head))].join(", ");
  return (
    `Layer ${layer}: from ${tokenAt(graph, from.position)} at position ${from.position} ` +
    `to ${tokenAt(graph, to.position)} at position ${to.position}, ${influenceWords(influence, routes)}, ` +
    `${carriers.length === 1 ? "head" : "heads"} ${heads}${passageBeside(graph, routes, passage)}`
  );
}

/**
 * @param {FlowGraph} graph
 * @param {Routes} routes
 * @param {Passage} passage
 * @returns {string} ", there −0.30, difference +2.98"
 */
export function passageBeside(graph, routes, passage) {
  const there = thereRoutes(routes, graph);
  if (!there) return "";
  const other = carriedThere(
    there,
    passage.carriers.map(({ node }) => node),
  );
  const write = (/** @type {number} */ value) =>
    inLogits(routes.measure) ? formatValue(value, "logit") : percent(value);
  return `, ${besideWords(passage.influence, other, write)}`;
}

/**
 * @param {FlowGraph} graph
 * @param {Routes} routes
 * @param {import("./model.js").OnlyPassage} passage
 */
export function onlyName(graph, routes, { from, to, layer, influence, carriers }) {
  const heads = [...new Set(carriers.map(({ node }) => node.head))].join(", ");
  return (
    `There alone, layer ${layer}: from ${tokenThere(graph, from.position)} ` +
    `to ${tokenThere(graph, to.position)}, ${influenceWords(influence, routes)}, ` +
    `${carriers.length === 1 ? "head" : "heads"} ${heads}`
  );
}

/** @param {FlowGraph} graph */
export function predictionWords({ target, foil }) {
  if (foil) {
    const lead = target.logit - foil.logit;
    return { text: target.text, note: `over ${foil.text} · ${formatValue(lead, "logit")}` };
  }
  const logit = target.logit.toFixed(Math.abs(target.logit) >= 100 ? 0 : 2).replace("-", "−");
  const value = target.combine === "direction" ? `along it ${logit}` : `logit ${logit}`;
  const chance = target.probability === null ? [] : [probability(target.probability)];
  return { text: target.text, note: [...chance, value].join(" · ") };
}

const logitsOf = (/** @type {number} */ value) => {
  const text = Math.abs(value).toFixed(Math.abs(value) >= 9.995 ? 1 : 2);
  return value < 0 && Number(text) !== 0 ? `−${text}` : text;
};

/**
 * What the picture shows of the whole, and where the rest went.
 * @param {Routes} routes
 * @param {number | null} least The share of the prediction that a part must carry to be drawn.
 */
export function accountOf({ measure, attribution }, least) {
  if (measure === "effect") return "To first order, each part along all ways, drawn or not.";
  const { tokens, bias, opaque, rest, total } = attribution;
  const kept = tokens.reduce((sum, { value }) => sum + value, 0);
  const logits = inLogits(measure);
  const number = logits ? logitsOf : percent;
  const under = least === null ? "" : ` in parts under ${percent(least).replace(".0%", "%")}`;
  const parts = [`pruned ${number(rest)}${under}`];
  const counts = (/** @type {number} */ value) => Math.abs(value) >= 0.0005 * Math.abs(total);
  if (counts(bias)) parts.push(`biases ${number(bias)}`);
  if (counts(opaque)) parts.push(`opaque parts ${number(opaque)}`);
  const whole = logits ? `${number(total)} logits` : "the prediction";
  return `Kept paths account for ${number(kept)} of ${whole}; ${parts.join(", ")}.`;
}
