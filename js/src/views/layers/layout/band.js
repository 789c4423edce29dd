/** One head in an open layer: what it asks for, the memories that answer, and what it writes. */

import { probability } from "../../../words/figures.js";
import { edgeBetween, nodeValue } from "../../shared/graph.js";
import { ribbonWidth, signOf } from "../../shared/scales.js";
import { memoryWeight } from "./blockContent.js";
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
 * @property {(slot: number) => number} slotY
 */

const ROW = 14;
/** Slots that a head's own ribbon takes where rows of W_O stand under it. */
const OWN_LANE = 2;
export const WIDEST_WEIGHT = 11;

/** @param {HeadBand} band */
export function bandHeight({ query, memories, rest, rows }) {
  const answers = memories.length + (query || rest ? 1 : 0);
  return ROW * Math.max(2, answers, rows.length ? rows.length + OWN_LANE : 0);
}

/**
 * @param {HeadBand} band
 * @param {number} top
 * @param {BlockFrame} frame
 * @returns {{arrivals: Arrival[], outflows: Outflow[]}}
 */
export function placeBand(band, top, frame) {
  /** @type {BandPlace} */
  const place = { band, frame, slotY: (slot) => top + (slot + 0.5) * ROW };
  const headY = top + bandHeight(band) / 2;
  // Keys stand one slot lower than values: over them stands the query, under those the rest.
  const keySlot = band.query || band.rest ? 1 : 0;

  if (band.query) placeQuery(place, band.query);
  const arrivals = band.memories.map((memory, at) => placeKey(place, memory, at + keySlot, at));
  const inflows = band.memories.flatMap((memory, at) => placeValue(place, memory, at));
  if (band.rest) inflows.push(placeRest(place, band.rest));
  placeHead(place, inflows, headY);
  return { arrivals, outflows: placeHeadOutflow(place, top, headY) };
}

/**
 * @param {BandPlace} place
 * @param {Node} query
 */
function placeQuery({ frame: { x, grid, index, measure, nodes }, slotY }, query) {
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
      rowHeight: ROW,
      labelRoom: grid.keyLabel + WEIGHT_ROOM - 24,
      face: "small",
      number: "asks",
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
function placeKey({ band, frame, slotY }, memory, slot, valueSlot) {
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
      rowHeight: ROW,
      labelRoom: grid.keyLabel,
      face: "small",
      number: probability(weight),
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
    ribbons.push(
      ribbon({ source: key.id, target: value.id, kind: "weight", tone: "memory", path }),
    );
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
 * @param {Node} rest
 */
const placeRest = (place, rest) => placeInflow(place, rest, place.band.memories.length, 0);

/**
 * @param {BandPlace} place
 * @param {Node} node
 * @param {number} slot
 * @param {number} arriving Width of what arrives from its key.
 * @returns {Inflow}
 */
function placeInflow({ band, frame, slotY }, node, slot, arriving) {
  const { x, grid, index, measure, memoryScale, nodes } = frame;
  const part = edgeBetween(index, node.id, band.head.id)?.[measure] ?? null;
  const width = ribbonWidth(part, memoryScale, ROW - 3);
  const y = slotY(slot);
  const isRest = node.kind === "rest";
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
      rowHeight: ROW,
      labelRoom: grid.valueLabel,
      face: "small",
      number: grid.valueNumbers ? undefined : "",
      terse: isRest,
    }),
  );
  return { id: node.id, y, width, tone: isRest ? "rest" : signOf(part, measure) };
}

/**
 * @param {BandPlace} place
 * @param {Inflow[]} inflows
 * @param {number} y
 */
function placeHead({ band, frame }, inflows, y) {
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
      barHeight: Math.max(11, inWidth, ribbonWidth(value, scale)),
      rowHeight: Math.max(22, Math.min(inWidth + 4, bandHeight(band))),
      labelRoom: grid.headLabel,
      face: "strong",
      tag: `H${head.head}`,
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
function placeHeadOutflow({ band, frame }, top, headY) {
  const { x, grid, index, measure, scale, nodes, ribbons } = frame;
  const whole = `L${frame.layer}.attn`;
  const left = edgeBetween(index, band.head.id, whole)?.[measure] ?? null;
  const laneY = band.rows.length ? top + (OWN_LANE * ROW) / 2 : headY;
  const leftWidth = ribbonWidth(left, scale);
  const splits = band.rows.map(
    (row) => edgeBetween(index, band.head.id, row.id)?.[measure] ?? null,
  );
  const widths = [leftWidth, ...splits.map((value) => ribbonWidth(value, scale, ROW - 3))];
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
    const y = top + (at + OWN_LANE + 0.5) * ROW;
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
        rowHeight: ROW,
        labelRoom: grid.rowLabel,
        face: "small",
      }),
    );
    const tone = signOf(value, measure);
    return { id: row.id, x: x + grid.rowRight, y, width, value, tone };
  });
  return [own, ...apart];
}
