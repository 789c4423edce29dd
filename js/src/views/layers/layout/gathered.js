import { inLogits } from "../../../words/figures.js";

/**
 * Closed layers that are too narrow to be told apart: some side by side have one mark and one ribbon
 * together. Each can still be pointed at, chosen and read out by itself.
 */

/** @typedef {import("../../../types.js").Measure} Measure */
/** @typedef {import("./columns.js").Column} Column */
/** @typedef {import("./columns.js").Columns} Columns */

/** Below this width, in pixels, one mark cannot be told from the next. */
const TOLD_APART = 3;

/**
 * How many closed layers have a mark together.
 * @param {Columns} columns
 */
export function gatheredCount({ closedWidth, columns }) {
  const closed = columns.filter(({ open }) => !open).length;
  // Widths come out of divisions: a hair less is as wide.
  if (closed < 2 || closedWidth > TOLD_APART - 1e-6) return 1;
  return Math.ceil(TOLD_APART / closedWidth);
}

/**
 * Closed layers side by side, so many together; what is left of a run stands by itself.
 * @param {Columns} columns
 * @returns {Column[][]}
 */
export function closedGroups(columns) {
  const most = gatheredCount(columns);
  /** @type {Column[][]} */
  const groups = [];
  /** @type {Column | null} */
  let before = null;
  for (const column of columns.columns) {
    const group = groups.at(-1);
    const goesOn = before !== null && !before.open && group && group.length < most;
    if (!column.open) {
      if (goesOn) group.push(column);
      else groups.push([column]);
    }
    before = column;
  }
  return groups;
}

/**
 * What several carry together: logits add up. Of what does not, as lengths and shares of different
 * wholes, the largest says most.
 * @param {(number | null)[]} values
 * @param {Measure} measure
 * @returns {number | null}
 */
export function together(values, measure) {
  const known = values.filter((value) => value !== null);
  if (known.length === 0) return null;
  if (inLogits(measure)) return known.reduce((sum, value) => sum + value, 0);
  return known.reduce((most, value) => (Math.abs(value) > Math.abs(most) ? value : most));
}

/**
 * @param {number} count
 * @param {Measure} measure
 */
export const gatheredWords = (count, measure) =>
  `one mark: ${count} layers, ${inLogits(measure) ? "summed" : "the largest"}`;
