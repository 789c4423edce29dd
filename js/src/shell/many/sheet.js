/** Many prompts as one drawing, for a figure. */

import { inOrder } from "../../state/prompts.js";
import { headline } from "../../words/prompts.js";
import { drawRiver, s } from "./draw.js";
import { GAP, gridOf, PADDING } from "./grid.js";
import { layoutPrompt, TALL, weightsOf } from "./layout.js";

/** @import { Order, Prompts } from "../../types.js" */

const EDGE = 16;
const HEAD = 44;
const ABOVE = 6;
const CELL = TALL + 10;

/**
 * @param {Prompts} prompts
 * @param {Order} order
 * @param {number} width
 * @returns {SVGElement}
 */
export function drawSheet(prompts, order, width) {
  const { columns, inner } = gridOf(width - 2 * EDGE);
  const weight = weightsOf(prompts.rows.map(({ brief, text }) => brief ?? text));
  const numbers = inOrder(prompts, order);
  const cells = numbers.map((number, place) => {
    const x = EDGE + (place % columns) * (inner + 2 * PADDING + 2 + GAP);
    const y = HEAD + Math.floor(place / columns) * (CELL + GAP);
    const river = layoutPrompt(prompts.rows[number], number, inner, weight);
    const frame = { width: inner + 2 * PADDING + 1, height: CELL, rx: 6 };
    return s("g", { transform: `translate(${x},${y})` }, [
      s("rect", { class: "vw-many-frame", ...frame }),
      s("g", { transform: `translate(${PADDING + 1},${ABOVE})` }, drawRiver(river)),
    ]);
  });
  const height = HEAD + Math.ceil(numbers.length / columns) * (CELL + GAP) + EDGE - GAP;
  const title = s("text", { class: "vw-many-text title", x: EDGE, y: 28, "font-size": 14 }, [
    headline(prompts),
  ]);
  return s("svg", { class: "vw-stage", width, height }, [title, ...cells]);
}
