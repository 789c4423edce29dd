/** Numbers as the picture writes them: short. */

/** @typedef {import("../types.js").Measure} Measure */

const MINUS = "−";

/**
 * @param {number} value
 * @param {number} digits
 */
function signed(value, digits) {
  const text = Math.abs(value).toFixed(digits);
  if (Number(text) === 0) return text;
  return (value < 0 ? MINUS : "+") + text;
}

/** @param {number} value A fraction of 1. */
export function percent(value) {
  const size = Math.abs(value) * 100;
  const text = size >= 9.95 ? size.toFixed(0) : size.toFixed(1);
  return (value < 0 && Number(text) !== 0 ? MINUS : "") + text + "%";
}

/** @param {number} value Between 0 and 1. */
export function probability(value) {
  if (value > 0.995 && value < 1) return ">99%";
  return value < 0.01 ? "<1%" : `${Math.round(value * 100)}%`;
}

/** Whether a measure is in logits. @param {Measure} measure */
export const inLogits = (measure) => measure === "logit" || measure === "effect";

/**
 * @param {number | null} value
 * @param {Measure} measure
 * @param {{coarse?: boolean}} [options]
 */
export function formatValue(value, measure, { coarse = false } = {}) {
  if (value === null || !Number.isFinite(value)) return "";
  if (measure === "share" || measure === "proximity") return percent(value);
  const size = Math.abs(value);
  const digits = size >= 100 ? 0 : size >= 10 || (coarse && size >= 1) ? 1 : 2;
  return inLogits(measure) ? signed(value, digits) : value.toFixed(digits);
}

const thousands = new Intl.NumberFormat("en-US");

/** @param {number} value */
export const count = (value) => thousands.format(value);
