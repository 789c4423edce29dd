/** Numbers as a person reads them. */

const MINUS = "−";

/**
 * @param {number} value
 * @returns {string} "+2.68", "−0.04", "0", "+3e−5"
 */
export function signed(value) {
  const text = plain(Math.abs(value));
  if (text === "0") return text;
  return `${value < 0 ? MINUS : "+"}${text}`;
}

/**
 * @param {number} value
 * @returns {string} Three digits that matter; tiny ones as a power of ten.
 */
export function plain(value) {
  if (!Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  const sign = value < 0 ? MINUS : "";
  if (size < 1e-9) return "0";
  if (size < 0.0005) return sign + scientific(size);
  if (size < 0.00995) return sign + size.toFixed(3);
  if (size < 100) return sign + size.toFixed(2);
  if (size < 1000) return sign + size.toFixed(1);
  return sign + whole(size);
}

/**
 * @param {number} value
 * @returns {string} "4e-7", as programmers write it
 */
export function scientific(value) {
  const [digits, exponent] = value.toExponential(0).split("e");
  return `${digits}e${Number(exponent)}`.replace("e-", `e${MINUS}`);
}

const SUPERSCRIPTS = "⁰¹²³⁴⁵⁶⁷⁸⁹";

/**
 * @param {number} value
 * @param {{even?: boolean}} [options] `even`: one digit after the point, for a column of them.
 * @returns {string} "1.2 × 10⁻⁷", as it is printed; whole powers without the 1
 */
export function powerOfTen(value, { even = false } = {}) {
  if (!Number.isFinite(value)) return "–";
  if (value === 0) return "0";
  const [digits, exponent] = value.toExponential(1).split("e");
  const power = String(Number(exponent)).replace("-", "⁻").replace(/\d/g, raised);
  if (even) return `${digits} × 10${power}`;
  return digits === "1.0" ? `10${power}` : `${digits.replace(/\.0$/, "")} × 10${power}`;
}

/** @param {string} digit */
const raised = (digit) => SUPERSCRIPTS[Number(digit)];

/**
 * @param {number} value
 * @returns {string} "15,307"
 */
export function whole(value) {
  return Math.round(value)
    .toString()
    .replace(/\B(?=(\d{3})+$)/g, ",");
}

/**
 * @param {number} fraction Of a probability or a weight: 0 to 1.
 * @returns {string} "57.5%", "0.04%", "<0.01%"
 */
export function percent(fraction) {
  if (!Number.isFinite(fraction)) return "–";
  const value = fraction * 100;
  if (value === 0) return "0%";
  if (value < 0.01) return "<0.01%";
  if (value > 99.9 && value < 100) return ">99.9%";
  return `${value.toFixed(value < 0.1 ? 2 : value === 100 ? 0 : 1)}%`;
}

/**
 * @param {number} share Signed, and not bound to −1 … 1.
 * @returns {string} "41%", "−3%"
 */
export function shareOf(share) {
  const value = share * 100;
  const size = Math.abs(value);
  if (size < 1e-7) return "0%";
  const text = size < 0.1 ? "<0.1" : size < 9.95 ? size.toFixed(1) : whole(size);
  return `${value < 0 ? MINUS : ""}${text}%`;
}

/**
 * @param {number} count
 * @param {string} one
 * @param {string} [many]
 */
export function counted(count, one, many = `${one}s`) {
  return `${whole(count)} ${count === 1 ? one : many}`;
}

/** @param {string} text */
export const capitalised = (text) => text.charAt(0).toUpperCase() + text.slice(1);
