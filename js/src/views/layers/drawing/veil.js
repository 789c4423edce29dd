/** What a search found stands out, and layers that the reader looks past step back. */

import { isOutside, layerOfNode } from "../../../state/filters.js";
import { staying } from "../../shared/motion.js";

/** @typedef {import("./frame.js").Group} Group */

/**
 * @param {ReturnType<typeof import("./frame.js").createFrame>} frame
 */
export function createVeil(frame) {
  let veiled = false;
  const nodes = [
    [frame.nodes, "g.vw-node"],
    [frame.cells, "path.vw-cell"],
    [frame.labels, "g.vw-writer"],
  ];
  const ribbons = [frame.above, frame.below, frame.inside, frame.reads];

  /** @param {Pick<import("../../../types.js").StageView, "found" | "layers">} view */
  return ({ found = null, layers = null }) => {
    const is = found !== null || layers !== null;
    frame.svg.classed("has-found", found !== null);
    if (!is && !veiled) return;
    veiled = is;
    const out = (/** @type {string} */ id) => isOutside(layers, layerOfNode(id));
    for (const [group, selector] of nodes) {
      /** @type {Group} */ (group)
        .selectAll(staying(/** @type {string} */ (selector)))
        .classed("found", (/** @type {any} */ { id }) => found?.has(id) ?? false)
        .classed("outside", (/** @type {any} */ { id }) => out(id));
    }
    frame.sources
      .selectAll(staying("g.vw-source"))
      .classed("found", (/** @type {any} */ d) => found?.has(`token ${d.position}`) ?? false)
      .classed("outside", (/** @type {any} */ { id }) => out(id));
    for (const group of ribbons) {
      group.selectAll(staying("path.vw-ribbon")).classed(
        "outside",
        // What goes on along the river is of no layer.
        (/** @type {any} */ d) => out(d.source) || (d.source.startsWith("from.") && out(d.target)),
      );
    }
  };
}
