/** The prompt of a figure, drawn: chips, bars and words as shapes and texts. */

import { AGAINST, ARROW, BAR, CHIP, GUESS, REMAINDER_SIZE } from "./prompt-layout.js";
import { shape } from "./tree.js";

/** @import { PromptCell, PromptLayout, PromptTail } from "./prompt-layout.js" */
/** @import { Shape, Style } from "./tree.js" */

/**
 * @typedef {Record<"ink" | "muted" | "surface" | "accent" | "accent-ink" | "positive" |
 *   "positive-ribbon" | "negative" | "negative-ribbon" | "negative-soft" | "line" | "line-strong" |
 *   "bg" | "font" | "mono", string>} Palette Colours as SVG writes them, and two lists of fonts.
 */

/**
 * @param {PromptLayout} layout
 * @param {Palette} palette
 * @param {string} stripes The id of the pattern of what lowers the target.
 * @returns {{definitions: Shape[], content: Shape[]}}
 */
export function promptShapes(layout, palette, stripes) {
  const draw = drawer(palette);
  return {
    definitions: [
      shape(
        "pattern",
        {
          id: stripes,
          width: 3.5,
          height: 3.5,
          patternUnits: "userSpaceOnUse",
          patternTransform: "rotate(45)",
        },
        {},
        [
          draw.rect({ width: 3.5, height: 3.5 }, palette["negative-soft"]),
          draw.rect({ width: 2, height: 3.5 }, palette["negative-ribbon"]),
        ],
      ),
    ],
    content: [
      ...layout.cells.map((cell) => cellShapes(cell, layout, palette, draw, stripes)),
      tailShapes(layout.tail, layout, palette, draw),
    ],
  };
}

/** @param {Palette} palette */
function drawer(palette) {
  return {
    /**
     * @param {Record<string, number>} box
     * @param {string} fill
     */
    rect: (box, fill) => shape("rect", box, { fill, stroke: "none", "fill-opacity": "1" }),

    /**
     * @param {number} x
     * @param {number} y
     * @param {string} said
     * @param {{size: number, fill: string, anchor?: string, weight?: string, sans?: boolean}} how
     */
    text: (x, y, said, { size, fill, anchor = "start", weight = "400", sans = false }) =>
      // Each its own text: which way one is read does not turn its neighbours around.
      shape("text", { x, y }, lettersOf(palette, { size, fill, anchor, weight, sans }), [said]),
  };
}

/** @typedef {ReturnType<typeof drawer>} Drawer */

/**
 * @param {Palette} palette
 * @param {{size: number, fill: string, anchor: string, weight: string, sans: boolean}} how
 * @returns {Style}
 */
const lettersOf = (palette, { size, fill, anchor, weight, sans }) => ({
  fill,
  "fill-opacity": "1",
  stroke: "none",
  "font-family": sans ? palette.font : palette.mono,
  "font-size": String(size),
  "font-style": "normal",
  "font-weight": weight,
  "letter-spacing": "normal",
  "text-anchor": anchor,
});

const BASELINE = 18.6;

/**
 * @param {PromptCell} cell
 * @param {PromptLayout} layout
 * @param {Palette} palette
 * @param {Drawer} draw
 * @param {string} stripes
 */
function cellShapes(cell, { barY, guessY }, palette, draw, stripes) {
  const { x, y, width, text, focus, bar, guess } = cell;
  const box = { x, y, width, height: CHIP.height, rx: 6 };
  const ink = focus ? palette["accent-ink"] : palette.ink;
  const shapes = [
    draw.rect(box, focus ? palette.accent : palette.surface),
    draw.text(x + width / 2, y + BASELINE, text, { size: CHIP.size, fill: ink, anchor: "middle" }),
  ];
  if (bar) {
    const none = bar.part === 0;
    const long = none ? 2 : Math.max(2, bar.part * BAR.length);
    const own = bar.negative ? `url(#${stripes})` : palette["positive-ribbon"];
    const place = { x: x + BAR.inset, y: y + barY, width: long, height: BAR.height, rx: 1 };
    shapes.push(draw.rect(place, none ? palette["line-strong"] : own));
  }
  if (guess) {
    const size = GUESS.size;
    const left = x + GUESS.inset;
    if (guess.right) {
      const how = { size, fill: palette.positive, weight: "700" };
      shapes.push(draw.text(left, y + guessY, "✓", how));
    }
    const fill = guess.right ? palette.ink : palette.muted;
    const shift = guess.right ? size * 0.615 + 2 : 0;
    if (guess.text) shapes.push(draw.text(left + shift, y + guessY, guess.text, { size, fill }));
  }
  return shape("g", {}, {}, shapes);
}

/**
 * @param {PromptTail} tail
 * @param {PromptLayout} layout
 * @param {Palette} palette
 * @param {Drawer} draw
 */
function tailShapes({ x, y, target, againstX, foil, remainder }, { remainderY }, palette, draw) {
  const small = { fill: palette.muted, sans: true };
  const shapes = [
    draw.text(x + 6, y + BASELINE + 0.6, "→", { ...small, size: ARROW.size }),
    ...framed(target, "positive"),
  ];
  if (foil && againstX !== null) {
    shapes.push(draw.text(x + againstX, y + BASELINE, AGAINST, { ...small, size: CHIP.size }));
    shapes.push(...framed(foil, "negative"));
  }
  if (remainder) {
    const how = { ...small, size: REMAINDER_SIZE };
    shapes.push(draw.text(x + GUESS.inset, y + remainderY, remainder, how));
  }
  return shape("g", {}, {}, shapes);

  /**
   * @param {{x: number, width: number, text: string}} chip
   * @param {"positive" | "negative"} tone
   */
  function framed({ x: from, width, text }, tone) {
    const left = x + from;
    // The line lies inside the chip, as a border does.
    const box = { x: left + 0.5, y: y + 0.5, width: width - 1, height: CHIP.height - 1, rx: 5.5 };
    const line = {
      fill: "none",
      stroke: palette[tone],
      "stroke-opacity": "1",
      "stroke-width": "1",
    };
    const how = { size: CHIP.size, fill: palette[tone], anchor: "middle", weight: "600" };
    return [
      shape("rect", box, { ...line, "stroke-dasharray": "none", "stroke-linejoin": "miter" }),
      draw.text(left + width / 2, y + BASELINE, text, how),
    ];
  }
}
