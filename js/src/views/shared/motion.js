/** How a change is shown: gliding to the new place, or at once where motion is not wanted. */

import { easeCubicOut } from "d3-ease";
import { interpolateString } from "d3-interpolate";

const DURATION = 260;
const LEAVING = 130;
const DRAG_PAUSE = 400;
const HOOKS = ["node", "role", "nav", "kind", "layer", "source", "target", "label-of"];

/** @typedef {{animated: boolean}} Motion */

/**
 * @typedef {object} Tween
 * @property {string} from
 * @property {string} to
 * @property {number | null} since When it began; with the first step.
 * @property {(part: number) => string} [at] Made with the first step: one change often follows
 *   another before there is any.
 */

/**
 * What glides, by element and attribute. One clock moves all of it: a picture has a thousand pieces.
 * @type {Map<Element, Map<string, Tween>>}
 */
const gliding = new Map();
let ticking = false;

/**
 * Sets attributes, gliding from where they were.
 * @template D
 * @param {import("d3-selection").Selection<any, D, any, any>} selection
 * @param {Motion} motion
 * @param {Record<string, (datum: D) => string | number>} attributes
 */
export function settle(selection, { animated }, attributes) {
  if (!animated) {
    halt(selection);
    for (const [name, value] of Object.entries(attributes)) selection.attr(name, value);
    return;
  }
  selection.each(function glide(datum) {
    for (const [name, value] of Object.entries(attributes)) {
      const to = String(value(datum));
      const from = this.getAttribute(name);
      const own = gliding.get(this);
      own?.delete(name);
      if (from === null) this.setAttribute(name, to);
      if (from === null || from === to) continue;
      const tweens = own ?? new Map();
      gliding.set(this, tweens.set(name, { from, to, since: null }));
    }
  });
  if (gliding.size > 0 && !ticking) tick();
}

/**
 * Leaves elements where they are on their way.
 * @param {import("d3-selection").Selection<any, any, any, any>} selection
 */
export function halt(selection) {
  selection.each(function stop() {
    gliding.delete(this);
  });
}

function tick() {
  ticking = gliding.size > 0;
  if (ticking) requestAnimationFrame(move);
}

/** @param {number} time */
function move(time) {
  for (const [element, tweens] of gliding) {
    for (const [name, tween] of tweens) {
      tween.since ??= time;
      const part = Math.min(1, (time - tween.since) / DURATION);
      tween.at ??= interpolateString(tween.from, tween.to);
      element.setAttribute(name, tween.at(easeCubicOut(part)));
      if (part === 1) tweens.delete(name);
    }
    if (tweens.size === 0) gliding.delete(element);
  }
  tick();
}

/**
 * Tells a window being dragged, many changes of width in a row, from one change, as of a panel that
 * opens: pictures follow the pointer without gliding.
 */
export function createDragWatch() {
  /** @type {number | null} */
  let width = null;
  let resizedAt = Number.NEGATIVE_INFINITY;
  return (/** @type {number} */ next) => {
    const changed = width !== null && next !== width;
    width = next;
    if (!changed) return false;
    const at = performance.now();
    const dragged = at - resizedAt < DRAG_PAUSE;
    resizedAt = at;
    return dragged;
  };
}

/**
 * Selects what is in the picture: an element that still fades must not be joined again.
 * @param {string} selector
 */
export const staying = (selector) => `${selector}:not(.vw-leave)`;

/**
 * Lets elements that are no longer in the picture fade, unfindable from the moment they leave.
 * @param {import("d3-selection").Selection<any, any, any, any>} selection
 * @param {Motion} motion
 */
export function leave(selection, { animated }) {
  halt(selection);
  selection.attr("aria-hidden", "true").attr("tabindex", null);
  for (const hook of HOOKS) selection.attr(`data-${hook}`, null);
  if (!animated) {
    selection.remove();
    return;
  }
  // One class and one timer: a transition for each of hundreds of leaving elements is slow.
  selection.classed("vw-leave", true);
  const leaving = selection.nodes();
  if (leaving.length) setTimeout(() => leaving.forEach(removeElement), LEAVING);
}

const removeElement = (/** @type {Element} */ element) => element.remove();

/**
 * @param {import("d3-selection").Selection<any, any, any, any>} entered
 * @param {Motion} motion
 */
export function appear(entered, { animated }) {
  entered.classed("vw-appear", animated);
}
