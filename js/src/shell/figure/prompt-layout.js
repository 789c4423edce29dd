/** The prompt as the header shows it, set in lines: where each token, mark and word stands. */

import { fitText, textWidth, visible } from "../../views/shared/text.js";

/** @import { FlowGraph, PositionPrediction } from "../../types.js" */

/**
 * @typedef {object} Under What is known under one token.
 * @property {{part: number, negative: boolean} | null} bar `part`: of the longest bar.
 * @property {{text: string, right: boolean} | null} guess
 *
 * @typedef {object} PromptFacts
 * @property {string[]} tokens
 * @property {number} focus
 * @property {string} target
 * @property {string | null} foil
 * @property {Under[] | null} under By position; null where nothing is shown under the tokens.
 * @property {boolean} bars Whether there is room for bars.
 * @property {boolean} guesses Whether there is room for what is predicted.
 * @property {string} remainder What the bars leave open; "" for nothing.
 *
 * @typedef {object} PromptCell
 * @property {number} x
 * @property {number} y
 * @property {number} width
 * @property {string} text
 * @property {boolean} focus
 * @property {Under["bar"]} bar
 * @property {{text: string, right: boolean} | null} guess
 *
 * @typedef {object} PromptTail The arrow and what is followed.
 * @property {number} x
 * @property {number} y
 * @property {{x: number, width: number, text: string}} target
 * @property {number | null} againstX Of the word "against".
 * @property {{x: number, width: number, text: string} | null} foil
 * @property {string} remainder
 * @property {number} width
 *
 * @typedef {object} PromptLayout
 * @property {PromptCell[]} cells
 * @property {PromptTail} tail
 * @property {number} barY From a line's top, as all of these.
 * @property {number} guessY
 * @property {number} remainderY
 * @property {number} height
 */

export const CHIP = { height: 28, size: 13, padding: 8 };
export const GUESS = { height: 15, size: 10.5, inset: 3 };
export const BAR = { height: 5, length: 40, inset: 3 };
export const REMAINDER_SIZE = 11;
export const ARROW = { size: 15, width: 16 };
export const AGAINST = "against";
/** As the header's style sheet has them. */
const BAR_ROOM = 8;
const GAP = 4;
const LINE_GAP_UNDER = 8;
const LEAST_WITH_UNDER = 46;
const LONGEST_TEXT = 22;
const TAIL_GAP = 8;

/**
 * @param {PromptFacts} facts
 * @param {number} width Room for a line, in pixels.
 * @returns {PromptLayout}
 */
export function layoutPrompt(facts, width) {
  const { tokens, focus, under, bars, guesses } = facts;
  const room = (bars ? BAR_ROOM : 0) + (guesses ? GUESS.height : 0);
  const line = CHIP.height + room + (room > 0 ? LINE_GAP_UNDER : GAP);
  let x = 0;
  let y = 0;
  /** @param {number} wide */
  const place = (wide) => {
    if (x > 0 && x + wide > width) {
      x = 0;
      y += line;
    }
    const at = { x, y };
    x += wide + GAP;
    return at;
  };

  const cells = tokens.map((token, position) => {
    const chip = chipOf(token, width);
    const wide = Math.min(width, Math.max(chip.width, room > 0 ? LEAST_WITH_UNDER : 0));
    const own = under?.[position];
    const guess = guesses && own?.guess ? fittedGuess(own.guess, wide) : null;
    return {
      ...place(wide),
      width: wide,
      text: chip.text,
      focus: position === focus,
      bar: (bars && own?.bar) || null,
      guess,
    };
  });

  const tail = tailOf(facts, width);
  const at = place(tail.width);
  return {
    cells,
    tail: { ...tail, ...at },
    barY: CHIP.height + BAR.inset,
    guessY: CHIP.height + (bars ? BAR_ROOM : 0) + 11,
    remainderY: CHIP.height + (guesses ? 19 : 11),
    height: y + CHIP.height + Math.max(room, facts.remainder ? GUESS.height : 0),
  };
}

/**
 * @param {string} token
 * @param {number} width
 */
function chipOf(token, width) {
  const most = Math.min(LONGEST_TEXT * CHIP.size * 0.615, width - 2 * CHIP.padding);
  const text = fitText(token, most, CHIP.size) || visible(token).slice(0, 1);
  return { text, width: textWidth(text, CHIP.size) + 2 * CHIP.padding };
}

/**
 * @param {{text: string, right: boolean}} guess
 * @param {number} width
 */
function fittedGuess({ text, right }, width) {
  const tick = right ? textWidth("✓", GUESS.size) + 2 : 0;
  return { text: fitText(text, width - 2 * GUESS.inset - tick, GUESS.size), right };
}

/**
 * @param {PromptFacts} facts
 * @param {number} room
 * @returns {PromptTail} Starting at 0, 0.
 */
function tailOf({ target, foil, remainder }, room) {
  const targetX = 6 + ARROW.width + TAIL_GAP;
  const followed = chipOf(target, room);
  let end = targetX + followed.width;
  /** @type {PromptTail} */
  const tail = {
    x: 0,
    y: 0,
    target: { x: targetX, ...followed },
    againstX: null,
    foil: null,
    remainder: fitText(remainder, room - 2 * GUESS.inset, REMAINDER_SIZE, "sans"),
    width: 0,
  };
  if (foil !== null) {
    tail.againstX = end + TAIL_GAP;
    const foilX = tail.againstX + textWidth(AGAINST, CHIP.size, "sans") + TAIL_GAP;
    tail.foil = { x: foilX, ...chipOf(foil, room) };
    end = foilX + tail.foil.width;
  }
  const words = textWidth(tail.remainder, REMAINDER_SIZE, "sans") + 2 * GUESS.inset;
  return { ...tail, width: Math.max(end, words) };
}

/**
 * @typedef {object} Marks What the reader has under the tokens.
 * @property {boolean} attribution
 * @property {boolean} predictions
 *
 * @param {FlowGraph} graph
 * @param {{bars: {part: number, value: number}[] | null, guesses: PositionPrediction[] | null,
 *   isRight: (prediction: PositionPrediction) => boolean, remainder: string}} known
 * @returns {PromptFacts}
 */
export function promptFacts(graph, { bars, guesses, isRight, remainder }) {
  const under = graph.tokens.map(({ position }) => {
    const bar = bars?.[position];
    const predicted = guesses?.[position];
    const said = predicted?.top[0]?.text;
    return {
      bar: bar ? { part: bar.part, negative: bar.value < 0 } : null,
      guess: predicted && said !== undefined ? { text: said, right: isRight(predicted) } : null,
    };
  });
  return {
    tokens: graph.tokens.map(({ text }) => text),
    focus: graph.position,
    target: graph.target.text,
    foil: graph.foil?.text ?? null,
    under: bars || guesses ? under : null,
    bars: bars !== null,
    guesses: guesses !== null,
    remainder,
  };
}
