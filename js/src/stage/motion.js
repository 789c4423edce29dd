/** How a change is shown: gliding to the new place, or at once where motion is not wanted. */

import { easeCubicOut } from "d3-ease";
import { interpolateString } from "d3-interpolate";
import "d3-transition";

const DURATION = 260;
const LEAVING = 130;
const HOOKS = ["node", "role", "nav", "kind", "layer", "source", "target", "label-of"];

/** @typedef {{animated: boolean}} Motion */

/**
 * Sets attributes, gliding from where they were.
 * @template D
 * @param {import("d3-selection").Selection<any, D, any, any>} selection
 * @param {Motion} motion
 * @param {Record<string, (datum: D) => string | number>} attributes
 */
export function settle(selection, { animated }, attributes) {
  if (!animated) {
    selection.interrupt("settle");
    for (const [name, value] of Object.entries(attributes)) selection.attr(name, value);
    return;
  }
  const transition = selection.transition("settle").duration(DURATION).ease(easeCubicOut);
  for (const [name, value] of Object.entries(attributes)) {
    transition.attrTween(name, function tween(datum) {
      const to = String(value(datum));
      const from = this.getAttribute(name) ?? to;
      return from === to ? () => to : interpolateString(from, to);
    });
  }
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
  selection
    .interrupt("settle")
    .attr("aria-hidden", "true")
    .attr("tabindex", null)
    .style("pointer-events", "none");
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
