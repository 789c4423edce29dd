/** One head in an open layer: what it asks for, the memories that answer, and what it writes. */

import { probability } from "../../../words/figures.js";
import { edgeBetween, nodeValue } from "../../shared/graph.js";
import { ribbonWidth, signOf } from "../../shared/scales.js";
import { memoryWeight } from "./blockContent.js";
import { bandHeight, folded, OWN_LANE, restsOf } from "./detail.js";
import { BAR, WEIGHT_ROOM } from "./grid.js";
import { ribbon } from "./parts.js";
import { levelLine, ribbonPath, stack } from "./ribbons.js";
import { rowNode } from "./rows.js";

/** @typedef {import("../../../types.js").Node} Node */
/** @typedef {import("./blockContent.js").HeadBand} HeadBand */
/** @typedef {import("./blockContent.js").Memory} Memory */
/** @typedef {import("./block.js").BlockFrame} BlockFrame */
/** @typedef {import("./block.js").Outflow} Outflow */

/**
 * @typedef {object} Arrival A memory's end of a ribbon from its source token.
 * @property {number} source
 * @property {string} id
 * @property {number} y
 * @property {number} weight
 *
 * @typedef {object} Inflow What flows from a memory, or from the rest of them, into the head.
 * @property {string} id
 * @property {number} y
 * @property {number} width
 * @property {import("./parts.js").SceneRibbon["tone"]} tone
 *
 * @typedef {object} BandPlace
 * @property {HeadBand} band
 * @property {BlockFrame} frame
 * @property {number} slot The height of a row.
 * @property {number} height
 * @property {(slot: number) => number} slotY
 */

export const WIDEST_WEIGHT = 11;
/** A head of so many pixels has room for a line under its number. */
const ROOMY = 34;
/** How wide what the other prompt alone reads is drawn: it is no part of the sum. */
const ONLY_THERE = 2;

/**
 * @param {HeadBand} whole
 * @param {number} top
 * @param {BlockFrame} frame
 * @returns {{arrivals: Arrival[], outflows: Outflow[], height: number}}
 */
export function placeBand(whole, top, frame) {
  const { detail, index, measure } = frame;
  const unfolded = frame.unfolded.has(whole.head.id);
  const band = unfolded ? whole : folded(whole, index, measure);
  const height = bandHeight(whole, detail, unfolded);
  const slot = unfolded ? detail.density.slot : height;
  /** @type {BandPlace} */
  const place = { band, frame, slot, height, slotY: (at) => top + (at + 0.5) * slot };
  if (detail.stacked) return placeStacked(place, top, unfolded);
  const headY = top + height / 2;
  // Keys stand one slot lower than values: over them stands the query, under those the rest.
  const keySlot = band.query || restsOf(band).length > 0 ? 1 : 0;

  if (band.query) placeQuery(place, band.query);
  const arrivals = band.memories.map((memory, at) => placeKey(place, memory, at + keySlot, at));
  const inflows = band.memories.flatMap((memory, at) => placeValue(place, memory, at));
  restsOf(band).forEach((node, at) => {
    inflows.push(placeInflow(place, node, band.memories.length + at, 0));
  });
  placeHead(place, inflows, headY);
  return { arrivals, outflows: placeHeadOutflow(place, top, headY), height };
}

/**
 * On a narrow screen: the head, and under it what it reads, where it is unfolded.
 * @param {BandPlace} place
 * @param {number} top
 * @param {boolean} unfolded
 */
function placeStacked(place, top, unfolded) {
  const { band, slot } = place;
  const headY = top + slot / 2;
  const lines = unfolded ? [...(band.query ? [null] : []), ...band.memories] : [];
  const under = { ...place, slotY: (/** @type {number} */ at) => top + (at + 1.5) * slot };
  if (unfolded && band.query) placeQuery(under, band.query);
  lines.forEach((memory, at) => {
    if (!memory) return;
    placeKey(under, memory, at, at);
    placeValue(under, memory, at);
  });
  restsOf(band).forEach((node, at) => {
    placeInflow(under, node, lines.length + at, 0);
  });
  placeHead({ ...place, height: slot }, [], headY);
  return { arrivals: [], outflows: placeHeadOutflow(place, top, headY), height: place.height };
}

