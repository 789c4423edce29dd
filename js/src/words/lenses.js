/** What reads vectors as tokens, and how strongly each token is read, in words and bars. */

import { percent, plain, signed } from "./format.js";

/** @import { FlowGraph, LensName, Node, ReadToken, Unit } from "../types.js" */

/**
 * @typedef {object} Lens
 * @property {string} name
 * @property {string} says What a word is, under this lens.
 * @property {string} [kind] Its class, where it has to be fitted first.
 * @property {string} [takes] What that takes.
 * @property {string} does What a part does with its token: the head *writes* it.
 * @property {string} most What stands over the tokens of a part, and over the last of them.
 * @property {string} least
 * @property {string} done What the token is, of a part.
 * @property {string} foretells What a stream does with its token.
 * @property {string} stream What stands over the tokens of a stream.
 * @property {string} inStream What the token in the river is.
 * @property {string} ranked By what the target's rank in a stream goes.
 */

const STOPPED = {
  foretells: "would predict",
  stream: "if the model stopped here",
  inStream: "that the model would say if it stopped there",
  ranked: " if the model stopped here",
};
const WRITES = { does: "writes", most: "it writes", least: "it writes least", done: "written" };

/** @type {Record<LensName, Lens>} */
export const LENSES = {
  local: {
    ...STOPPED,
    name: "local",
    says: "what it changes in this prediction, to first order",
    does: "raises",
    most: "it raises",
    least: "it lowers",
    done: "raised",
  },
  logit: {
    ...STOPPED,
    ...WRITES,
    name: "logit",
    says: "what it would say if the model stopped here",
  },
  jacobian: {
    name: "Jacobian",
    says: "what it disposes the model to say, on average",
    kind: "JacobianLens",
    takes:
      "It takes d_model derivatives a passage of the reference text: minutes for a small model on a CPU. What is done is kept, so a fit that was broken off goes on where it was.",
    does: "leads to",
    most: "it leads to",
    least: "it leads away from",
    done: "led to",
    foretells: "leads to",
    stream: "it leads to",
    inStream: "that it leads to, on average",
    ranked: ", as the Jacobian lens reads the stream",
  },
  calibrated: {
    ...STOPPED,
    ...WRITES,
    name: "calibrated",
    says: "what stands out against such parts elsewhere",
    kind: "CalibratedLens",
    takes:
      "It looks at the model’s own vectors on the reference text, twice: about a minute for a small model on a CPU.",
    most: "stands out in it",
    least: "it says less than others do",
    foretells: "says above all",
    stream: "stands out here",
    inStream: "that stands out there",
  },
  tuned: {
    ...WRITES,
    name: "tuned",
    says: "what its stream knows of the answer already",
    kind: "TunedLens",
    takes:
      "It learns a map for each stream on the reference text: minutes for a small model on a CPU. A fit that was broken off begins anew.",
    foretells: "foretells",
    stream: "what it knows of the answer",
    inStream: "that it foretells for the answer",
    ranked: ", as the tuned lens reads the stream",
  },
};

/** @param {LensName} lens */
export const lensName = (lens) => LENSES[lens]?.name ?? lens;

/** @param {LensName} lens */
export const lensSays = (lens) => LENSES[lens]?.says ?? "";

/**
 * @param {LensName} lens
 * @returns {string | null} What fits it for a model, where it has to be fitted first.
 */
export function lensFits(lens) {
  const kind = LENSES[lens]?.kind;
  return kind ? `vw.${kind}.fit(model, tokenizer)` : null;
}

/** @param {LensName} lens That has to be fitted first. */
export const lensTakes = (lens) =>
  `${LENSES[lens]?.takes ?? ""} The lens is kept for this model, and the widget answers meanwhile.`;

/**
 * The lens that read a node: what a local lens does not read itself, and what was not calibrated, is
 * read by another.
 *
 * @param {Pick<FlowGraph, "lens">} graph
 * @param {Pick<Node, "unit">} [node] Missing for what the lens of the graph reads.
 * @returns {LensName}
 */
export function readerOf({ lens = "logit" }, { unit } = {}) {
  if (unit === "nats") return "local";
  if (unit === "sd") return "calibrated";
  return unit && (lens === "local" || lens === "calibrated") ? "logit" : lens;
}

/**
 * @param {Pick<FlowGraph, "lens">} graph
 * @param {Pick<Node, "unit">} [node]
 * @returns {Lens} The words of the lens that read it.
 */
export const wordsOf = (graph, node) => LENSES[readerOf(graph, node)] ?? LENSES.logit;

/**
 * @param {ReadToken} token
 * @param {Unit} [unit]
 * @returns {string} Its probability where tokens are ordered by it, else its score.
 */
export function strength({ probability, score }, unit) {
  if (probability != null && unit !== "sd") return percent(probability);
  if (score == null) return "";
  if (unit === "nats") return signed(score);
  return unit === "sd" ? `${plain(score)} sd` : plain(score);
}

/**
 * @param {ReadToken[]} tokens
 * @param {Unit} [unit]
 * @returns {number[]} How long each one's bar is, the longest 1.
 */
export function parts(tokens, unit) {
  const told = unit !== "sd" && tokens.every(({ probability }) => probability != null);
  const scores = tokens.map(({ probability, score }) => (told ? probability : score) ?? 0);
  const most = Math.max(...scores, 1e-12);
  if (!told && unit === "logit") return scores.map((score) => Math.exp(score - most));
  return scores.map((score) => Math.max(0, score / most));
}

/**
 * @param {Unit} [unit]
 * @returns {string | null} What the numbers beside tokens are, where they are no probabilities.
 */
export function unitWords(unit) {
  if (unit === "nats") return "log-probability, likeliest tokens";
  return unit === "sd" ? "sd above what such parts say" : null;
}
