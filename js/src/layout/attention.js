/** The upper half of an open layer: from tokens through memories and heads into the river. */

import { memoryWeight } from "./blockContent.js";
import { edgeBetween, nodeValue } from "./graph.js";
import { BAR, WEIGHT_ROOM } from "./grid.js";
import { BANK, ribbon } from "./parts.js";
import { levelLine, ribbonPath, stack, trunkPath } from "./ribbons.js";
import { rowNode } from "./rows.js";
import { probability, ribbonWidth, signOf } from "./scales.js";
import { fitText } from "./text.js";

/** @typedef {import("./blockContent.js").BlockContent} BlockContent */
/** @typedef {import("./blockContent.js").HeadBand} HeadBand */
/** @typedef {import("./block.js").BlockFrame} BlockFrame */
/** @typedef {import("./block.js").Outflow} Outflow */
/** @typedef {import("./parts.js").SceneText} SceneText */

const MEMORY_ROW = 14;
const BAND_GAP = 9;
/** Slots that a head's own ribbon takes where rows of W_O stand under it. */
const OWN_LANE = 2;
const OTHER_ROW = 18;
const WIDEST_WEIGHT = 11;
/** Room between the lowest row and the river, where the whole stands. */
export const WHOLE_ROOM = 74;

/** @param {HeadBand} band */
const bandSlots = ({ query, memories, rest, rows }) =>
  Math.max(2, memories.length + (query || rest ? 1 : 0), rows.length ? rows.length + OWN_LANE : 0);

/** @param {BlockContent} content */
export function attentionHeight({ bands, attentionOthers }) {
  const slots = bands.reduce((sum, band) => sum + bandSlots(band) * MEMORY_ROW + BAND_GAP, 0);
  return slots + attentionOthers.length * OTHER_ROW + WHOLE_ROOM;
}

/**
 * @typedef {object} SourceChip A prompt token that memories were left by.
 * @property {string} id
 * @property {number} position
 * @property {number} x
 * @property {number} y
 * @property {number} height
 * @property {string} text
 * @property {string} title
 */

/**
 * @param {BlockContent} content
 * @param {BlockFrame} frame
 * @returns {{outflows: Outflow[], sources: SourceChip[], top: number}}
 */
export function placeAttention(content, frame) {
  const top = -BANK - attentionHeight(content);
  /** @type {Arrival[]} */
  const arrivals = [];
  /** @type {Outflow[]} */
  const outflows = [];
  let y = top;
  for (const band of content.bands) {
    placeBand(band, y, frame, arrivals, outflows);
    y += bandSlots(band) * MEMORY_ROW + BAND_GAP;
  }
  const bandsBottom = y - BAND_GAP;
  for (const node of content.attentionOthers) {
    outflows.push(placeOther(frame, node, y + OTHER_ROW / 2));
    y += OTHER_ROW;
  }
  placeReads(content, frame);
  return { outflows, sources: placeSources(arrivals, frame, top, bandsBottom), top };
}

/**
 * @param {BlockFrame} frame
 * @param {import("../types.js").Node} node
 * @param {number} y
 * @returns {Outflow}
 */
function placeOther(frame, node, y) {
  const { x, grid, index, measure, scale, nodes } = frame;
  const value = nodeValue(index, node, measure);
  const width = ribbonWidth(value, scale);
  nodes.push(
    rowNode({
      index,
      measure,
      node,
      value,
      x: x + grid.headX,
      right: x + grid.headRight,
      y,
      barWidth: BAR.head,
      barHeight: Math.max(8, width),
      rowHeight: OTHER_ROW,
      labelRoom: grid.headLabel,
      face: "token",
    }),
  );
  const tone = node.kind === "rest" ? "rest" : signOf(value, measure);
  return { id: node.id, x: x + grid.rowRight, fromX: x + grid.headRight, y, width, value, tone };
}

/**
 * @typedef {object} Arrival A memory's end of a ribbon from its source token.
 * @property {number} source
 * @property {string} id
 * @property {number} y
 * @property {number} weight
 */

/**
 * @param {HeadBand} band
 * @param {number} top
 * @param {BlockFrame} frame
 * @param {Arrival[]} arrivals
 * @param {Outflow[]} outflows
 */
