/** Brings a newly opened layer into sight when the picture is wider than its room. */

/** @typedef {import("../layout/scene.js").Scene} Scene */

const MARGIN = 24;

/**
 * @param {HTMLElement} scroller
 * @param {Scene | null} before
 * @param {Scene} after
 * @param {{room: number, animated: boolean}} how `room` as told, for asking would force a layout.
 */
export function revealNewest(scroller, before, after, { room, animated }) {
  if (after.width <= room) return;
  const known = new Set(before?.panels.map(({ layer }) => layer));
  const fresh = after.panels.filter(({ layer }) => !known.has(layer));
  const panel = fresh[fresh.length - 1];
  if (!panel) return;
  const left = scrollFor(panel, scroller.scrollLeft, room);
  if (left === scroller.scrollLeft) return;
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
