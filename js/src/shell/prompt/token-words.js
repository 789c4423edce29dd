/** What is said of a prompt token: what it adds to the prediction, and what is predicted after it. */

import { percent, plain, signed, whole } from "../../words/format.js";
import { tokenText } from "../../words/words.js";

/** @import { AttributionFacts, FlowGraph, PositionPrediction } from "../../types.js" */

/** What a value must be, as a part of the greatest or of the whole, to be worth a mark. */
const LEAST = 0.002;

/**
 * @param {FlowGraph} graph
 * @returns {string} "the logit of ␣Tokyo", or of one token over another.
 */
export function followed({ target, foil }) {
  const what = target.combine === "direction" ? "what the stream says along" : "the logit of";
  return `${what} ${target.text}${foil ? ` over ${foil.text}` : ""}`;
}

/**
 * @param {AttributionFacts} attribution
 * @returns {{position: number, value: number, direct: number, part: number}[]} `part`: how long its
 *   bar is, of the longest.
 */
export function tokenBars({ tokens }) {
  const most = Math.max(...tokens.map(({ value }) => Math.abs(value)), 1e-12);
  return tokens.map((token) => {
    const part = Math.abs(token.value) / most;
    return { ...token, part: part < LEAST ? 0 : part };
  });
}

/**
 * @param {FlowGraph} graph
 * @param {{position: number, value: number, direct: number}} token
 */
export function attributionWords(graph, { position, value, direct }) {
  const text = tokenText(graph, position);
  if (position > graph.position) return `${text} comes after the token that is looked at.`;
  if (plain(Math.abs(value)) === "0") return `${text} adds nothing along the kept paths.`;
  const verb = value < 0 ? "takes" : "adds";
  const aim = `${value < 0 ? "from" : "to"} ${followed(graph)}`;
  return (
    `${text} ${verb} ${value < 0 ? plain(-value) : signed(value)} ${aim} along the kept paths: ` +
    `${signed(direct)} directly (through attention and the stream), ` +
    `${signed(value - direct)} through MLPs.`
  );
}

/**
 * @param {PositionPrediction} prediction
 */
export function predictionWords({ top, next }) {
  const guesses = top.map(({ text, probability }) => `${text} ${percent(probability)}`).join(" · ");
  const after = `After it the model says ${guesses}.`;
  if (!next) return after;
  return `${after} The prompt goes on with ${next.text}: rank ${whole(next.rank)}, ${percent(next.probability)}.`;
}

/**
 * @param {PositionPrediction} prediction
 * @returns {boolean} Whether the model's first guess is how the prompt goes on.
 */
export const isRight = ({ next }) => next?.rank === 1;

/**
 * What the tokens' bars leave open, in a few words: "rest +5.80 · biases +0.10".
 *
 * @param {AttributionFacts} attribution
 */
export function remainder({ rest, opaque, bias, total }) {
  const counts = (/** @type {number} */ value) => Math.abs(value) > LEAST * Math.abs(total);
  const parts = [
    `rest ${signed(rest)}`,
    counts(opaque) && `opaque ${signed(opaque)}`,
    counts(bias) && `biases ${signed(bias)}`,
  ];
  return parts.filter(Boolean).join(" · ");
}

/**
 * @param {FlowGraph} graph
 * @param {AttributionFacts} attribution
 */
export function remainderWords(graph, { tokens, rest, opaque, bias, total }) {
  const sum = tokens.reduce((all, { value }) => all + value, 0);
  const parts = [
    `${signed(sum)} from the prompt’s tokens, along the kept paths`,
    `${signed(rest)} from paths that are not followed to a token (rest)`,
    opaque !== 0 && `${signed(opaque)} from layers that do not attend (opaque)`,
    `${signed(bias)} from the model’s constants (biases)`,
  ];
  const heading = `${followed(graph)} is ${plain(total)}:`;
  return [heading.charAt(0).toUpperCase() + heading.slice(1), ...parts.filter(Boolean)].join("\n");
}
