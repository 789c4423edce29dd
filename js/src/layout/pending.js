/** A layer that is being fetched: its room is kept and calmly outlined, so that nothing jumps. */

import { placeWhole } from "./block.js";
import { gridForWidth } from "./grid.js";
import { layerWrites } from "./overview.js";
import { BANK } from "./parts.js";
import { commonScale } from "./scales.js";
import { riverThrough } from "./through.js";

/** @typedef {import("./graph.js").GraphIndex} GraphIndex */
/** @typedef {import("../types.js").Measure} Measure */

const ROW = 30;
const WIDEST_RIBBON = 18;

/** @param {GraphIndex} index */
export function pendingReach({ graph }) {
  const heads = Math.min(graph.keep.heads ?? 8, graph.model.n_heads, 16);
  const neurons = Math.min(graph.keep.neurons ?? 12, 24);
  const slots = Math.min(graph.keep.memories ?? 2, graph.tokens.length) + 1;
  return {
    above: BANK + 128 + heads * (slots * 14 + 9),
    below: BANK + 106 + (neurons + 1) * 19,
  };
}

/**
 * @param {GraphIndex} index
 * @param {import("./columns.js").Column} column
 * @param {Measure} measure
 * @param {number} tail
 * @returns {import("./block.js").PlacedBlock}
 */
export function placePending(index, column, measure, tail) {
  const grid = gridForWidth(false, column.width);
  const { above, below } = pendingReach(index);
  const midX = column.x + grid.midX;
  const postX = column.x + grid.postX;
  const parts = index.layers[column.layer];
  const wholes = placeWholes(index, column.layer, measure, grid, midX, postX);
  const bars = (/** @type {number} */ from, /** @type {number} */ to) => {
    const skeleton = [];
    for (let y = from; y < to; y += ROW) {
      for (const [at, width] of [
        [grid.keyX, grid.keyLabel],
        [grid.valueX, grid.valueLabel],
        [grid.headX, grid.headRight - grid.headX],
      ]) {
        skeleton.push({ x: column.x + at, y, width });
      }
    }
    return skeleton;
  };
  return {
    panel: {
      layer: column.layer,
      x: column.x,
      y: -above,
      width: column.width,
      height: above + below,
      headings: [],
      pending: true,
      scale: null,
      skeleton: [...bars(-above + 56, -BANK - 80), ...bars(BANK + 98, below - 20)],
    },
    ...wholes,
    sources: [],
    midX,
    postX,
    ...riverThrough(index, { parts }, column, { midX, postX, tail }),
  };
}

/**
 * What the layer writes is known before its block is.
 * @param {GraphIndex} index
 * @param {number} layer
 * @param {Measure} measure
 * @param {import("./grid.js").Grid} grid
 * @param {number} midX
 * @param {number} postX
 */
function placeWholes(index, layer, measure, grid, midX, postX) {
  const parts = index.layers[layer];
  const { attention, mlp } = layerWrites(index, parts, measure);
  const values = [attention?.value ?? null, mlp?.value ?? null];
  const scale = commonScale([{ values, room: WIDEST_RIBBON }]);
  /** @type {Pick<import("./block.js").PlacedBlock, "nodes" | "ribbons">} */
  const placed = { nodes: [], ribbons: [] };
  const frame = { index, layer, measure, grid, scale, ...placed };
  placeWhole(frame, parts.attention, [], midX, "above");
  placeWhole(frame, parts.mlp, [], postX, "below");
  return placed;
}
