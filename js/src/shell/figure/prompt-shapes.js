/** The prompt of a figure, drawn: chips, bars and words as shapes and texts. */

import { CHIP, SAID } from "./chip.js";
import { AGAINST, ARROW, BAR, GUESS, REMAINDER_SIZE } from "./prompt-layout.js";
import { tapeShapes } from "./tape-layout.js";
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
      ...layout.lines.map(({ y, text }) =>
        draw.text(0, y, text, { size: SAID.size, fill: palette.muted, sans: true }),
      ),
      ...(layout.tape ? tapeShapes(layout.tape, palette, draw) : []),
    ],
  };
}

/** @param {Palette} palette */
export function drawer(palette) {
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
function cellShapes(cell, { barY, guessY, otherY }, palette, draw, stripes) {
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
  if (cell.other)
    shapes.push(...otherShapes(cell.other, { x, y: y + otherY, width }, palette, draw));
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
 * A token of the other prompt: one that differs has a box, and where there is none a dash stands.
 *
 * @param {NonNullable<PromptCell["other"]>} other
 * @param {{x: number, y: number, width: number}} place
 * @param {Palette} palette
 * @param {Drawer} draw
 */
function otherShapes({ text, kind, focus }, { x, y, width }, palette, draw) {
  const box = { x: x + 0.5, y: y + 0.5, width: width - 1, height: CHIP.height - 1, rx: 5.5 };
  const line = focus ? palette.accent : palette["line-strong"];
  const how = { size: CHIP.size, anchor: "middle" };
  const fill = kind === "apart" ? palette.ink : palette.muted;
  return [
    ...(kind === "apart" || focus ? [shape("rect", box, framed(line))] : []),
    draw.text(x + width / 2, y + BASELINE, text, { ...how, fill }),
  ];
}

/**
 * @param {string} colour
 * @returns {Style}
 */
const framed = (colour) => ({
  fill: "none",
  stroke: colour,
  "stroke-opacity": "1",
  "stroke-width": "1",
  "stroke-dasharray": "none",
  "stroke-linejoin": "miter",
});

/**
 * @param {PromptTail} tail
 * @param {PromptLayout} layout
 * @param {Palette} palette
 * @param {Drawer} draw
 */
function tailShapes(tail, { remainderY, otherY }, palette, draw) {
  const { x, y, target, againstX, foil, remainder, says } = tail;
  const small = { fill: palette.muted, sans: true };
  const shapes = [
    draw.text(x + 6, y + BASELINE + 0.6, "→", { ...small, size: ARROW.size }),
    ...boxed(target, y, "positive"),
  ];
  if (foil && againstX !== null) {
    shapes.push(draw.text(x + againstX, y + BASELINE, AGAINST, { ...small, size: CHIP.size }));
    shapes.push(...boxed(foil, y, "negative"));
  }
  if (remainder) {
    const how = { ...small, size: REMAINDER_SIZE };
    shapes.push(draw.text(x + GUESS.inset, y + remainderY, remainder, how));
  }
  if (says) {
    const arrow = { ...small, size: ARROW.size };
    shapes.push(draw.text(x + 6, y + otherY + BASELINE + 0.6, "→", arrow));
    shapes.push(...boxed(says, y + otherY, "ink"));
  }
  return shape("g", {}, {}, shapes);

  /**
   * @param {{x: number, width: number, text: string}} chip
   * @param {number} y
   * @param {"positive" | "negative" | "ink"} tone
   */
  function boxed({ x: from, width, text }, y, tone) {
    const left = x + from;
    // The line lies inside the chip, as a border does.
    const box = { x: left + 0.5, y: y + 0.5, width: width - 1, height: CHIP.height - 1, rx: 5.5 };
    const how = { size: CHIP.size, fill: palette[tone], anchor: "middle", weight: "600" };
    return [
      shape("rect", box, framed(tone === "ink" ? palette["line-strong"] : palette[tone])),
      draw.text(left + width / 2, y + BASELINE, text, how),
    ];
  }
}
