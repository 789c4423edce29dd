/** The box beside the pointer, whatever it says. */

import { fill, h } from "./dom.js";

const OFFSET = 14;
const MARGIN = 6;

/** @typedef {ReturnType<typeof createTip>} Tip */

/**
 * @param {HTMLElement} root
 * @param {HTMLElement} panel Not to be covered, where it stands beside the stage.
 */
export function createTip(root, panel) {
  const el = h("div", { class: "vw-tooltip", role: "tooltip", hidden: true });
  root.append(el);

  /**
   * @param {string} id What it is of: said anew only when that changes.
   * @param {() => import("./dom.js").Child[]} content
   * @param {number} x In client coordinates.
   * @param {number} y
   */
  function show(id, content, x, y) {
    if (el.dataset.of !== id || el.hidden) {
      fill(el, content());
      el.dataset.of = id;
      el.hidden = false;
    }
    place(x, y);
  }

  function hide() {
    el.hidden = true;
  }

  /**
   * @param {number} x
   * @param {number} y
   */
  function place(x, y) {
    const frame = root.getBoundingClientRect();
    const { offsetWidth: width, offsetHeight: height } = el;
    const right = x - frame.left + OFFSET;
    const below = y - frame.top + OFFSET;
    const edge = panel.offsetLeft > 0 ? panel.offsetLeft : frame.width;
    const left = right + width > edge - MARGIN ? right - width - 2 * OFFSET : right;
    const top = below + height > frame.height - MARGIN ? below - height - 2 * OFFSET : below;
    el.style.left = `${clamp(left, MARGIN, frame.width - width - MARGIN)}px`;
    el.style.top = `${clamp(top, MARGIN, frame.height - height - MARGIN)}px`;
  }

  return { show, hide };
}

/**
 * @param {number} value
 * @param {number} low
 * @param {number} high
 */
const clamp = (value, low, high) => Math.max(low, Math.min(value, high));
