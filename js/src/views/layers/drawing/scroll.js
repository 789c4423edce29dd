/** Keeps the layer that the reader is at in sight when the picture is wider than its room. */

/** @typedef {import("../layout/scene.js").Scene} Scene */

const MARGIN = 24;

/**
 * Which open layer must be brought into sight: one that is new, else, where the room has shrunk (a
 * panel opened beside it), the one that the reader is at.
 * @param {Scene | null} before
 * @param {Scene} after
 * @param {{room: number, roomBefore: number, at: number | null}} how `at`: the layer selected in.
 */
export function layerToReveal(before, after, { room, roomBefore, at }) {
  if (after.width <= room) return null;
  const known = new Set(before?.panels.map(({ layer }) => layer));
  const fresh = after.panels.filter(({ layer }) => !known.has(layer));
  if (fresh.length > 0) return fresh[fresh.length - 1];
  if (room >= roomBefore) return null;
  return after.panels.find(({ layer }) => layer === at) ?? after.panels[0] ?? null;
}

/**
 * @param {HTMLElement} scroller
 * @param {{x: number, width: number}} panel
 * @param {{room: number, from: number, animated: boolean}} how `room` and where it is scrolled to as
 *   told, for asking would force a layout.
 */
export function reveal(scroller, panel, { room, from, animated }) {
  const left = scrollFor(panel, from, room);
  if (left === from) return;
  if (scroller.scrollTo) scroller.scrollTo({ left, behavior: animated ? "smooth" : "auto" });
  else scroller.scrollLeft = left;
}

/**
 * The least scrolling that shows all of a panel, or its left part where it is wider than the room.
 * @param {{x: number, width: number}} panel
 * @param {number} current
 * @param {number} room
 */
export function scrollFor({ x, width }, current, room) {
  const from = x - MARGIN;
  const to = x + width + MARGIN;
  if (to - from > room || from < current) return Math.max(0, from);
  return to > current + room ? to - room : current;
}
