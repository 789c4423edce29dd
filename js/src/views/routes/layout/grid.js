/** Where the columns and the layers of the routes view stand. */

import { fitText, textWidth } from "../../shared/text.js";

/** @typedef {import("./model.js").RoutesModel} RoutesModel */
/** @typedef {import("../../../types.js").PromptToken} PromptToken */
/** @typedef {import("./lanes.js").Lanes} Lanes */

/**
 * @typedef {object} RouteColumn
 * @property {number} position
 * @property {number} x Of its middle.
 * @property {number} width
 * @property {number} river The most that its river is wide.
 * @property {string} text
 *
 * @typedef {object} Fold A run of positions that nothing passes through.
 * @property {number} from
 * @property {number} to
 * @property {number} x
 * @property {number} width
 *
 * @typedef {object} RouteColumns
 * @property {RouteColumn[]} columns
 * @property {Map<number, RouteColumn>} at
 * @property {Fold[]} folds
 * @property {number} width
 * @property {boolean} slanted Whether tokens are written at a slant for want of room.
 * @property {number} scale Pixels per unit of influence.
 */

export const LEFT = 44;
const RIGHT = 22;
const TOKEN_SIZE = 12;
const LONGEST_TOKEN = 96;
const SLANTED_PITCH = 27;
const FOLD = 46;
const SLANTED_FOLD = 30;
const WIDEST_STEP = 176;

/**
 * @param {RoutesModel} model
 * @param {PromptToken[]} tokens
 * @param {number} width
 * @returns {RouteColumns}
 */
export function placeColumns(model, tokens, width) {
  const ends = model.only.flatMap(({ from, to }) => [from.position, to.position]);
  const live = [...new Set([...model.columns.keys(), ...ends])].sort((a, b) => a - b);
  const scale = widest(live.length, width) / model.largest;
  const level = measureColumns(model, tokens, live, scale, false);
  const labelRoom = Math.min(118, Math.max(76, width * 0.09));
  const room = width - LEFT - RIGHT - labelRoom;
  const slanted = spanOf(level) > room;
  const wanted = slanted ? measureColumns(model, tokens, live, scale, true) : level;
  const spare = Math.max(0, room - spanOf(wanted));
  const stretch = Math.min(spare / Math.max(1, wanted.length - 0.4), WIDEST_STEP);
  let edge = LEFT + Math.max(0, (spare - stretch * (wanted.length - 0.4)) / 2);
  /** @type {RouteColumn[]} */
  const columns = [];
  /** @type {Fold[]} */
  const folds = [];
  for (const { position, width: own, river, text, fold } of wanted) {
    const step = stretch * (columns.length === 0 ? 0.6 : 1);
    if (fold) {
      const before = columns.length === 0 ? 0 : step / 2;
      folds.push({ ...fold, x: edge + before + fold.width / 2, width: fold.width });
      edge += fold.width;
    }
    edge += step + own / 2;
    columns.push({ position, x: edge, width: own, river, text });
    edge += own / 2;
  }
  // What fits to a hair must not scroll.
  const total = Math.max(width, Math.ceil(edge + labelRoom + RIGHT - 0.01));
  return {
    columns,
    at: new Map(columns.map((column) => [column.position, column])),
    folds,
    width: total,
    slanted,
    scale,
  };
}

/**
 * How wide the widest river may be.
 * @param {number} columns
 * @param {number} width
 */
function widest(columns, width) {
  const most = columns <= 10 ? 50 : columns <= 20 ? 42 : 34;
  return Math.max(22, Math.min(most, width / 16));
}

/**
 * @param {RoutesModel} model
 * @param {PromptToken[]} tokens
 * @param {number[]} live
 * @param {number} scale
 * @param {boolean} slanted
 */
function measureColumns(model, tokens, live, scale, slanted) {
  return live.map((position, index) => {
    const before = index === 0 ? -1 : live[index - 1];
    const skipped = position - before - 1;
    const text = fitText(tokens[position]?.text ?? "", LONGEST_TOKEN, TOKEN_SIZE);
    const river = Math.max(
      2,
      ...(model.columns.get(position) ?? []).map(({ influence }) => Math.abs(influence) * scale),
    );
    const words = slanted ? SLANTED_PITCH : textWidth(text, TOKEN_SIZE) + 14;
    const folded = slanted ? SLANTED_FOLD : FOLD;
    return {
      position,
      text,
      river,
      width: Math.max(words, river + (slanted ? 8 : 16)),
      fold: skipped > 0 ? { from: before + 1, to: position - 1, width: folded } : null,
    };
  });
}

/** @param {{width: number, fold: {width: number} | null}[]} columns */
const spanOf = (columns) =>
  columns.reduce((sum, { width, fold }) => sum + width + (fold?.width ?? 0), 0);

/**
 * @typedef {object} RouteLevels
 * @property {(level: number) => number} y
 * @property {number} top Of the last stream.
 * @property {number} bottom Of the embeddings.
 * @property {{layer: number, y: number}[]} layers Where each layer ends.
 */

const PLAIN = 3.4;
const MARKED = 10;
const LEAST_HEIGHT = 400;
/** Many layers of many ribbons move together, but only so far. */
const MOST_HEIGHT = 900;
const TIGHTEST = 0.55;

/**
 * Layers take the room that what happens in them needs.
 * @param {RoutesModel} model
 * @param {Map<number, Lanes>} lanes
 * @param {number} top
 * @returns {RouteLevels}
 */
export function placeLevels(model, lanes, top) {
  const heights = levelHeights(model, lanes);
  const sum = heights.reduce((total, height) => total + height, 0);
  const grow = Math.min(2.6, Math.max(1, LEAST_HEIGHT / Math.max(1, sum)));
  const bottom = top + sum * grow;
  /** @type {number[]} */
  const ys = [bottom];
  for (const height of heights) ys.push(ys[ys.length - 1] - height * grow);
  return {
    y: (level) => ys[Math.max(0, Math.min(ys.length - 1, level))],
    top,
    bottom,
    layers: Array.from({ length: model.layers }, (_, layer) => ({ layer, y: ys[2 * layer + 2] })),
  };
}

/**
 * The heights between one level and the next.
 * @param {RoutesModel} model
 * @param {Map<number, Lanes>} lanes
 */
function levelHeights(model, lanes) {
  const heights = Array.from({ length: 2 * model.layers }, () => PLAIN);
  for (const { to, kind } of model.marks) {
    const step = to.level - 1;
    heights[step] = Math.max(heights[step], kind === "value" ? 7 : MARKED);
  }
  const bands = [...lanes.values()].reduce((sum, { height }) => sum + height, 0);
  const others = heights.reduce((sum, height, step) => sum + (lanes.has(step) ? 0 : height), 0);
  const squeeze = Math.max(TIGHTEST, Math.min(1, (MOST_HEIGHT - others) / Math.max(1, bands)));
  for (const [step, { height, words }] of lanes) {
    heights[step] = Math.max(heights[step] ?? 0, words ? height : height * squeeze);
  }
  return heights;
}
