/** Plain shapes that layouts give and drawings take. */

/** @typedef {import("./scales.js").Sign} Sign */

/**
 * @typedef {object} SceneText
 * @property {number} x
 * @property {number} y Of the baseline.
 * @property {string} text
 * @property {number} [piece] How much of the text is the label: the rest is of the word that it begins.
 * @property {"token" | "strong" | "small" | "number" | "caption" | "tag" | "rest" | "there"} face
 * @property {"start" | "middle" | "end"} [anchor]
 * @property {Sign | "memory" | "ink"} [tone]
 *
 * @typedef {object} Box
 * @property {number} x
 * @property {number} y
 * @property {number} width
 * @property {number} height
 */

/** @typedef {"ArrowLeft" | "ArrowRight" | "ArrowUp" | "ArrowDown"} Arrow */

export {};
