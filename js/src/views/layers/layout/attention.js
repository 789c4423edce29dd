/** The upper half of an open layer: from tokens through memories and heads into the river. */

import { tokenText } from "../../../words/words.js";
import { nodeValue } from "../../shared/graph.js";
import { ribbonWidth, signOf } from "../../shared/scales.js";
import { fitText } from "../../shared/text.js";
import { placeBand, WIDEST_WEIGHT } from "./band.js";
import { bandsHeight } from "./detail.js";
import { BAR } from "./grid.js";
import { BANK, ribbon } from "./parts.js";
import { levelLine, ribbonPath, stack, trunkPath } from "./ribbons.js";
import { rowNode } from "./rows.js";

/** @typedef {import("./blockContent.js").BlockContent} BlockContent */
/** @typedef {import("./band.js").Arrival} Arrival */
/** @typedef {import("./block.js").BlockFrame} BlockFrame */
/** @typedef {import("./block.js").Outflow} Outflow */

/**
 * @param {BlockContent} content
 * @param {import("./detail.js").Detail} detail
 */
export function attentionHeight({ parts, bands, attentionOthers }, detail) {
  if (!parts.attention && !parts.mix && bands.length === 0) return 0;
  const { other, upperRoom } = detail.density;
  return bandsHeight(bands, detail) + attentionOthers.length * other + upperRoom;
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
  const { density } = frame.detail;
  const top = -BANK - attentionHeight(content, frame.detail);
  /** @type {Arrival[]} */
  const arrivals = [];
  /** @type {Outflow[]} */
  const outflows = [];
  let y = top;
  for (const band of content.bands) {
    const placed = placeBand(band, y, frame);
    arrivals.push(...placed.arrivals);
    outflows.push(...placed.outflows);
    y += placed.height + density.gap;
  }
  const bandsBottom = y - density.gap;
  for (const node of content.attentionOthers) {
    outflows.push(placeOther(frame, node, y + density.other / 2));
    y += density.other;
  }
  placeReads(content, frame);
  return { outflows, sources: placeSources(arrivals, frame, top, bandsBottom), top };
}

/**
 * @param {BlockFrame} frame
 * @param {import("../../../types.js").Node} node
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
      rowHeight: frame.detail.density.other,
      labelRoom: grid.headLabel,
      face: "token",
      thereRoom: grid.there,
    }),
  );
  const tone = node.kind === "rest" ? "rest" : signOf(value, measure);
  return { id: node.id, x: x + grid.rowRight, fromX: x + grid.headRight, y, width, value, tone };
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
          tone: source < 0 ? "there" : "memory",
          path: ribbonPath(
            levelLine([barX + BAR.token, starts[order]], [x + grid.keyX, endY]),
            ribbonWidth(weight, scale),
            ribbonWidth(weight, WIDEST_WEIGHT, WIDEST_WEIGHT),
          ),
        }),
      );
    });
    const title = tokenText(index.graph, source);
    return {
      id: `L${frame.layer}.from.${source}`,
      position: source,
      x: barX,
      y: centre,
      height: Math.max(heights[at], 6),
      text: fitText(title, grid.tokenRight - 13, 11.5),
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
