/** What is said of the tokens that a model went on with, and of the branches of its text. */

import { percent, whole } from "./format.js";

/** @import { Generation, SaidToken } from "../types.js" */

/**
 * In a line: "␣a 3.1%, rank 4; the first choice was ␣the (41.0%)".
 *
 * @param {SaidToken} token
 */
export function saidFacts({ text, probability, rank, first, put }) {
  const other = first ? `; the first choice was ${first.text} (${percent(first.probability)})` : "";
  return `${text} ${percent(probability)}, rank ${whole(rank)}${other}${put ? "; put there" : ""}`;
}

/**
 * @param {SaidToken} token
 * @param {number} at
 * @returns {string} All that a token is told by where it is not seen.
 */
export const saidWords = (token, at) => `New token ${whole(at + 1)}, ${saidFacts(token)}`;

/** @param {SaidToken} token @returns {string} A sign beside what was not the first choice. */
export const saidMark = ({ first, put }) => (put ? "✎" : first ? "≠" : "");

/**
 * Which step of a generation is explained.
 *
 * @param {Generation} generation
 * @param {import("../types.js").FlowGraph} graph
 */
export function stepWords({ tokens, branches }, { step = null, branch = 0 }) {
  const token = step === null ? null : tokens[step];
  const of = branches.length > 1 ? ` Branch ${branchWords(branches, branch)}.` : "";
  if (step === null || !token) {
    return `Another prompt than that of the generation’s ${whole(tokens.length)} new tokens is shown.${of}`;
  }
  return `New token ${whole(step + 1)} of ${whole(tokens.length)} is explained: ${saidFacts(token)}.${of}`;
}

/**
 * @param {Generation["branches"]} branches
 * @param {number} at
 */
export function branchWords(branches, at) {
  const { of, at: place, token } = branches[at];
  if (of === null || place === null || !token) return "as it was said";
  const from = of === 0 ? "" : ` in branch ${whole(of)}`;
  return `${whole(at)}: ${token.text} as token ${whole(place + 1)}${from}`;
}
