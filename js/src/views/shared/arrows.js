/** The arrow that was pressed. */

import { pressed } from "../../words/keys.js";

/** @typedef {import("./shapes.js").Arrow} Arrow */

/** @type {Record<"left" | "right" | "up" | "down", Arrow>} */
const ARROWS = { left: "ArrowLeft", right: "ArrowRight", up: "ArrowUp", down: "ArrowDown" };

/**
 * @param {KeyboardEvent} event
 * @returns {Arrow | null}
 */
export function arrowOf(event) {
  const name = pressed(event, "left", "right", "up", "down");
  return name && ARROWS[name];
}
