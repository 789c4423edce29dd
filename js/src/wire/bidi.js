/**
 * Words of tokens that are written from right to left are set apart from what stands beside them:
 * without it a number after one would be read as a part of it, and move to its other side. It is
 * done where they come in, so that it holds wherever they are shown, read out or drawn; what goes
 * out is as it came.
 */

/** @import { Host } from "../types.js" */

const RIGHT_TO_LEFT =
  /[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefe\u{10800}-\u{10fff}\u{1e800}-\u{1efff}]/u;
/** A stretch that is read in the way its first letter is, and the end of it. */
const APART = "\u2068";
const END = "\u2069";
const MARKS = /[\u2068\u2069]/g;
/** Where replies and traits say the words of tokens. */
const WORDS = ["text", "label"];

/** @param {string} text */
const setApart = (text) => (RIGHT_TO_LEFT.test(text) ? `${APART}${text}${END}` : text);

/** @param {string} text */
export const asWritten = (text) => text.replace(MARKS, "");

/**
 * A text of which the end was cut off.
 * @param {string} text
 */
export const closed = (text) => (text.includes(APART) ? `${text}${END}` : text);

/**
 * @template T
 * @param {T} value
 * @param {(text: string) => string} change
 * @returns {T} The same value where nothing in it changes.
 */
function withWords(value, change) {
  if (typeof value !== "object" || value === null) return value;
  /** @type {any} */
  let copy = null;
  for (const [key, part] of Object.entries(value)) {
    const isWord = typeof part === "string" && WORDS.includes(key);
    const next = isWord ? change(part) : withWords(part, change);
    if (next === part) continue;
    copy ??= Array.isArray(value) ? [...value] : { ...value };
    copy[key] = next;
  }
  return copy ?? value;
}

/**
 * @param {Host} host
 * @returns {Host} The same, with words set apart.
 */
export function settingApart(host) {
  /** @type {WeakMap<object, any>} What is the same stays the same. */
  const known = new WeakMap();
  /**
   * @template T
   * @param {T} value
   * @returns {T}
   */
  const incoming = (value) => {
    if (typeof value !== "object" || value === null) return value;
    const found = known.get(value) ?? withWords(value, setApart);
    known.set(value, found);
    return found;
  };
  return {
    ...host,
    get: (name) => incoming(host.get(name)),
    set: (name, value) => host.set(name, withWords(value, asWritten)),
    request: async (method, params, options) =>
      incoming(await host.request(method, params, options)),
  };
}
