/** What is said of routes on screen: in the tooltip, in the panel, and where there are none. */

import { limitsOf } from "../../state/keep.js";
import { problemOf } from "../../state/selectors.js";
import { inLogits } from "../../words/figures.js";
import { percent, shareOf, signed } from "../../words/format.js";
import { tokenText } from "../../words/words.js";

/** @import { State } from "../../state/state.js" */
/** @import { FlowGraph, Measure, Node, Routes } from "../../types.js" */

/**
 * @param {number} influence
 * @param {Routes} routes
 * @returns {string} "+2.68 logits · 21% of the prediction"
 */
export function influenceFact(influence, { measure, total }) {
  // Effects do not make up the prediction: there is no share of it in them.
  const whole = measure === "effect" ? null : total;
  const part = inLogits(measure) ? (whole ? influence / whole : null) : influence;
  const share = part === null ? null : `${shareOf(part)} of the prediction`;
  const size = inLogits(measure) ? `${signed(influence)} logits` : null;
  return [size, share].filter(Boolean).join(" · ");
}

/**
 * @param {number} influence
 * @param {Measure} measure
 * @returns {string} "+2.68", "41%"
 */
export function routeSize(influence, measure) {
  if (inLogits(measure)) return signed(influence);
  return `${influence < 0 ? "−" : ""}${percent(Math.abs(influence))}`;
}

/**
 * @param {FlowGraph} graph
 * @param {number} from
 * @param {number} to
 */
export const passageTitle = (graph, from, to) =>
  from === to
    ? `${tokenText(graph, to)} reads itself`
    : `${tokenText(graph, from)} → ${tokenText(graph, to)}`;

/**
 * @param {Node} node
 * @param {FlowGraph} graph
 * @returns {string} "␣of · after layer 3"
 */
export function routeNodeTitle(node, graph) {
  if (node.kind === "logits") return `Prediction: ${graph.target.text}`;
  const token = tokenText(graph, node.position);
  if (node.kind === "embed") return `${token} · embedding`;
  if (node.kind === "mlp") return `${token} · MLP of layer ${node.layer}`;
  if (node.kind === "opaque") return `${token} · opaque part of layer ${node.layer}`;
  if (node.kind === "rest") return `${token} · left out of layer ${node.layer}`;
  if (node.kind === "bias") return `${token} · bias of layer ${node.layer}`;
  if (node.kind === "rounding") return `${token} · rounding in layer ${node.layer}`;
  const place = node.id.endsWith(".mid") ? "after attention in" : "after";
  return `${token} · ${place} layer ${node.layer}`;
}

/**
 * What a token adds, all told and without passing an MLP.
 *
 * @param {Routes} routes
 * @param {number} position
 * @param {FlowGraph} graph
 * @returns {string[]}
 */
export function tokenFacts({ attribution, measure }, position, graph) {
  const token = attribution.tokens.find((each) => each.position === position);
  if (!token) return [];
  const { target, foil } = graph;
  const size = (/** @type {number} */ value) => routeSize(value, measure);
  const aim = !inLogits(measure)
    ? "the prediction"
    : foil
      ? `${target.text} over ${foil.text}`
      : target.text;
  return [
    measure === "effect"
      ? `${aim} loses ${size(token.value)} without its embedding, to first order`
      : `adds ${size(token.value)} to ${aim}`,
    `${size(token.direct)} of it along attention and the stream alone`,
    `${size(token.value - token.direct)} through MLPs`,
  ];
}

/** @param {State} state */
export function nothingPasses({ keep }) {
  const { threshold } = limitsOf(keep, "routes");
  const least =
    threshold === null
      ? "enough to be kept"
      : `more than ${percent(threshold).replace(".0%", "%")}`;
  return `Nothing carries ${least}. Lower the threshold in What is kept.`;
}

/**
 * @param {Measure} saved
 * @param {Measure} wanted
 */
export const otherMeasure = (saved, wanted) =>
  `This page was saved with routes by ${saved}. Open the notebook it comes from to follow them by ${wanted}.`;

/**
 * What stands where the routes will.
 *
 * @param {State} state
 */
export function waitingWords({ problems }) {
  const problem = problems.find(({ key }) => key === problemOf("routes"));
  if (!problem) return "Following the prediction back to its tokens…";
  // What can be tried again is told above, with the way to do so.
  return problem.retry ? "There are no routes to show." : problem.message;
}
