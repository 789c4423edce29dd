/** What a view says as tables, for those who do not see its picture: plain data, drawn by the shell. */

/** @import { UserAction } from "../../state/controller.js" */
/** @import { Node } from "../../types.js" */

/**
 * @typedef {object} TableCell
 * @property {string} text
 * @property {"words" | "token" | "number"} face
 * @property {UserAction} [action] What a click on it in the picture does: makes it a button.
 * @property {string[]} [nodes] It is chosen while all of these are.
 * @property {boolean} [open] Of what opens: whether it is.
 * @property {string} [tells] What its button's name says beyond its text.
 *
 * @typedef {object} TableRow
 * @property {string} key
 * @property {TableCell[]} cells The first is the row's heading.
 *
 * @typedef {object} TableData
 * @property {string} key
 * @property {string} caption
 * @property {{text: string, number?: boolean}[]} columns
 * @property {TableRow[]} rows
 * @property {string} [note] What is said under its caption.
 *
 * @typedef {object} ViewTables
 * @property {TableData[]} tables
 * @property {string | null} waits What is said while they are not there, or not up to date.
 */

/** @param {string | null | undefined} text @returns {TableCell} */
export const wordsCell = (text) => ({ text: text ?? "", face: "words" });

/** @param {string | null | undefined} text @returns {TableCell} */
export const tokenCell = (text) => ({ text: text ?? "", face: "token" });

/** @param {string | null | undefined} text @returns {TableCell} */
export const numberCell = (text) => ({ text: text ?? "", face: "number" });

/**
 * A cell that chooses a node.
 *
 * @param {TableCell} cell
 * @param {Node | null | undefined} node
 * @param {string} tells
 * @returns {TableCell} The cell itself where there is no node.
 */
export function choosing(cell, node, tells) {
  if (!node) return cell;
  const nodes = [node.id];
  return { ...cell, text: cell.text || "–", action: { type: "select", nodes }, nodes, tells };
}
