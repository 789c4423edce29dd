/** One tab stop for all routes: up and down a river, and over the ribbons to the rivers beside. */

/** @typedef {import("../layout/scene.js").RoutesScene} RoutesScene */
/** @typedef {import("../../shared/shapes.js").Arrow} Arrow */

/**
 * @typedef {object} RiverStop
 * @property {string} key `node:…`
 * @property {string} id
 * @property {number} position
 * @property {number} y
 */

/** @param {RoutesScene} scene */
function riverStops({ stops, marks, tokens, prediction, model }) {
  const node = (/** @type {{id: string, position: number, y: number}} */ { id, position, y }) => {
    return { key: `node:${id}`, id, position, y };
  };
  const crown = node({ ...prediction, position: model.routes.position });
  return [...stops.map(node), ...marks.map(node), ...tokens.map(node), crown];
}

/**
 * @param {RoutesScene} scene
 * @param {string} from
 * @param {Arrow} arrow
 * @returns {string | null}
 */
export function nextRouteStop(scene, from, arrow) {
  if (from.startsWith("ribbon:")) return fromRibbon(scene, from.slice(7), arrow);
  const all = riverStops(scene);
  const here = all.find(({ key }) => key === from);
  if (!here) return null;
  if (arrow === "ArrowUp" || arrow === "ArrowDown") {
    const side = arrow === "ArrowUp" ? -1 : 1;
    const ahead = all.filter(
      ({ key, position, y }) =>
        key !== from && position === here.position && (y - here.y) * side > 0,
    );
    return ahead.sort((a, b) => (a.y - b.y) * side)[0]?.key ?? null;
  }
  const end = arrow === "ArrowLeft" ? "target" : "source";
  const [strongest] = scene.ribbons
    .filter((ribbon) => ribbon[end] === here.id)
    .sort((a, b) => b.width - a.width);
  if (strongest) return `ribbon:${strongest.key}`;
  const side = arrow === "ArrowLeft" ? -1 : 1;
  const beside = all.filter(({ position }) => (position - here.position) * side > 0);
  const near = Math.min(...beside.map(({ position }) => position * side));
  return (
    beside
      .filter(({ position }) => position * side === near)
      .sort((a, b) => Math.abs(a.y - here.y) - Math.abs(b.y - here.y))[0]?.key ?? null
  );
}

/**
 * @param {RoutesScene} scene
 * @param {string} key
 * @param {Arrow} arrow
 */
function fromRibbon({ ribbons, outlines }, key, arrow) {
  const all = [...ribbons, ...outlines];
  const here = all.find((ribbon) => ribbon.key === key);
  if (!here) return null;
  if (arrow === "ArrowLeft") return `node:${here.source}`;
  if (arrow === "ArrowRight") return `node:${here.target}`;
  const at = all.indexOf(here);
  const other = all[at + (arrow === "ArrowUp" ? 1 : -1)];
  return other ? `ribbon:${other.key}` : null;
}
