/** The prompt as the header shows it, set in lines: where each token, mark and word stands. */

import { alignedTokens } from "../../state/other-side.js";
import { fitText, textWidth } from "../../views/shared/text.js";
import { percent } from "../../words/format.js";
import { partingWords } from "../../words/other-side.js";
import { CHIP, chipOf, SAID, wrapped } from "./chip.js";
import { layoutTape } from "./tape-layout.js";

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
 * @property {OtherFacts | null} other The other prompt that it is compared with.
 * @property {import("./tape-layout.js").TapeFacts | null} tape Of a generation.
 *
 * @typedef {object} OtherFacts
 * @property {{here: number | null, text: string, kind: "same" | "apart" | "none",
 *   focus: boolean}[]} tokens In the order of both, each with the position of its partner here.
 * @property {string | null} says Its first choice.
 * @property {string} words What is compared, and how to read it.
 *
 * @typedef {object} PromptCell
 * @property {number} x
 * @property {number} y
 * @property {number} width
 * @property {string} text
 * @property {boolean} focus
 * @property {Under["bar"]} bar
 * @property {{text: string, right: boolean} | null} guess
 * @property {{text: string, kind: "same" | "apart" | "none", focus: boolean} | null} other
 *
 * @typedef {object} PromptTail The arrow and what is followed.
 * @property {number} x
 * @property {number} y
 * @property {{x: number, width: number, text: string}} target
 * @property {number | null} againstX Of the word "against".
 * @property {{x: number, width: number, text: string} | null} foil
 * @property {string} remainder
 * @property {{x: number, width: number, text: string} | null} says Of the other prompt.
 * @property {number} width
 *
 * @typedef {object} PromptLayout
 * @property {PromptCell[]} cells
 * @property {PromptTail} tail
 * @property {number} barY From a line's top, as all of these.
 * @property {number} guessY
 * @property {number} remainderY
 * @property {number} otherY
 * @property {{y: number, text: string}[]} lines What is said of the other prompt.
 * @property {(import("./tape-layout.js").TapeLayout & {y: number}) | null} tape
 * @property {number} height
 */

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
const TAIL_GAP = 8;
const OTHER_GAP = 4;
/** What stands where there is no partner. */
const NONE = "–";

/**
 * @param {PromptFacts} facts
 * @param {number} width Room for a line, in pixels.
 * @returns {PromptLayout}
 */
export function layoutPrompt(facts, width) {
  const { tokens, focus, under, bars, guesses, other } = facts;
  const room = (bars ? BAR_ROOM : 0) + (guesses ? GUESS.height : 0);
  const below = other ? OTHER_GAP + CHIP.height : 0;
  const line = CHIP.height + room + below + (room + below > 0 ? LINE_GAP_UNDER : GAP);
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

  /** @type {{here: number | null, other: PromptCell["other"]}[]} */
  const columns = other
    ? other.tokens.map(({ here, ...there }) => ({ here, other: there }))
    : tokens.map((_, here) => ({ here, other: null }));
  const cells = columns.map(({ here: position, other: there }) => {
    const chip = chipOf(position === null ? NONE : tokens[position], width);
    const beneath = there && chipOf(there.text, width);
    const widest = Math.max(chip.width, beneath?.width ?? 0);
    const wide = Math.min(width, Math.max(widest, room > 0 ? LEAST_WITH_UNDER : 0));
    const own = position === null ? undefined : under?.[position];
    const guess = guesses && own?.guess ? fittedGuess(own.guess, wide) : null;
    return {
      ...place(wide),
      width: wide,
      text: chip.text,
      focus: position === focus,
      bar: (bars && own?.bar) || null,
      guess,
      other: there && beneath ? { ...there, text: beneath.text } : null,
    };
  });

  const tail = tailOf(facts, width);
  const at = place(tail.width);
  let end = y + CHIP.height + Math.max(room, facts.remainder ? GUESS.height : 0) + below;
  const lines = wrapped(other?.words ?? "", width).map((text) => {
    end += SAID.line;
    return { y: end, text };
  });
  const tape = facts.tape && { ...layoutTape(facts.tape, width), y: end + LINE_GAP_UNDER };
  if (tape) end = tape.y + tape.height;
  return {
    cells,
    tail: { ...tail, ...at },
    otherY: CHIP.height + room + OTHER_GAP,
    lines,
    tape,
    barY: CHIP.height + BAR.inset,
    guessY: CHIP.height + (bars ? BAR_ROOM : 0) + 11,
    remainderY: CHIP.height + (guesses ? 19 : 11),
    height: end,
  };
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
function tailOf({ target, foil, remainder, other }, room) {
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
    says: other?.says ? { x: targetX, ...chipOf(other.says, room) } : null,
    width: 0,
  };
  if (foil !== null) {
    tail.againstX = end + TAIL_GAP;
    const foilX = tail.againstX + textWidth(AGAINST, CHIP.size, "sans") + TAIL_GAP;
    tail.foil = { x: foilX, ...chipOf(foil, room) };
    end = foilX + tail.foil.width;
  }
  const words = textWidth(tail.remainder, REMAINDER_SIZE, "sans") + 2 * GUESS.inset;
  const there = tail.says ? targetX + tail.says.width : 0;
  return { ...tail, width: Math.max(end, words, there) };
}

/**
 * @typedef {object} Marks What the reader has under the tokens.
 * @property {boolean} attribution
 * @property {boolean} predictions
 *
 * @param {FlowGraph} graph
 * @param {{bars: {part: number, value: number}[] | null, guesses: PositionPrediction[] | null,
 *   isRight: (prediction: PositionPrediction) => boolean, remainder: string,
 *   tape: import("./tape-layout.js").TapeFacts | null}} known
 * @returns {PromptFacts}
 */
export function promptFacts(graph, { bars, guesses, isRight, remainder, tape }) {
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
    other: otherFacts(graph),
    tape,
  };
}

/**
 * @param {FlowGraph} graph
 * @returns {OtherFacts | null}
 */
function otherFacts(graph) {
  const { against } = graph;
  if (!against) return null;
  const tokens = alignedTokens(graph).map(({ here, there }) => ({
    here: here?.position ?? null,
    text: there?.text ?? NONE,
    kind: kindOf(here, there),
    focus: there?.position === against.position,
  }));
  const [first] = against.prediction;
  const said = first ? `There the model says ${first.text}: ${percent(first.probability)}. ` : "";
  const parting = partingWords(graph);
  return {
    tokens,
    says: first?.text ?? null,
    words:
      `Compared with “${against.prompt}”. ${said}${parting === null ? "" : `${parting}. `}` +
      "In italics: the other prompt’s numbers and words. Δ: this one’s less the other’s.",
  };
}

/**
 * @param {import("../../types.js").PromptToken | null} here
 * @param {import("../../types.js").PromptToken | null} there
 * @returns {"same" | "apart" | "none"}
 */
function kindOf(here, there) {
  if (here === null || there === null) return "none";
  return here.id === there.id ? "same" : "apart";
}
