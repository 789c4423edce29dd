/** One tab stop for the whole picture; arrows walk over layers, nodes and predicted tokens. */

/** @typedef {import("../layout/scene.js").Scene} Scene */
/** @typedef {import("../../shared/shapes.js").Arrow} Arrow */

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
    return { key: `close:${layer}`, x: x + width - 20, y: y + 18, layer };
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
 * @param {Stop[]} stops
 * @param {string} from
 * @param {Arrow} arrow
 * @returns {string | null}
 */
export function nextStop(stops, from, arrow) {
  const start = stops.find(({ key }) => key === from);
  if (!start) return null;
  return stepOverLayers(stops, start, arrow) ?? nearest(stops, start, DIRECTIONS[arrow]);
}

/**
 * Layers are a row of their own, whether open or closed.
 * @param {Stop[]} stops
 * @param {Stop} start
 * @param {Arrow} arrow
 */
function stepOverLayers(stops, start, arrow) {
  if (!start.key.startsWith("layer:") || start.layer === null) return null;
  const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: 0, ArrowDown: 0 }[arrow];
  if (step === 0) return null;
  const key = `layer:${start.layer + step}`;
  return stops.some((stop) => stop.key === key) ? key : null;
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

/** @param {Stop[]} stops */
export function firstAndLast(stops) {
  const layers = stops.filter(({ key }) => key.startsWith("layer:"));
  return { first: layers[0]?.key ?? null, last: layers[layers.length - 1]?.key ?? null };
}
