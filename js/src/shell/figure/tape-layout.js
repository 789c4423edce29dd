/** The tape of a generation in a figure: its tokens in lines, the step on show marked, and said. */

import { saidMark, stepWords } from "../../words/said.js";
import { CHIP, chipOf, SAID, wrapped } from "./chip.js";
import { shape } from "./tree.js";

/** @import { State } from "../../state/state.js" */
/** @import { Drawer, Palette } from "./prompt-shapes.js" */
/** @import { Shape } from "./tree.js" */

/**
 * @typedef {object} TapeFacts
 * @property {{text: string, part: number, other: boolean}[]} tokens `other`: not the first choice.
 * @property {number | null} step The one that is explained.
 * @property {string} words
 *
 * @typedef {object} TapeLayout
 * @property {{x: number, y: number, width: number, text: string, part: number, other: boolean,
 *   chosen: boolean, later: boolean}[]} cells
 * @property {{y: number, text: string}[]} lines
 * @property {number} height
 */

const GAP = 3;
const LINE = CHIP.height + 6;
const BASELINE = 17.4;
const BAR = 3;

/**
 * @param {State} state
 * @returns {TapeFacts | null}
 */
export function tapeFacts({ generation, graph }) {
  if (!generation || !graph) return null;
  const step = graph.step ?? null;
  const { tokens } = generation;
  return {
    tokens: tokens.map((token) => ({
      text: `${token.text}${saidMark(token)}`,
      part: token.probability,
      other: saidMark(token) !== "",
    })),
    step,
    words: stepWords(generation, graph),
  };
}

/**
 * @param {TapeFacts} facts
 * @param {number} width
 * @returns {TapeLayout}
 */
export function layoutTape({ tokens, step, words }, width) {
  let x = 0;
  let y = 0;
  const cells = tokens.map(({ text, part, other }, at) => {
    const chip = chipOf(text, width);
    if (x > 0 && x + chip.width > width) {
      x = 0;
      y += LINE;
    }
    const later = step !== null && at > step;
    const cell = { x, y, ...chip, part, other, chosen: at === step, later };
    x += chip.width + GAP;
    return cell;
  });
  let end = y + LINE;
  const lines = wrapped(words, width).map((text) => {
    end += SAID.line;
    return { y: end - 4, text };
  });
  return { cells, lines, height: end };
}

/**
 * @param {TapeLayout & {y: number}} tape
 * @param {Palette} palette
 * @param {Drawer} draw
 * @returns {Shape[]}
 */
export function tapeShapes({ cells, lines, y: top }, palette, draw) {
  const tokens = cells.map(({ x, y, width, text, part, other, chosen, later }) => {
    const box = { x, y: top + y, width, height: CHIP.height, rx: 6 };
    const ink = chosen ? palette["accent-ink"] : later ? palette.muted : palette.ink;
    const frame = {
      fill: "none",
      stroke: palette["line-strong"],
      "stroke-opacity": "1",
      "stroke-width": "1",
      "stroke-dasharray": "3 2",
      "stroke-linejoin": "miter",
    };
    const inner = { x: x + 0.5, y: top + y + 0.5, width: width - 1, height: CHIP.height - 1 };
    const bar = { x: x + 4, y: top + y + CHIP.height - 5, height: BAR, rx: 1 };
    return shape("g", {}, {}, [
      draw.rect(box, chosen ? palette.accent : palette.surface),
      ...(other ? [shape("rect", { ...inner, rx: 5.5 }, frame)] : []),
      draw.text(x + width / 2, top + y + BASELINE - 1, text, {
        size: CHIP.size,
        fill: ink,
        anchor: "middle",
      }),
      draw.rect(
        { ...bar, width: Math.max(1.5, part * (width - 8)) },
        chosen ? palette["accent-ink"] : palette["positive-ribbon"],
      ),
    ]);
  });
  const said = lines.map(({ y, text }) =>
    draw.text(0, top + y, text, { size: SAID.size, fill: palette.muted, sans: true }),
  );
  return [...tokens, ...said];
}
