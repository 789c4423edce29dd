/**
 * Widths of text without a canvas: advances that are a little wider than any font we fall back to,
 * so that what fits here fits on the screen.
 */

import { closed } from "../../wire/bidi.js";
import { restOfLabel } from "../../words/begun.js";

/** @import { Node } from "../../types.js" */

const MONO_ADVANCE = 0.615;
const NARROW = /[ijlI.,:;'|!()[\]·\s]/u;
const WIDE = /[mwMW%@—…→]/u;
const UPPER = /[A-Z#&+−=<>]/u;

/** @param {number} code */
function isFullWidth(code) {
  return (
    (code >= 0x1100 && code <= 0x115f) ||
    (code >= 0x2e80 && code <= 0xa4cf) ||
    (code >= 0xac00 && code <= 0xd7a3) ||
    (code >= 0xf900 && code <= 0xfaff) ||
    (code >= 0xfe30 && code <= 0xfe6f) ||
    (code >= 0xff00 && code <= 0xff60) ||
    (code >= 0xffe0 && code <= 0xffe6) ||
    (code >= 0x1f000 && code <= 0x1faff) ||
    (code >= 0x20000 && code <= 0x3fffd)
  );
}

const ZERO_WIDTH = /\p{Mn}|\p{Me}|\p{Cf}|\p{Variation_Selector}/u;

/** @param {string} character */
function monoAdvance(character) {
  if (ZERO_WIDTH.test(character)) return 0;
  const code = character.codePointAt(0) ?? 0;
  return isFullWidth(code) ? 2 * MONO_ADVANCE : MONO_ADVANCE;
}

/** @param {string} character */
function sansAdvance(character) {
  if (ZERO_WIDTH.test(character)) return 0;
  if (isFullWidth(character.codePointAt(0) ?? 0)) return 1.05;
  if (NARROW.test(character)) return 0.37;
  if (WIDE.test(character)) return 0.98;
  if (UPPER.test(character)) return 0.76;
  return 0.635;
}

/** @typedef {"mono" | "sans"} Face */

/**
 * @param {string} text
 * @param {number} size In pixels.
 * @param {Face} [face]
 */
export function textWidth(text, size, face = "mono") {
  const advance = face === "mono" ? monoAdvance : sansAdvance;
  let total = 0;
  for (const character of text) total += advance(character);
  return total * size;
}

/**
 * The longest start of `text` that fits, with "…" where it was cut; "" when nothing readable fits.
 * @param {string} text
 * @param {number} width
 * @param {number} size
 * @param {Face} [face]
 */
export function fitText(text, width, size, face = "mono") {
  return cut(visible(text), width, size, face);
}

/**
 * A node's label: with the rest of the word that it begins, or what of it fits as well.
 * @param {Pick<Node, "label" | "top">} node
 * @param {number} width
 * @param {number} size
 * @returns {{text: string, piece?: number}} `piece`: how long the label itself is.
 */
export function fitLabel(node, width, size) {
  const label = node.label ?? "";
  const rest = restOfLabel(node);
  const word = fitText(label + rest, width, size);
  const begun = rest && word.length > label.length + (word.endsWith("…") ? LEAST_OF_REST : 0);
  return begun ? { text: word, piece: label.length } : { text: fitText(label, width, size) };
}

/** So few letters more, and the sign that there are others, say nothing. */
const LEAST_OF_REST = 2;

const BLANK = /[\u0085\u00a0\u1680\u2000-\u200f\u2028-\u202f\u205f-\u2064\u3000\ufeff]/gu;

/**
 * Blanks that no one could see, spelled out.
 * @param {string} text
 */
export function visible(text) {
  return text.replace(BLANK, (blank) => {
    const code = (blank.codePointAt(0) ?? 0).toString(16);
    return code.length > 2 ? `\\u${code.padStart(4, "0")}` : `\\x${code}`;
  });
}

/**
 * @param {string} text
 * @param {number} width
 * @param {number} size
 * @param {Face} face
 */
function cut(text, width, size, face) {
  if (textWidth(text, size, face) <= width) return text;
  const advance = face === "mono" ? monoAdvance : sansAdvance;
  let room = width - advance("…") * size;
  let kept = "";
  for (const character of text) {
    room -= advance(character) * size;
    if (room < 0) break;
    kept += character;
  }
  const readable = [...kept].filter((character) => character !== "␣").length > 0;
  return readable ? closed(`${kept}…`) : "";
}
