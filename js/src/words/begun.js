/** The whole words that tokens are the first pieces of, where the kernel is sure of them. */

/** @import { Node, ReadToken } from "../types.js" */

/**
 * @param {ReadToken} token
 * @returns {string} What of its word it leaves out; "" where that is not known. Words from right to
 *   left are set apart as they come in, and are left in one piece.
 */
export const restOf = ({ text, word }) => (word?.startsWith(text) ? word.slice(text.length) : "");

/**
 * @param {Pick<Node, "label"> & Partial<Pick<Node, "top">>} node Of routes, without `top` where it has none.
 * @returns {string} What its label leaves out of its word.
 */
export function restOfLabel({ label, top }) {
  const token = top?.find(({ text }) => text === label);
  return token ? restOf(token) : "";
}