function placeBand(band, top, frame, arrivals, outflows) {
  const { x, grid, index, measure, scale, memoryScale, nodes, ribbons } = frame;
  const slotY = (/** @type {number} */ slot) => top + (slot + 0.5) * MEMORY_ROW;
  const hasTopRow = band.query !== null || band.rest !== null;
  const headY = top + (bandSlots(band) * MEMORY_ROW) / 2;

  if (band.query) {
    nodes.push(
      rowNode({
        index,
        measure,
        node: band.query,
        value: null,
        x: x + grid.keyX,
        right: x + grid.keyRight,
        y: slotY(0),
        barWidth: BAR.memory,
        barHeight: 7,
        rowHeight: MEMORY_ROW,
        labelRoom: grid.keyLabel + WEIGHT_ROOM - 24,
        face: "small",
        number: "asks",
        tone: "query",
      }),
    );
  }

  /** @type {{id: string, y: number, width: number, value: number | null, rest: boolean}[]} */
  const inflows = [];
  band.memories.forEach((memory, at) => {
    const keyY = slotY(at + (hasTopRow ? 1 : 0));
    const valueY = slotY(at);
    const weight = memoryWeight(memory);
    const weightWidth = ribbonWidth(weight, WIDEST_WEIGHT, WIDEST_WEIGHT);
    const { key, value } = memory;
    if (key) {
      arrivals.push({ source: memory.source, id: key.id, y: keyY, weight });
      nodes.push(
        rowNode({
          index,
          measure,
          node: key,
          value: null,
          x: x + grid.keyX,
          right: x + grid.keyRight,
          y: keyY,
          barWidth: BAR.memory,
          barHeight: Math.max(6, weightWidth),
          rowHeight: MEMORY_ROW,
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
            path: `M${x + grid.keyX + 2},${slotY(0) + 3.5}V${keyY}`,
            line: true,
          }),
        );
      }
    } else if (value) {
      arrivals.push({ source: memory.source, id: value.id, y: valueY, weight });
    }
    if (!value) return;
    if (key) {
      ribbons.push(
        ribbon({
          source: key.id,
          target: value.id,
          kind: "weight",
          tone: "memory",
          path: ribbonPath(
            levelLine([x + grid.keyRight, keyY], [x + grid.valueX, valueY]),
            weightWidth,
          ),
        }),
      );
    }
    const part = edgeBetween(index, value.id, band.head.id)?.[measure] ?? null;
    const width = ribbonWidth(part, memoryScale, MEMORY_ROW - 3);
    inflows.push({ id: value.id, y: valueY, width, value: part, rest: false });
    nodes.push(
      rowNode({
        index,
        measure,
        node: value,
        value: part,
        x: x + grid.valueX,
        right: x + grid.valueRight,
        y: valueY,
        barWidth: BAR.memory,
        barHeight: Math.max(6, width, weightWidth),
        rowHeight: MEMORY_ROW,
        labelRoom: grid.valueLabel,
        face: "small",
        number: grid.valueNumbers ? undefined : "",
      }),
    );
  });

  if (band.rest) {
    const part = edgeBetween(index, band.rest.id, band.head.id)?.[measure] ?? null;
    const y = slotY(band.memories.length);
    const width = ribbonWidth(part, memoryScale, MEMORY_ROW - 3);
    inflows.push({ id: band.rest.id, y, width, value: part, rest: true });
    nodes.push(
      rowNode({
        index,
        measure,
        node: band.rest,
        value: part,
        x: x + grid.valueX,
        right: x + grid.valueRight,
        y,
        barWidth: BAR.memory,
        barHeight: 6,
        rowHeight: MEMORY_ROW,
        labelRoom: grid.valueLabel,
        face: "small",
        number: grid.valueNumbers ? undefined : "",
        terse: true,
      }),
    );
  }

  const ends = stack(
    inflows.map(({ width }) => width),
    headY,
  );
  inflows.forEach((inflow, at) => {
    ribbons.push(
      ribbon({
        source: inflow.id,
        target: band.head.id,
        kind: "part",
        tone: inflow.rest ? "rest" : signOf(inflow.value, measure),
        path: ribbonPath(
          levelLine([x + grid.valueRight, inflow.y], [x + grid.headX, ends[at]]),
          inflow.width,
        ),
      }),
    );
  });

  const total = nodeValue(index, band.head, measure);
  const inWidth = inflows.reduce((sum, { width }) => sum + width, 0);
  nodes.push(
    rowNode({
      index,
      measure,
      node: band.head,
      value: total,
      x: x + grid.headX,
      right: x + grid.headRight,
      y: headY,
      barWidth: BAR.head,
      barHeight: Math.max(11, inWidth, ribbonWidth(total, scale)),
      rowHeight: Math.max(22, Math.min(inWidth + 4, bandSlots(band) * MEMORY_ROW)),
      labelRoom: grid.headLabel,
      face: "strong",
      tag: `H${band.head.head}`,
    }),
  );
  placeHeadOutflow(band, top, headY, frame, outflows);
}

