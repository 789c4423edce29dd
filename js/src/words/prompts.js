/** What is said of many prompts. */

import { counted, percent, whole } from "./format.js";

/** @import { Order, PromptRow, Prompts } from "../types.js" */

/** @type {Record<Order, string>} */
export const ORDER_WORDS = {
  given: "as they were given",
  likely: "most probable first",
  unlikely: "least probable first",
  early: "earliest settled first",
  late: "latest settled first",
};

/**
 * What a small river is told by where it is not seen.
 *
 * @param {PromptRow} row
 * @param {number} number
 * @param {boolean} [included] Whether it can be opened.
 */
export function promptWords(row, number, included = true) {
  const name = `Prompt ${number}: ${row.brief ?? row.text}`;
  if (row.problem) return `${name}. It cannot be used: ${row.problem}`;
  const { first, settled, right } = row;
  if (!first) return name;
  const answer = right === undefined ? "" : right ? ", which is right" : ", which is wrong";
  const says = `Says ${first.text}, ${percent(first.probability)}${answer}`;
  const stands = followed(row);
  const from = settled === undefined ? "" : `; its last word from ${placeOf(settled)} on`;
  return `${name}. ${says}${stands && `; ${stands}`}${from}${included ? "" : ". Not included in this page"}`;
}

/**
 * Of what is followed, where that is not what the model says: "␣Paris 1.2%, rank 4".
 *
 * @param {PromptRow} row
 */
export function followed({ first, target, probability, rank }) {
  if (!target || target.id === first?.id) return "";
  if (probability == null || rank == null) return target.text;
  return `${target.text} ${percent(probability)}, rank ${whole(rank)}`;
}

/** @param {number} layer */
export const placeOf = (layer) => (layer < 0 ? "the start" : `layer ${layer}`);

/** @param {Prompts} prompts */
export function headline({ rows }) {
  const told = rows.filter(({ right }) => right !== undefined);
  const right = told.filter((row) => row.right).length;
  const answers = told.length === 0 ? "" : `, ${right} of ${told.length} answered right`;
  return `${counted(rows.length, "prompt")}${answers}`;
}
