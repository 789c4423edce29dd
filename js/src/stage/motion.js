/** How a change is shown: gliding to the new place, or at once where motion is not wanted. */

import { easeCubicOut } from "d3-ease";
import { interpolateString } from "d3-interpolate";
import "d3-transition";

const DURATION = 260;

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
 * Lets elements that are no longer in the picture fade, unfindable from the moment they leave.
 * @param {import("d3-selection").Selection<any, any, any, any>} selection
 * @param {Motion} motion
 */
export function leave(selection, { animated }) {
  selection
    .interrupt("settle")
    .attr("aria-hidden", "true")
    .attr("data-node", null)
    .attr("data-role", null)
    .attr("data-nav", null)
    .attr("tabindex", null)
    .style("pointer-events", "none");
  if (!animated) {
    selection.remove();
    return;
  }
  selection.transition("leave").duration(120).style("opacity", "0").remove();
}

/**
 * @param {import("d3-selection").Selection<any, any, any, any>} entered
 * @param {Motion} motion
 */
export function appear(entered, { animated }) {
  entered.classed("vw-appear", animated);
}
