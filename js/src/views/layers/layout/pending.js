/** A layer that is being fetched: its room is kept and calmly outlined, so that nothing jumps. */

import { mostOf } from "../../../state/keep.js";
import { commonScale } from "../../shared/scales.js";
import { placeWholes } from "./block.js";
import { shapeOf } from "./blockContent.js";
import { gridForWidth } from "./grid.js";
import { NO_MLP } from "./mlp.js";
import { layerWrites } from "./overview.js";
import { BANK } from "./parts.js";
import { riverThrough } from "./through.js";

/** @typedef {import("../../shared/graph.js").GraphIndex} GraphIndex */
/** @typedef {import("../../../types.js").Measure} Measure */

const ROW = 30;
const WIDEST_RIBBON = 18;

/**
 * What will be there, as far as pruning says.
 * @param {GraphIndex} index
 */
export function pendingHeads({ graph }) {
  return Math.min(mostOf(graph.keep, "heads"), graph.model.n_heads, 16);
}

/**
 * @param {GraphIndex} index
 * @param {import("../../shared/graph.js").LayerParts} parts
 * @param {import("./detail.js").Detail} detail
 */
export function pendingReach(index, { attention, mix, mlp }, { density, unfolded }) {
  const { keep, tokens } = index.graph;
  const heads = pendingHeads(index);
  const neurons = Math.min(mostOf(keep, "neurons"), 24);
  const slots = Math.min(mostOf(keep, "memories"), tokens.length) + 1;
  const { line, slot, gap, neuron, head, foot, upperRoom, lowerRoom } = density;
  const open = Math.min(heads, unfolded);
  const bands = heads * (line + gap) + open * (slots * slot - line);
  return {
    above: BANK + head + (attention ? upperRoom + bands : mix ? upperRoom : 0),
    below: BANK + foot + (mlp ? lowerRoom + (neurons + 1) * neuron : NO_MLP),
  };
}

/**
 * @param {GraphIndex} index
 * @param {import("./columns.js").Column} column
 * @param {Measure} measure
 * @param {{tail: number, detail: import("./detail.js").Detail}} how
 * @returns {import("./block.js").PlacedBlock}
 */
export function placePending(index, column, measure, { tail, detail }) {
  const parts = index.layers[column.layer];
  const grid = gridForWidth(shapeOf(parts, null, index.there !== null), column.width);
  const { above, below } = pendingReach(index, parts, detail);
  const { head, upperRoom, lowerRoom } = detail.density;
  const midX = column.x + grid.midX;
  const postX = column.x + grid.postX;
  const wholes = knownWholes(index, column, measure, grid, detail, { midX, postX });
  const written = [grid.headX, grid.headRight - grid.headX];
  const upper = [[grid.keyX, grid.keyLabel], [grid.valueX, grid.valueLabel], written];
  const lower = [
    ...(grid.neuronKeys ? [[grid.neuronKeyX, grid.neuronKeyLabel]] : []),
    [grid.neuronX, grid.headRight - grid.neuronX],
  ];
  const bars = (
    /** @type {number[][]} */ places,
    /** @type {number} */ from,
    /** @type {number} */ to,
  ) => {
    const skeleton = [];
    for (let y = from; y < to; y += ROW) {
      for (const [at, width] of places) {
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
      skeleton: [
        ...(parts.attention ? bars(upper, head - above, -BANK - upperRoom - 6) : []),
        ...(parts.mlp ? bars(lower, BANK + lowerRoom + 6, below - 20) : []),
      ],
    },
    ...wholes,
    sources: [],
    midX,
    postX,
    folded: [],
    ...riverThrough(index, { parts }, column, { midX, postX, tail }),
  };
}

/**
 * What the layer writes is known before its block is.
 * @param {GraphIndex} index
 * @param {import("./columns.js").Column} column
 * @param {Measure} measure
 * @param {import("./grid.js").Grid} grid
 * @param {import("./detail.js").Detail} detail
 * @param {{midX: number, postX: number}} places
 */
function knownWholes(index, { layer, x }, measure, grid, detail, places) {
  const parts = index.layers[layer];
  const { above, below } = layerWrites(index, parts, measure);
  const values = [...above, ...below].map(({ value }) => value);
  const scale = commonScale([{ values, room: WIDEST_RIBBON }]);
  /** @type {Pick<import("./block.js").PlacedBlock, "nodes" | "ribbons">} */
  const placed = { nodes: [], ribbons: [] };
  placeWholes({ index, layer, measure, grid, scale, x, detail, ...placed }, parts, [], [], places);
  return placed;
}
