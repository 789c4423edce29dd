/** Tokens and sentences of a figure's head: how large they are set. */

import { fitText, textWidth, visible } from "../../views/shared/text.js";

export const CHIP = { height: 28, size: 13, padding: 8 };
/** What is said under the prompts. */
export const SAID = { size: 11, line: 16 };
const LONGEST_TEXT = 22;

/**
 * @param {string} token
 * @param {number} width
 */
export function chipOf(token, width) {
  const most = Math.min(LONGEST_TEXT * CHIP.size * 0.615, width - 2 * CHIP.padding);
  const text = fitText(token, most, CHIP.size) || visible(token).slice(0, 1);
  return { text, width: textWidth(text, CHIP.size) + 2 * CHIP.padding };
}

/**
 * @param {string} words
 * @param {number} width
 * @returns {string[]} In lines.
 */
export function wrapped(words, width) {
  /** @type {string[]} */
  const lines = [];
  for (const word of words.split(" ").filter(Boolean)) {
    const longer = lines.length > 0 ? `${lines[lines.length - 1]} ${word}` : word;
    if (lines.length > 0 && textWidth(longer, SAID.size, "sans") <= width) {
      lines[lines.length - 1] = longer;
    } else lines.push(word);
  }
  return lines;
}
