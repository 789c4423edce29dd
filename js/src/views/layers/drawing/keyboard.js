/**
 * One tab stop for the whole picture; arrows walk over layers, nodes and predicted tokens: in an open
 * layer along its ribbons, and up and down its columns.
 */

import { BESIDE_NAME } from "../layout/parts.js";

/** @typedef {import("../layout/scene.js").Scene} Scene */
/** @typedef {import("../../shared/shapes.js").Arrow} Arrow */
/** @typedef {import("../../../types.js").Edge} Edge */
/** @typedef {import("../../../types.js").Measure} Measure */
/** @typedef {{edges: Edge[], measure: Measure}} Flows */

/**
 * @typedef {object} Stop
 * @property {string} key
 * @property {number} x
 * @property {number} y
 * @property {number | null} layer
 */

/** @type {Record<Arrow, [number, number]>} */
const DIRECTIONS = {
  ArrowLeft: [-1, 0],
  ArrowRight: [1, 0],
  ArrowUp: [0, -1],
  ArrowDown: [0, 1],
};

/**
 * Everything that can have the focus, and where it is.
 * @param {Scene} scene
 * @returns {Stop[]}
 */
export function focusStops(scene) {
  const panelOf = new Map(scene.panels.map((panel) => [panel.layer, panel]));
  const layers = scene.areas.map(({ layer, x, width }) => {
    const panel = panelOf.get(layer);
    return panel
      ? { key: `layer:${layer}`, x: x + 40, y: panel.y + 16, layer }
      : { key: `layer:${layer}`, x: x + width / 2, y: 0, layer };
  });
  const closes = scene.panels.map(({ layer, x, y, width }) => {
    return { key: `close:${layer}`, x: x + width - 20, y: y + BESIDE_NAME, layer };
  });
  const nodes = scene.nodes.map(({ id, x, y, layer, box }) => {
    return { key: `node:${id}`, x: x + box.x + Math.min(box.width / 2, 20), y, layer };
  });
  const openCells = scene.cells
    .filter(({ layer }) => layer === null || panelOf.has(layer))
    .map(({ id, x, layer, width }) => ({ key: `node:${id}`, x: x + width / 2, y: 0, layer }));
  const tokens = scene.prediction.rows.map(({ id, x, y, height, width }) => {
    return { key: `token:${id}`, x: x + width / 2, y: y + height / 2, layer: null };
  });
  return [...layers, ...closes, ...nodes, ...openCells, ...tokens];
}

/**
 * @param {Scene} scene
 * @param {string} from
 * @param {Arrow} arrow
 * @param {Flows} flows
 * @returns {string | null}
 */
export function nextStop(scene, from, arrow, flows) {
  const stops = focusStops(scene);
  const start = stops.find(({ key }) => key === from);
  if (!start) return null;
  const [dx, dy] = DIRECTIONS[arrow];
  if (from.startsWith("layer:") || from.startsWith("close:")) {
    const beside = stepOverLayers(stops, start, dx);
    if (beside) return beside;
  } else if (scene.panels.some(({ layer }) => layer === start.layer)) {
    const along = dx ? alongRibbon(stops, from, dx, flows) : withinColumn(stops, start, dy);
    if (along) return along;
  }
  return nearest(stops, start, [dx, dy]);
}

/**
 * Layers are a row of their own, whether open or closed; the button that closes one is beside it.
 * @param {Stop[]} stops
 * @param {Stop} start
 * @param {number} step
 */
function stepOverLayers(stops, { key, layer }, step) {
  if (step === 0 || layer === null) return null;
  const isThere = (/** @type {string} */ wanted) => stops.some((stop) => stop.key === wanted);
  const closes = key.startsWith("close:");
  if (closes && step < 0) return `layer:${layer}`;
  if (!closes && step > 0 && isThere(`close:${layer}`)) return `close:${layer}`;
  const next = `layer:${layer + step}`;
  return isThere(next) ? next : null;
}

/** A stream's own way on is the last that is taken: what reads it, or joins it, goes before. */
const isAside = (/** @type {Edge} */ { kind }) => kind !== "residual";

/**
 * To the largest part of what flows in, or out.
 * @param {Stop[]} stops
 * @param {string} from
 * @param {number} step
 * @param {Flows} flows
 */
function alongRibbon(stops, from, step, { edges, measure }) {
  const ends = (/** @type {Edge} */ { source, target }) =>
    step < 0 ? { here: target, there: source } : { here: source, there: target };
  const reached = new Set(stops.map(({ key }) => key));
  // A score speaks for a memory only if it is large, not if it is far below 0.
  const size = (/** @type {Edge} */ edge) =>
    edge.kind === "score" ? (edge.value ?? 0) : Math.abs(edge[measure] ?? edge.value ?? 0);
  const [best] = edges
    .filter((edge) => `node:${ends(edge).here}` === from && reached.has(`node:${ends(edge).there}`))
    .sort((a, b) => Number(isAside(b)) - Number(isAside(a)) || size(b) - size(a));
  return best ? `node:${ends(best).there}` : null;
}

/**
 * The other nodes of an open layer that stand over or under this one.
 * @param {Stop[]} stops
 * @param {Stop} start
 */
const columnOf = (stops, start) =>
  stops
    .filter(({ key, x, layer }) => {
      return key.startsWith("node:") && layer === start.layer && Math.abs(x - start.x) < 6;
    })
    .sort((a, b) => a.y - b.y);

/**
 * @param {Stop[]} stops
 * @param {Stop} start
 * @param {number} step
 */
function withinColumn(stops, start, step) {
  const column = columnOf(stops, start);
  return column[column.indexOf(start) + step]?.key ?? null;
}

/**
 * The nearest stop in a direction; straying sideways costs more than going far.
 * @param {Stop[]} stops
 * @param {Stop} start
 * @param {[number, number]} direction
 */
function nearest(stops, start, [dx, dy]) {
  let best = null;
  let least = Number.POSITIVE_INFINITY;
  for (const stop of stops) {
    if (stop.key === start.key) continue;
    const ahead = (stop.x - start.x) * dx + (stop.y - start.y) * dy;
    if (ahead < 2) continue;
    const aside = Math.abs((stop.x - start.x) * dy) + Math.abs((stop.y - start.y) * dx);
    const elsewhere = stop.layer === start.layer ? 0 : 40;
    const cost = ahead + 2.5 * aside + elsewhere;
    if (cost < least) [best, least] = [stop.key, cost];
  }
  return best;
}

/**
 * The ends of the row of layers, of an open layer's column, or of the list of tokens.
 * @param {Scene} scene
 * @param {string} from
 * @returns {{first: string | null, last: string | null}}
 */
export function firstAndLast(scene, from) {
  const stops = focusStops(scene);
  const start = stops.find(({ key }) => key === from);
  const inside = start && scene.panels.some(({ layer }) => layer === start.layer);
  const row = from.startsWith("token:")
    ? stops.filter(({ key }) => key.startsWith("token:"))
    : from.startsWith("node:") && start && inside
      ? columnOf(stops, start)
      : stops.filter(({ key }) => key.startsWith("layer:"));
  return { first: row[0]?.key ?? null, last: row.at(-1)?.key ?? null };
}