/**
 * @param {BandPlace} place
 * @param {Node} query
 */
function placeQuery({ frame: { x, grid, index, measure, nodes }, slot, slotY }, query) {
  nodes.push(
    rowNode({
      index,
      measure,
      node: query,
      value: null,
      x: x + grid.keyX,
      right: x + grid.keyRight,
      y: slotY(0),
      barWidth: BAR.memory,
      barHeight: 7,
      rowHeight: slot,
      labelRoom: grid.keyLabel + (grid.keyNumbers ? WEIGHT_ROOM - 34 : 0),
      face: "small",
      number: grid.keyNumbers ? "asks" : "",
      tone: "query",
    }),
  );
}

/** @param {Memory} memory */
const weightWidth = (memory) => ribbonWidth(memoryWeight(memory), WIDEST_WEIGHT, WIDEST_WEIGHT);

/**
 * @param {BandPlace} place
 * @param {Memory} memory
 * @param {number} slot
 * @param {number} valueSlot
 * @returns {Arrival}
 */
function placeKey({ band, frame, slot: height, slotY }, memory, slot, valueSlot) {
  const { x, grid, index, measure, nodes, ribbons } = frame;
  const { key, value, source } = memory;
  const weight = memoryWeight(memory);
  if (!key) return { source, id: value?.id ?? "", y: slotY(valueSlot), weight };
  const y = slotY(slot);
  nodes.push(
    rowNode({
      index,
      measure,
      node: key,
      value: null,
      x: x + grid.keyX,
      right: x + grid.keyRight,
      y,
      barWidth: BAR.memory,
      barHeight: Math.max(6, weightWidth(memory)),
      rowHeight: height,
      labelRoom: grid.keyLabel,
      face: "small",
      number: grid.keyNumbers ? probability(weight) : "",
      tone: "memory",
    }),
  );
  if (band.query) {
    ribbons.push(
      ribbon({
        source: band.query.id,
        target: key.id,
        kind: "score",
        tone: "neutral",
        path: `M${x + grid.keyX + BAR.memory / 2},${slotY(0) + 3.5}V${y}`,
        line: true,
      }),
    );
  }
  if (value) {
    const line = levelLine([x + grid.keyRight, y], [x + grid.valueX, slotY(valueSlot)]);
    const path = ribbonPath(line, weightWidth(memory));
    const tone = value.only ? "there" : "memory";
    ribbons.push(ribbon({ source: key.id, target: value.id, kind: "weight", tone, path }));
  }
  return { source, id: key.id, y, weight };
}

/**
 * @param {BandPlace} place
 * @param {Memory} memory
 * @param {number} slot
 * @returns {Inflow[]}
 */
function placeValue(place, memory, slot) {
  if (!memory.value) return [];
  return [placeInflow(place, memory.value, slot, weightWidth(memory))];
}

/**
 * @param {BandPlace} place
 * @param {Node} node
 * @param {number} slot
 * @param {number} arriving Width of what arrives from its key.
 * @returns {Inflow}
 */
function placeInflow({ band, frame, slot: height, slotY }, node, slot, arriving) {
  const { x, grid, index, measure, memoryScale, nodes } = frame;
  const part = edgeBetween(index, node.id, band.head.id)?.[measure] ?? null;
  const width = node.only ? ONLY_THERE : ribbonWidth(part, memoryScale, height - 3);
  const y = slotY(slot);
  const isRest = node.kind === "rest" || node.kind === "edit";
  nodes.push(
    rowNode({
      index,
      measure,
      node,
      value: part,
      x: x + grid.valueX,
      right: x + grid.valueRight,
      y,
      barWidth: BAR.memory,
      barHeight: isRest ? 6 : Math.max(6, width, arriving),
      rowHeight: height,
      labelRoom: grid.valueLabel,
      face: "small",
      number: grid.valueNumbers ? undefined : "",
      terse: isRest,
    }),
  );
  const tone = node.only ? "there" : isRest ? "rest" : signOf(part, measure);
  return { id: node.id, y, width, tone };
}

