/** The chart under the river: the target's rank by depth, on a log scale with 1 on top. */

import { count } from "../../../words/figures.js";
import { wordsOf } from "../../../words/lenses.js";
import { rankPlace } from "../../shared/scales.js";
import { fitText } from "../../shared/text.js";
import { smooth } from "./smooth.js";

/** @typedef {import("./parts.js").RankPoint} RankPoint */
/** @typedef {import("./columns.js").Columns} Columns */

/**
 * @typedef {object} RankChart
 * @property {number} y Top of the chart's group.
 * @property {number} left
 * @property {number} right
 * @property {number} axisY Where the layers' numbers stand.
 * @property {string} title
 * @property {string} line
 * @property {string[]} before The same of the pass as it is, where something is done to it.
 * @property {string[]} there The same of the other prompt.
 * @property {string} area
 * @property {{x: number, y: number, text: string} | null} end The last point.
 * @property {{y: number, text: string}[]} ticks
 * @property {{x: number, text: string, strong: boolean}[]} axis
 * @property {string} summary
 */

/**
 * @typedef {object} RankSize
 * @property {number} height Of the plot; 0 leaves only the layers' numbers.
 * @property {number} top Where the plot begins, under its title.
 * @property {number} room All that the chart takes.
 * @property {number} gap Above it.
 * @property {boolean} close
 */

/** @type {RankSize[]} From the one that says most to the one that takes least. */
export const RANK_SIZES = [
  { height: 72, top: 16, room: 134, gap: 20, close: false },
  { height: 30, top: 10, room: 66, gap: 12, close: true },
  { height: 0, top: -10, room: 16, gap: 4, close: true },
];

/**
 * @param {import("../../shared/graph.js").GraphIndex} index
 * @param {Columns} columns
 * @param {RankPoint[]} points
 * @param {number} y
 * @param {RankSize} size
 * @returns {RankChart}
 */
export function placeRank(index, columns, points, y, { height: tall, top }) {
  const { target, model, before, against } = index.graph;
  const left = columns.start.x;
  const right = columns.tail.x + columns.tail.width;
  const ranksIn = (/** @type {import("../../../types.js").Before | null | undefined} */ said) =>
    points.flatMap(({ x, id }) => {
      const rank = said?.streams[id]?.target_rank;
      return rank == null ? [] : { x, rank };
    });
  const [were, theirs] = [ranksIn(before), ranksIn(against)];
  const worst = Math.max(10, ...[...points, ...were, ...theirs].map(({ rank }) => rank));
  const last = Math.min(Math.max(10, model.n_vocab), 10 ** Math.ceil(Math.log10(worst)));
  const height = (/** @type {number} */ rank) => top + rankPlace(rank, last) * tall;
  const inOrder = (/** @type {{x: number, rank: number}[]} */ list) =>
    [...list].sort((a, b) => a.x - b.x);
  const through = (/** @type {{x: number, rank: number}[]} */ list) =>
    tall ? smooth(list.map(({ x, rank }) => ({ x, y: height(rank) }))) : "";
  const ordered = inOrder(points);
  const line = through(ordered);
  const final = ordered[ordered.length - 1];
  const title = final
    ? `rank of ${target.text}${wordsOf(index.graph, index.layers[0]?.post).ranked}${before ? "; dashed: as it was" : ""}${against ? "; dotted: in the other prompt" : ""}`
    : `${target.text} is no token, and has no rank`;
  return {
    y,
    left,
    right,
    axisY: top + tall + 16,
    title: tall ? fitText(title, right - left, 11, "sans") : "",
    line,
    before: tall && were.length > 0 ? [through(inOrder(were))] : [],
    there: tall && theirs.length > 0 ? [through(inOrder(theirs))] : [],
    area: line && `${line}V${top + tall}H${ordered[0].x}Z`,
    end: final && tall ? { x: final.x, y: height(final.rank), text: count(final.rank) } : null,
    ticks: (tall ? rankTicks(last, tall) : []).map((rank) => ({
      y: height(rank),
      text: count(rank),
    })),
    axis: axisTicks(columns),
    summary: final
      ? `Rank of ${target.text} by depth: ${count(ordered[0].rank)} at the start, ${count(final.rank)} after the last${before?.target.rank ? `, where it was ${count(before.target.rank)}` : ""}${against?.target.rank ? `; ${count(against.target.rank)} in the other prompt` : ""}`
      : "No ranks",
  };
}

/**
 * @param {number} last
 * @param {number} tall
 */
function rankTicks(last, tall) {
  const decades = Math.floor(Math.log10(last) + 1e-9);
  const step = tall < 50 ? Math.max(1, decades) : decades > 3 ? 2 : 1;
  const ticks = [];
  for (let power = 0; power <= decades; power += step) ticks.push(10 ** power);
  return ticks;
}

const TICK_ROOM = 30;

/** @param {Columns} columns */
function axisTicks({ columns }) {
  const centre = (/** @type {import("./columns.js").Column} */ { x, width }) => x + width / 2;
  const open = columns.filter((column) => column.open);
  const narrow = Math.min(...columns.map(({ width }) => width));
  const step = [1, 2, 5, 10, 20, 50].find((size) => size * narrow >= TICK_ROOM - 4) ?? 100;
  const last = columns[columns.length - 1];
  /** @type {{x: number, text: string, strong: boolean}[]} */
  const ticks = [];
  const candidates = [
    ...open,
    ...(last ? [last] : []),
    ...columns.filter(({ layer }) => layer % step === 0),
  ];
  for (const column of candidates) {
    const x = centre(column);
    if (ticks.some((tick) => Math.abs(tick.x - x) < TICK_ROOM - 8)) continue;
    ticks.push({ x, text: String(column.layer), strong: column.open });
  }
  return ticks.sort((a, b) => a.x - b.x);
}
