/** Words in the routes view: what the streams would say, and what the strongest ribbons carry. */

import { fitLabel, textWidth } from "../../shared/text.js";
import { labelled, ROOMY } from "./lanes.js";

/** @typedef {import("./model.js").RoutesModel} RoutesModel */
/** @typedef {import("./model.js").Stream} Stream */
/** @typedef {import("./grid.js").RouteColumns} RouteColumns */
/** @typedef {import("./grid.js").RouteLevels} RouteLevels */
/** @typedef {import("./flow.js").RouteRibbon | import("./only.js").RouteOutline} RouteRibbon */
/** @typedef {import("../../shared/shapes.js").Box} Box */

/**
 * @typedef {object} RouteLabel
 * @property {string} key
 * @property {string} of The node or ribbon that it belongs to.
 * @property {number} x
 * @property {number} y Of the baseline.
 * @property {"start" | "middle"} anchor
 * @property {string} tag What stands before the token: a head.
 * @property {string} text
 * @property {number} [piece] How much of the text is the label: the rest is of the word that it begins.
 * @property {"stream" | "ribbon" | "inside"} face
 * @property {boolean} [only] Whether the other prompt alone has it.
 * @property {boolean} isTarget
 * @property {Box} box What it covers, upright.
 */

const STREAM_SIZE = 11;
const RIBBON_SIZE = 11;
const GAP = 7;
const ASCENT = 9;
const LINE = 13;
/** A lone comma beside a river would look like a speck. */
const READABLE = /^(?!\\[ux]).*[\p{L}\p{N}]/su;
const LEAST_ROOM = 30;
const TURN = 14;
const MOST_STREAM_LABELS = 48;

/**
 * @param {RoutesModel} model
 * @param {RouteColumns} columns
 * @param {RouteLevels} levels
 * @param {RouteRibbon[]} ribbons
 * @param {{target: string, taken: Box[]}} words
 * @returns {RouteLabel[]}
 */
export function placeRouteLabels(model, columns, levels, ribbons, { target, taken }) {
  const placed = [...taken];
  const free = (/** @type {Box} */ box) => placed.every((other) => !overlaps(box, other));
  const banks = columns.columns
    .filter(({ river }) => river >= 5)
    .map(({ x, river }) => ({ from: x - river / 2 - 2, to: x + river / 2 + 2 }));
  /** @type {RouteLabel[]} */
  const labels = [];
  const take = (/** @type {RouteLabel | undefined} */ label) => {
    if (!label) return;
    placed.push(label.box);
    labels.push(label);
  };
  const words = labelled(model);
  const strongest = ribbons.filter(({ key }) => words.has(key)).sort((a, b) => b.width - a.width);
  for (const ribbon of strongest) {
    take(
      ribbonSpots(ribbon, target).find(
        ({ box }) =>
          free(box) && banks.every(({ from, to }) => box.x + box.width < from || box.x > to),
      ),
    );
  }
  for (const run of labelRuns(model).slice(0, MOST_STREAM_LABELS)) {
    const spots = streamSpots(run, columns, levels, target)
      .filter(({ box }) => free(box))
      .map((label) => ({ label, cover: coverOf(label.box, ribbons) }));
    const best = spots.sort((a, b) => a.cover - b.cover)[0];
    if (best && best.cover < 16) take(best.label);
  }
  return labels;
}

/**
 * @param {RouteRibbon} ribbon
 * @param {string} target
 * @returns {RouteLabel[]}
 */