/**
 * A head flows straight into the whole, but for the rows of W_O that are shown apart.
 * @param {HeadBand} band
 * @param {number} top
 * @param {number} headY
 * @param {BlockFrame} frame
 * @param {Outflow[]} outflows
 */
function placeHeadOutflow(band, top, headY, frame, outflows) {
  const { x, grid, index, measure, scale, nodes, ribbons } = frame;
  const whole = `L${frame.layer}.attn`;
  const left = edgeBetween(index, band.head.id, whole)?.[measure] ?? null;
  const laneY = band.rows.length ? top + (OWN_LANE * MEMORY_ROW) / 2 : headY;
  const leftWidth = ribbonWidth(left, scale);
  const splits = band.rows.map(
    (row) => edgeBetween(index, band.head.id, row.id)?.[measure] ?? null,
  );
  const widths = [leftWidth, ...splits.map((value) => ribbonWidth(value, scale, MEMORY_ROW - 3))];
  const starts = stack(widths, headY);
  const rowX = grid.rowX;
  outflows.push({
    id: band.head.id,
    x: x + grid.rowRight,
    fromX: x + grid.headRight,
    fromY: starts[0],
    y: laneY,
    width: leftWidth,
    value: left,
    tone: signOf(left, measure),
  });
  if (rowX === null) return;
  band.rows.forEach((row, at) => {
    const y = top + (at + OWN_LANE + 0.5) * MEMORY_ROW;
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
        rowHeight: MEMORY_ROW,
        labelRoom: grid.rowLabel,
        face: "small",
      }),
    );
    const tone = signOf(value, measure);
    outflows.push({ id: row.id, x: x + grid.rowRight, y, width, value, tone });
  });
}

/**
 * @param {Arrival[]} arrivals
 * @param {BlockFrame} frame
 * @param {number} top
 * @param {number} bottom
 * @returns {SourceChip[]}
 */
function placeSources(arrivals, frame, top, bottom) {
  const { x, grid, index, ribbons } = frame;
  const sources = [...new Set(arrivals.map(({ source }) => source))].sort((a, b) => a - b);
  const of = (/** @type {number} */ source) => arrivals.filter((a) => a.source === source);
  const total = arrivals.reduce((sum, { weight }) => sum + weight, 0);
  const scale = Math.min(WIDEST_WEIGHT, (0.55 * (bottom - top)) / Math.max(total, 1e-9));
  const heights = sources.map((source) =>
    of(source).reduce((sum, { weight }) => sum + ribbonWidth(weight, scale), 0),
  );
  const used = heights.reduce((sum, height) => sum + Math.max(height, 13), 0);
  const gap = Math.max(1, (bottom - top - used) / Math.max(1, sources.length));
  let y = top + gap / 2;
  return sources.map((source, at) => {
    const height = Math.max(heights[at], 13);
    const centre = y + height / 2;
    y += height + gap;
    const mine = of(source);
    const starts = stack(
      mine.map(({ weight }) => ribbonWidth(weight, scale)),
      centre,
    );
    const barX = x + grid.tokenRight;
    mine.forEach(({ id, y: endY, weight }, order) => {
      ribbons.push(
        ribbon({
          source: `from.${source}`,
          target: id,
          kind: "memory",
          tone: "memory",
          path: ribbonPath(
            levelLine([barX + BAR.token, starts[order]], [x + grid.keyX, endY]),
            ribbonWidth(weight, scale),
            ribbonWidth(weight, WIDEST_WEIGHT, WIDEST_WEIGHT),
          ),
        }),
      );
    });
    const title = index.graph.tokens[source]?.text ?? `#${source}`;
    return {
      id: `L${frame.layer}.from.${source}`,
      position: source,
      x: barX,
      y: centre,
      height: Math.max(heights[at], 6),
      text: fitText(title, grid.tokenRight - 18, 11.5),
      title,
    };
  });
}

/**
 * @param {BlockContent} content
 * @param {BlockFrame} frame
 */
function placeReads({ ln1, bands }, { x, grid, ribbons, nodes }) {
  if (!ln1) return;
  const trunkX = x + grid.keyX - 9;
  for (const { query } of bands) {
    const node = query && nodes.find(({ id }) => id === query.id);
    if (!node) continue;
    ribbons.push(
      ribbon({
        source: ln1.id,
        target: node.id,
        kind: "read",
        tone: "neutral",
        path: trunkPath([trunkX, -BANK], [node.x - 1, node.y], trunkX),
        line: true,
      }),
    );
  }
}
