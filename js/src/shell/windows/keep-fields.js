/** The fields in which a reader says what is kept: numbers, or nothing for no limit. */

import { h, setAttribute } from "../../ui/dom.js";

/** @import { Count } from "../../types.js" */
/** @import { FullLimits } from "../../state/keep.js" */

/** What is wrong with a field, as a sentence to show beside it. */
export class FieldError extends Error {}

/**
 * @typedef {object} NumberField
 * @property {HTMLInputElement} el
 * @property {() => number | null} read Throws a FieldError where it is no such number.
 * @property {(value: number | null) => void} show
 */

/**
 * @param {string} name Its accessible name.
 * @param {{whole?: boolean, percent?: boolean, some?: boolean, words: string}} kind `some`: more
 *   than 0; `words`: what it has to be.
 * @returns {NumberField}
 */
function numberField(name, { whole = false, percent = false, some = false, words }) {
  const el = h("input", {
    type: "number",
    class: "vw-number",
    min: 0,
    max: percent ? 100 : null,
    step: whole ? 1 : "any",
    inputmode: whole ? "numeric" : "decimal",
    placeholder: "–",
    "aria-label": name,
  });
  return {
    el,
    read() {
      const value = el.value.trim() === "" ? null : Number(el.value);
      const wrong =
        el.validity.badInput ||
        (value !== null &&
          (!(value >= 0) ||
            (some && value === 0) ||
            (whole && !Number.isInteger(value)) ||
            (percent && value > 100)));
      setAttribute(el, "aria-invalid", wrong && "true");
      if (wrong) throw new FieldError(words);
      return value !== null && percent ? value / 100 : value;
    },
    show(value) {
      if (el === /** @type {Document | ShadowRoot} */ (el.getRootNode()).activeElement) return;
      setAttribute(el, "aria-invalid", null);
      // Less than what a binary fraction leaves behind: 0.07 × 100.
      const digits = value === null ? "" : (value * (percent ? 100 : 1)).toPrecision(6);
      el.value = digits === "" ? "" : String(Number(digits));
    },
  };
}

const COUNT_WORDS = "How many is a whole number, 0 or more; empty is no limit.";
const THRESHOLD_WORDS = "At least is a number, 0 or more; empty is no limit.";
const PART_WORDS = "At least is a percentage, 0 to 100; empty is no limit.";
const MASS_WORDS = "Making up is a percentage above 0, at most 100; empty is no limit.";

/**
 * @param {string} what What is counted: "Heads".
 * @param {() => void} onChange
 */
function countField(what, onChange) {
  const options = { whole: true, words: COUNT_WORDS };
  const both = numberField(`${what}: how many`, options);
  const most = numberField(`${what}: how many of the most positive`, options);
  const least = numberField(`${what}: how many of the most negative`, options);
  const toggle = h(
    "button",
    {
      class: "vw-pair",
      title: "Count the most positive and the most negative apart",
      "aria-label": `${what}: the most positive and the most negative apart`,
      click() {
        const pair = toggle.getAttribute("aria-pressed") !== "true";
        const count = both.el.value === "" ? null : Number(both.el.value);
        const sides = [most, least].map(({ el }) => Number(el.value));
        if (pair && count !== null) {
          most.el.value = String(Math.ceil(count / 2));
          least.el.value = String(Math.floor(count / 2));
        } else if (!pair && most.el.value !== "") both.el.value = String(sides[0] + sides[1]);
        setPair(pair);
        onChange();
      },
    },
    "±",
  );
  const el = h(
    "span",
    { class: "vw-count" },
    both.el,
    h("span", { class: "vw-sides" }, "+", most.el, "−", least.el),
    toggle,
  );

  /** @param {boolean} pair */
  function setPair(pair) {
    toggle.setAttribute("aria-pressed", String(pair));
    el.classList.toggle("pair", pair);
  }

  return {
    el,
    /** @returns {Count | null} */
    read() {
      if (toggle.getAttribute("aria-pressed") !== "true") return both.read();
      const [high, low] = [most.read(), least.read()];
      if (high === null && low === null) return null;
      return [high ?? 0, low ?? 0];
    },
    /** @param {Count | null} count */
    show(count) {
      setPair(Array.isArray(count));
      const [high, low] = Array.isArray(count) ? count : [null, null];
      both.show(Array.isArray(count) ? null : count);
      most.show(high);
      least.show(low);
    },
  };
}

/**
 * One line of the form: a name, and what limits it.
 *
 * @param {string} label
 * @param {() => void} onChange
 * @param {{title?: string, counted?: boolean, fraction?: boolean}} [options] `fraction`: the
 *   threshold is a percentage.
 */
export function limitRow(label, onChange, { title, counted = true, fraction = false } = {}) {
  const count = counted ? countField(label, onChange) : null;
  const threshold = numberField(`${label}: at least`, {
    percent: fraction,
    words: fraction ? PART_WORDS : THRESHOLD_WORDS,
  });
  const mass = numberField(`${label}: making up percent of the sum`, {
    percent: true,
    some: true,
    words: MASS_WORDS,
  });
  const error = h("p", {
    class: "vw-keep-error",
    role: "alert",
    "aria-live": "polite",
    hidden: true,
  });
  const unit = (/** @type {NumberField} */ { el }, /** @type {boolean} */ percent) =>
    percent ? h("span", { class: "vw-percent" }, el) : el;
  const cells = [
    h("span", { class: "vw-keep-name", title }, label),
    count?.el ?? h("span"),
    unit(threshold, fraction),
    unit(mass, true),
    error,
  ];

  return {
    cells,
    /** @returns {FullLimits | null} Null where a field is wrong; it then says so. */
    read() {
      try {
        const limits = {
          count: count?.read() ?? null,
          threshold: threshold.read(),
          mass: mass.read(),
        };
        error.hidden = true;
        return limits;
      } catch (wrong) {
        if (!(wrong instanceof FieldError)) throw wrong;
        if (error.textContent !== wrong.message) error.textContent = wrong.message;
        error.hidden = false;
        return null;
      }
    },
    /** @param {FullLimits} limits */
    show(limits) {
      error.hidden = true;
      count?.show(limits.count);
      threshold.show(limits.threshold);
      mass.show(limits.mass);
    },
  };
}