function ribbonSpots(ribbon, target) {
  const { passage, start, end, lane, width, key } = ribbon;
  const [first] = passage.carriers;
  if (!first || first.node.label === null) return [];
  const others = passage.carriers.length - 1;
  const tag = others > 0 ? `H${first.node.head} +${others}` : `H${first.node.head}`;
  const room = Math.abs(end.x - start.x) - 2 * TURN;
  const most = Math.min(96, room - textWidth(`${tag} `, RIBBON_SIZE));
  const readable = READABLE.test(first.node.label);
  const word = readable ? fitLabel(first.node, most, RIBBON_SIZE) : { text: "" };
  const { text } = word;
  if ((readable && text === "") || room < 24) return [];
  const wide = textWidth(`${tag} ${text}`.trim(), RIBBON_SIZE) + 4;
  const y = width >= ROOMY ? lane + 3.8 : lane - width / 2 - 3.5;
  const reach = Math.max(0, (room - wide) / 2);
  const middle = (start.x + end.x) / 2;
  return [0, 0.3, -0.3, 0.6, -0.6, 0.85, -0.85, 1, -1].map((part) => {
    const x = middle + part * reach;
    return {
      key: `ribbon ${key}`,
      of: key,
      x,
      y,
      anchor: /** @type {const} */ ("middle"),
      tag,
      ...word,
      face: width >= ROOMY ? /** @type {const} */ ("inside") : "ribbon",
      only: "only" in ribbon,
      isTarget: first.node.label === target,
      box: { x: x - wide / 2, y: y - ASCENT, width: wide, height: LINE - 2 },
    };
  });
}

/**
 * @typedef {object} Run Neighbouring streams of a column that say the same.
 * @property {string} text
 * @property {Stream[]} streams
 * @property {number} weight
 */

/**
 * @param {RoutesModel} model
 * @returns {Run[]} Those that matter most first.
 */
function labelRuns({ columns, routes, largest }) {
  /** @type {Run[]} */
  const runs = [];
  for (const [position, streams] of columns) {
    const first = runs.length;
    for (const stream of streams) {
      const { label } = stream.node;
      if (stream.level === 0 || stream.level % 2 === 1 || !label || !READABLE.test(label)) continue;
      const weight = Math.abs(stream.influence) * (position === routes.position ? 3 : 1);
      const run = runs.length > first ? runs[runs.length - 1] : undefined;
      if (run?.text === label) {
        run.streams.push(stream);
        run.weight += weight;
      } else runs.push({ text: label, streams: [stream], weight });
    }
  }
  return runs.filter(({ weight }) => weight > 0.06 * largest).sort((a, b) => b.weight - a.weight);
}

/**
 * Beside the river, at any height where it says so.
 * @param {Run} run
 * @param {RouteColumns} columns
 * @param {RouteLevels} levels
 * @param {string} target
 * @returns {RouteLabel[]}
 */
function streamSpots({ text: whole, streams }, columns, levels, target) {
  const { position } = streams[0];
  const column = columns.at.get(position);
  if (!column) return [];
  const next = columns.columns.find(({ x }) => x > column.x);
  const edge = next ? next.x - next.river / 2 - 6 : columns.width - 6;
  const middle = (streams.length - 1) / 2;
  const byMiddle = [...streams].sort(
    (a, b) => Math.abs(streams.indexOf(a) - middle) - Math.abs(streams.indexOf(b) - middle),
  );
  return byMiddle.flatMap((stream) => {
    const half = (Math.abs(stream.influence) * columns.scale) / 2;
    const x = column.x + Math.max(half, 2) + GAP;
    const word = edge - x < LEAST_ROOM ? null : fitLabel(stream.node, edge - x, STREAM_SIZE);
    if (!word?.text) return [];
    const y = levels.y(stream.level) + 4;
    const width = textWidth(word.text, STREAM_SIZE);
    return [
      {
        key: `stream ${streams[0].id}`,
        of: stream.id,
        x,
        y,
        anchor: /** @type {const} */ ("start"),
        tag: "",
        ...word,
        face: /** @type {const} */ ("stream"),
        isTarget: whole === target,
        box: { x: x - 2, y: y - ASCENT - 1, width: width + 6, height: LINE + 2 },
      },
    ];
  });
}

/**
 * @param {Box} a
 * @param {Box} b
 */
export const overlaps = (a, b) =>
  a.x < b.x + b.width && b.x < a.x + a.width && a.y < b.y + b.height && b.y < a.y + a.height;

/**
 * How much a label would lie on ribbons, roughly.
 * @param {Box} box
 * @param {RouteRibbon[]} ribbons
 */
function coverOf(box, ribbons) {
  let cover = 0;
  for (const { start, end, lane, width } of ribbons) {
    if (box.x > end.x || box.x + box.width < start.x) continue;
    const apart = Math.abs(lane - (box.y + box.height / 2)) - width / 2 - box.height / 2;
    if (apart < 0) cover += Math.min(-apart, width + 1);
  }
  return cover;
}