/**
 * @param {BandPlace} place
 * @param {Inflow[]} inflows
 * @param {number} y
 */
function placeHead({ band, frame, height }, inflows, y) {
  const { x, grid, index, measure, scale, nodes, ribbons } = frame;
  const { head } = band;
  const widths = inflows.map(({ width }) => width);
  const ends = stack(widths, y);
  inflows.forEach((inflow, at) => {
    const line = levelLine([x + grid.valueRight, inflow.y], [x + grid.headX, ends[at]]);
    const path = ribbonPath(line, inflow.width);
    const { id: source, tone } = inflow;
    ribbons.push(ribbon({ source, target: head.id, kind: "part", tone, path }));
  });
  const value = nodeValue(index, head, measure);
  const inWidth = widths.reduce((sum, width) => sum + width, 0);
  nodes.push(
    rowNode({
      index,
      measure,
      node: head,
      value,
      x: x + grid.headX,
      right: x + grid.headRight,
      y,
      barWidth: BAR.head,
      barHeight: Math.min(height - 2, Math.max(11, inWidth, ribbonWidth(value, scale))),
      rowHeight: Math.min(height, Math.max(22, inWidth + 4)),
      labelRoom: grid.headLabel,
      face: "strong",
      tag: `H${head.head}`,
      thereRoom: grid.there,
      roomy: height >= ROOMY,
    }),
  );
}

/**
 * A head flows straight into the whole, but for the rows of W_O that are shown apart.
 * @param {BandPlace} place
 * @param {number} top
 * @param {number} headY
 * @returns {Outflow[]}
 */
function placeHeadOutflow({ band, frame, slot }, top, headY) {
  const { x, grid, index, measure, scale, nodes, ribbons } = frame;
  const whole = `L${frame.layer}.attn`;
  // Rows that are not shown apart flow with the rest of the head.
  const left = band.rows.length
    ? (edgeBetween(index, band.head.id, whole)?.[measure] ?? null)
    : nodeValue(index, band.head, measure);
  const laneY = band.rows.length ? top + (OWN_LANE * slot) / 2 : headY;
  const leftWidth = ribbonWidth(left, scale);
  const splits = band.rows.map(
    (row) => edgeBetween(index, band.head.id, row.id)?.[measure] ?? null,
  );
  const widths = [leftWidth, ...splits.map((value) => ribbonWidth(value, scale, slot - 3))];
  const starts = stack(widths, headY);
  const rowX = grid.rowX;
  /** @type {Outflow} */
  const own = {
    id: band.head.id,
    x: x + grid.rowRight,
    fromX: x + grid.headRight,
    fromY: starts[0],
    levelX: x + (grid.rowX ?? grid.rowRight),
    y: laneY,
    width: leftWidth,
    value: left,
    tone: signOf(left, measure),
  };
  if (rowX === null) return [own];
  const apart = band.rows.map((row, at) => {
    const y = top + (at + OWN_LANE + 0.5) * slot;
    const value = splits[at];
    const width = widths[at + 1];
    ribbons.push(
      ribbon({
        source: band.head.id,
        target: row.id,
        kind: "split",
        tone: signOf(value, measure),
        path: ribbonPath(levelLine([x + grid.headRight, starts[at + 1]], [x + rowX, y]), width),
      }),
    );
    nodes.push(
      rowNode({
        index,
        measure,
        node: row,
        value,
        x: x + rowX,
        right: x + grid.rowRight,
        y,
        barWidth: BAR.memory,
        barHeight: Math.max(6, width),
        rowHeight: slot,
        labelRoom: grid.rowLabel,
        face: "small",
      }),
    );
    const tone = signOf(value, measure);
    return { id: row.id, x: x + grid.rowRight, y, width, value, tone };
  });
  return [own, ...apart];
}
