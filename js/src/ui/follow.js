/**
 * Keeps a tall column's content where the reader looks. The notebook scrolls, perhaps several frames
 * out, where sticky positioning does not reach; an IntersectionObserver sees through all of them.
 */

import { h } from "./dom.js";

/** The least height that the content is given. */
const LEAST = 260;
const SLICES = 32;

/**
 * @param {HTMLElement} column
 * @param {HTMLElement} content Gets the room left above and below it as custom properties.
 * @returns {() => void}
 */
export function followVisible(column, content) {
  if (typeof IntersectionObserver === "undefined") return () => {};
  const whole = new IntersectionObserver((entries) => {
    const entry = entries[entries.length - 1];
    if (!entry?.isIntersecting) return;
    const { above, below } = roomAround(entry.boundingClientRect, entry.intersectionRect);
    content.style.setProperty("--vw-above", `${above}px`);
    content.style.setProperty("--vw-below", `${below}px`);
  });
  // A column taller than the window shows as much of itself before a scroll as after it, which is
  // no news to an observer; that a slice of it comes or goes is.
  const edges = new IntersectionObserver(
    () => {
      whole.unobserve(column);
      whole.observe(column);
    },
    { threshold: [0, 0.25, 0.5, 0.75, 1] },
  );
  whole.observe(column);
  for (let slice = 0; slice < SLICES; slice += 1) {
    const mark = h("i", { class: "vw-slice", "aria-hidden": true });
    mark.style.top = `${(100 * slice) / SLICES}%`;
    mark.style.height = `${100 / SLICES}%`;
    column.prepend(mark);
    edges.observe(mark);
  }
  return () => {
    whole.disconnect();
    edges.disconnect();
  };
}

/**
 * @param {{top: number, bottom: number}} whole
 * @param {{top: number, bottom: number}} visible
 * @returns {{above: number, below: number}}
 */
export function roomAround(whole, visible) {
  const most = Math.max(0, whole.bottom - whole.top - LEAST);
  const above = Math.min(Math.max(0, Math.round(visible.top - whole.top)), most);
  const below = Math.min(Math.max(0, Math.round(whole.bottom - visible.bottom)), most - above);
  return { above, below };
}
