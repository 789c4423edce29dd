import { inLogits } from "../../words/figures.js";

/** Numbers as widths, shades and heights. */

/** @typedef {import("../../types.js").Measure} Measure */
/** @typedef {"positive" | "negative" | "unsigned" | "none"} Sign */

/** @param {Measure} measure */
export const isSigned = (measure) => inLogits(measure) || measure === "share";

/**
 * @param {number | null} value
 * @param {Measure} measure
 * @returns {Sign}
 */
export function signOf(value, measure) {
  if (value === null || !Number.isFinite(value)) return "none";
  if (!isSigned(measure)) return "unsigned";
  return value < 0 ? "negative" : "positive";
}

/** Upper ranks of the river's shades, the best shade last. */
export const SHADE_RANKS = [Number.POSITIVE_INFINITY, 10_000, 1_000, 100, 10, 1];

/**
 * How near the target is, as one of six steps: 0 (rank beyond 10,000) to 5 (rank 1).
 * @param {number | null} rank
 */
export function shadeOf(rank) {
  if (rank === null) return 0;
  let shade = 0;
  for (let step = 1; step < SHADE_RANKS.length; step++) if (rank <= SHADE_RANKS[step]) shade = step;
  return shade;
}

/**
 * Ribbon width per unit, such that no group of values goes over its room.
 * @param {{values: (number | null)[], room: number}[]} groups `room`: most pixels for the largest.
 */
export function commonScale(groups) {
  let scale = Number.POSITIVE_INFINITY;
  for (const { values, room } of groups) {
    let largest = 0;
    for (const value of values) largest = Math.max(largest, Math.abs(value ?? 0));
    if (largest > 0) scale = Math.min(scale, room / largest);
  }
  return Number.isFinite(scale) ? scale : 0;
}

const HAIRLINE = 0.8;

/**
 * @param {number | null} value
 * @param {number} scale
 * @param {number} [widest]
 */
export function ribbonWidth(value, scale, widest = Number.POSITIVE_INFINITY) {
  return Math.max(HAIRLINE, Math.min(widest, Math.abs(value ?? 0) * scale));
}

/**
 * A rank's place between 0 (rank 1) and 1 (the last rank shown), on a log scale.
 * @param {number} rank
 * @param {number} last
 */
export function rankPlace(rank, last) {
  if (last <= 1) return 0;
  return Math.min(1, Math.max(0, Math.log(Math.max(1, rank)) / Math.log(last)));
}
