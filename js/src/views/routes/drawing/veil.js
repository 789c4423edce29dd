/** What a search found stands out, and layers that the reader looks past step back. */

import { isOutside, layerOfNode } from "../../../state/filters.js";
import { staying } from "../../shared/motion.js";

/**
 * @param {Record<"svg" | "ribbons" | "outlines" | "stretches" | "marks" | "stops" | "tokens" | "labels", any>}
 *   groups
 */
export function createRoutesVeil({
  svg,
  ribbons,
  outlines,
  stretches,
  marks,
  stops,
  tokens,
  labels,
}) {
  let veiled = false;

  /** @param {{found: Set<string> | null, layers: [number, number] | null}} view */
  return ({ found, layers }) => {
    const is = found !== null || layers !== null;
    svg.classed("has-found", found !== null);
    if (!is && !veiled) return;
    veiled = is;
    const has = (/** @type {string[]} */ ids) => ids.some((id) => found?.has(id));
    /** Keys of what steps back, for the words beside it. */
    const outside = new Set();
    const out = (/** @type {string} */ key, /** @type {number | null} */ layer) => {
      if (!isOutside(layers, layer)) return false;
      outside.add(key);
      return true;
    };
    /** Keys of what was found. */
    const lit = new Set();
    const light = (/** @type {string} */ key, /** @type {string[]} */ ids) => {
      if (!has(ids)) return false;
      lit.add(key);
      return true;
    };
    ribbons
      .selectAll(staying("path"))
      .classed("found", (/** @type {any} */ d) =>
        light(
          d.key,
          d.passage.carriers.map((/** @type {any} */ { node }) => node.id),
        ),
      )
      .classed("outside", (/** @type {any} */ d) => out(d.key, d.layer));
    outlines
      .selectAll(staying("g"))
      .classed("outside", (/** @type {any} */ d) => out(d.key, d.layer));
    marks
      .selectAll(staying("rect"))
      .classed("found", (/** @type {any} */ d) => light(d.id, d.nodes))
      .classed("outside", (/** @type {any} */ d) => out(d.id, d.layer));
    stretches.selectAll(staying("path")).classed("outside", (/** @type {any} */ d) => {
      const [low, high] = [layerOfNode(d.source), layerOfNode(d.top)];
      // A river that reaches among the layers shown is one of theirs.
      return layers !== null && ((high ?? 0) < layers[0] || (low ?? 0) > layers[1]);
    });
    stops
      .selectAll(staying("rect"))
      .classed("found", (/** @type {any} */ d) => light(d.id, [d.id]));
    tokens
      .selectAll(staying("g"))
      .classed("found", (/** @type {any} */ d) => light(d.id, [d.id, `token ${d.position}`]));
    labels
      .selectAll(staying("g"))
      .classed("found", (/** @type {any} */ d) => lit.has(d.of))
      .classed(
        "outside",
        (/** @type {any} */ d) => outside.has(d.of) || isOutside(layers, layerOfNode(d.of)),
      );
  };
}
