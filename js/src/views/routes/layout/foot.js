/** Under the rivers: the tokens they rise from, what each of them adds, and the folded runs. */

import { inLogits } from "../../../words/figures.js";
import { signOf } from "../../shared/scales.js";
import { fitText, textWidth } from "../../shared/text.js";
import { besideWords } from "../there.js";

/** @typedef {import("./model.js").RoutesModel} RoutesModel */
/** @typedef {import("./grid.js").RouteColumns} RouteColumns */
/** @typedef {import("../../../types.js").PromptToken} PromptToken */
/** @typedef {import("../../shared/shapes.js").Box} Box */

/**
 * @typedef {object} RouteToken
 * @property {string} id
 * @property {number} position
 * @property {number} x
 * @property {number} y Of the middle of its words' line.
 * @property {string} text
 * @property {boolean} slanted
 * @property {boolean} focus
 * @property {Box} box What can be pointed at, relative to x and y; turned where it is slanted.
 * @property {number} bar How long the bar under it is.
 * @property {number} barY Where it begins, relative to y.
 * @property {number} barWidth
 * @property {import("../../shared/scales.js").Sign} tone
 * @property {string} number "" where there is no room for it.
 * @property {string} name
 * @property {{bar: number, tone: import("../../shared/scales.js").Sign, number: string} | null} there
 *   The same in the other prompt.
 *
 * @typedef {object} RouteFold
 * @property {string} key
 * @property {number} x
 * @property {number} y
 * @property {string} text
 * @property {string} note
 * @property {string} name
 */

const SIZE = 12;
const LINE = 22;
/** By how many degrees tokens are turned where they are slanted. */
export const SLANT = 52;
const LONGEST_SLANTED = 92;
const BAR = 34;
const NUMBER_SIZE = 10.5;
const THERE_LINE = 14;

/**
 * @param {RoutesModel} model
 * @param {RouteColumns} columns
 * @param {PromptToken[]} tokens
 * @param {number} y
 * @param {(value: number) => string} write
 * @param {import("../there.js").ThereRoutes | null} [there]
 */
export function placeFoot(model, columns, tokens, y, write, there = null) {
  const { slanted } = columns;
  const values = new Map(
    model.routes.attribution.tokens.map(({ position, value }) => [position, value]),
  );
  // What rounds to nothing is not written out.
  const least = inLogits(model.routes.measure) ? 0.005 : 0.0005;
  const thereOf = (/** @type {number} */ position) => there?.adds(position) ?? null;
  const theirs = columns.columns.map(({ position }) => Math.abs(thereOf(position) ?? 0));
  const most = Math.max(1e-9, ...[...values.values()].map(Math.abs), ...theirs);
  const longest = Math.max(
    ...columns.columns.map(({ position }) =>
      textWidth(fitText(tokens[position]?.text ?? "", LONGEST_SLANTED, SIZE), SIZE),
    ),
  );
  const wordsHeight = slanted ? longest * Math.sin((SLANT * Math.PI) / 180) + 16 : LINE;
  const numbered = numbersWithRoom(columns, values, write, thereOf);
  const long = (/** @type {number} */ value) =>
    Math.abs(value) < least ? 0 : Math.max(0.8, (Math.abs(value) / most) * BAR);
  /** @type {RouteToken[]} */
  const placed = columns.columns.map(({ position, x, width, text }) => {
    const value = values.get(position) ?? 0;
    const other = thereOf(position);
    const whole = tokens[position]?.text ?? "";
    const shown = slanted ? fitText(whole, LONGEST_SLANTED, SIZE) : text;
    const wide = slanted ? 24 : Math.max(24, textWidth(text, SIZE) + 10);
    const number = numbered.has(position) && Math.abs(value) >= least ? write(value) : "";
    const beside = other !== null && numbered.has(position) ? write(other) : "";
    const seen = [shown, number, beside].filter(Boolean).join(" ");
    const whose = beside ? (number ? " to the predictions here and there" : " there") : "";
    return {
      id: `P${position}.embed`,
      position,
      x,
      y: y + 16,
      text: shown,
      slanted,
      focus: position === model.routes.position,
      box: slanted
        ? { x: -textWidth(shown, SIZE) - 2, y: -11, width: textWidth(shown, SIZE) + 12, height: 17 }
        : { x: -wide / 2, y: -14, width: wide, height: 20 },
      bar: long(value),
      barY: wordsHeight - 8,
      barWidth: Math.min(18, width * 0.5),
      tone: signOf(value, model.routes.measure),
      number,
      name:
        `${seen}${whose || (number ? " to the prediction" : "")}: ` +
        `${shown === whole ? "" : `in full ${whole}, `}the token at position ${position}` +
        `${number ? "" : `, adds ${write(value)} to the prediction`}` +
        (other === null ? "" : `, ${besideWords(value, other, write)}`),
      there:
        other === null
          ? null
          : {
              bar: long(other),
              tone: signOf(other, model.routes.measure),
              number: beside,
            },
    };
  });
  /** @type {RouteFold[]} */
  const folds = columns.folds.map(({ from, to, x }) => {
    const count = to - from + 1;
    const within = Array.from({ length: count }, (_, at) => from + at);
    const value = within.reduce((sum, position) => sum + (values.get(position) ?? 0), 0);
    const one = count === 1 ? fitText(tokens[from]?.text ?? "", slanted ? 28 : 52, 10.5) : "";
    const many = slanted ? `${count}` : `${count} tokens`;
    return {
      key: `fold ${from}`,
      x,
      y: y + 16,
      text: count === 1 ? one || "⋯" : "⋯",
      note: count === 1 ? "" : many,
      name:
        count === 1
          ? `${tokens[from]?.text ?? ""} at position ${from}: no kept path passes here`
          : `${count} tokens, positions ${from} to ${to}: no kept path passes here` +
            (Math.abs(value) > 1e-6 ? `; they add ${write(value)}` : ""),
    };
  });
  const height = 16 + wordsHeight - 8 + BAR + 18 + (there ? THERE_LINE : 0);
  return { tokens: placed, folds, height };
}

/**
 * The largest numbers that do not touch.
 * @param {RouteColumns} columns
 * @param {Map<number, number>} values
 * @param {(value: number) => string} write
 * @param {(position: number) => number | null} thereOf
 */
function numbersWithRoom({ columns }, values, write, thereOf) {
  const byValue = [...columns].sort(
    (a, b) => Math.abs(values.get(b.position) ?? 0) - Math.abs(values.get(a.position) ?? 0),
  );
  /** @type {{from: number, to: number}[]} */
  const taken = [];
  const numbered = new Set();
  for (const { position, x } of byValue) {
    const texts = [values.get(position) ?? 0, thereOf(position) ?? 0].map(write);
    const half = Math.max(...texts.map((text) => textWidth(text, NUMBER_SIZE, "sans"))) / 2 + 1;
    if (taken.some(({ from, to }) => x - half < to && x + half > from)) continue;
    taken.push({ from: x - half, to: x + half });
    numbered.add(position);
  }
  return numbered;
}
