/** How small rivers stand beside one another. */

/** One is at least so wide; and what stands around it. */
const LEAST_WIDTH = 222;
export const GAP = 5;
export const PADDING = 8;

/**
 * @param {number} width Of the grid.
 * @returns {{columns: number, inner: number}} `inner`: of a small river, without its frame.
 */
export function gridOf(width) {
  const columns = Math.max(1, Math.floor((width + GAP) / (LEAST_WIDTH + 2 * PADDING + 2 + GAP)));
  const cell = Math.floor((width - (columns - 1) * GAP) / columns);
  return { columns, inner: cell - 2 * PADDING - 2 };
}
