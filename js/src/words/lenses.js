/** What reads vectors as tokens, and how strongly each token is read, in words and bars. */

import { percent, plain, signed } from "./format.js";

/** @import { LensName, ReadToken, Unit } from "../types.js" */

/** @type {Record<LensName, [name: string, says: string, how: string | null]>} */
export const LENSES = {
  local: ["local", "what it changes in this prediction, to first order", null],
  logit: ["logit", "what it would say if the model stopped here", null],
  jacobian: ["Jacobian", "what it disposes the model to say, on average", "JacobianLens"],
  calibrated: ["calibrated", "what stands out against such parts elsewhere", "CalibratedLens"],
  tuned: ["tuned", "what its stream knows of the answer already", "TunedLens"],
};

/** @param {LensName} lens */
export const lensName = (lens) => LENSES[lens]?.[0] ?? lens;

/** @param {LensName} lens */
export const lensSays = (lens) => LENSES[lens]?.[1] ?? "";

/**
 * @param {LensName} lens
 * @returns {string | null} How to get it, where it has to be fitted first.
 */
export function lensFits(lens) {
  const kind = LENSES[lens]?.[2];
  return kind ? `vw.${kind}.fit(model, tokenizer) fits it once for this model` : null;
}

/**
 * @param {ReadToken} token
 * @param {Unit} [unit]
 * @returns {string} Its probability where there is one, else its score.
 */
export function strength({ probability, score }, unit) {
  if (probability != null) return percent(probability);
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
  const told = tokens.every(({ probability }) => probability != null);
  const scores = tokens.map(({ probability, score }) => (told ? probability : score) ?? 0);
  const most = Math.max(...scores, 1e-12);
  if (!told && unit === "logit") return scores.map((score) => Math.exp(score - most));
  return scores.map((score) => Math.max(0, score / most));
}

/**
 * @param {{lens?: string}} graph
 * @returns {string} What a part does with its token, as the heading of a column.
 */
export const writesOf = ({ lens }) => (lens === "local" ? "raises" : "writes");

/**
 * @param {Unit} [unit]
 * @returns {string | null} What the numbers beside tokens are, where they are no probabilities.
 */
export function unitWords(unit) {
  if (unit === "nats") return "log-probability, among the likeliest tokens";
  return unit === "sd" ? "standard deviations from what such vectors say" : null;
}
