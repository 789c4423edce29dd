/** The order of many prompts. */

/** @import { Order, PromptRow, Prompts } from "../types.js" */

/** @type {Order[]} */
export const ORDERS = ["given", "likely", "unlikely", "early", "late"];

/**
 * @param {Prompts} prompts
 * @param {Order} order
 * @returns {number[]} The numbers of the prompts; those that cannot be used come last.
 */
export function inOrder({ rows }, order) {
  const numbers = rows.map((_, number) => number);
  const key = KEYS[order];
  if (!key) return numbers;
  /** @type {Map<number, [number, number]>} */
  const keys = new Map(numbers.map((number) => [number, key(rows[number])]));
  return numbers.sort((a, b) => {
    const [one, other] = [keys.get(a) ?? LAST, keys.get(b) ?? LAST];
    return compare(one[0], other[0]) || compare(one[1], other[1]) || a - b;
  });
}

const LAST = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY];

/** @param {number} a @param {number} b */
const compare = (a, b) => (a === b ? 0 : a < b ? -1 : 1);

/** @type {Partial<Record<Order, (row: PromptRow) => [number, number]>>} */
const KEYS = {
  likely: (row) => [-(row.probability ?? Number.NEGATIVE_INFINITY), 0],
  unlikely: (row) => [row.probability ?? Number.POSITIVE_INFINITY, 0],
  early: (row) => [row.settled ?? Number.POSITIVE_INFINITY, depth(row)],
  late: (row) => [-(row.settled ?? Number.NEGATIVE_INFINITY), -depth(row)],
};

/**
 * Of two that settle at one layer, the one whose token comes up later is the later.
 *
 * @param {PromptRow} row
 * @returns {number} The mean logarithm of its ranks.
 */
function depth({ ranks = [] }) {
  const known = ranks.filter((rank) => rank != null);
  const logs = known.map((rank) => Math.log(Math.max(1, /** @type {number} */ (rank))));
  return logs.reduce((sum, value) => sum + value, 0) / Math.max(1, logs.length);
}
