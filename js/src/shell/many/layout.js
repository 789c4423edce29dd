/** A prompt as a small river: pure, from a row to shapes. */

import { shadeOf } from "../../views/shared/scales.js";
import { fitText, textWidth, visible } from "../../views/shared/text.js";
import { percent } from "../../words/format.js";
import { placeOf } from "../../words/prompts.js";

/** @import { PromptRow } from "../../types.js" */

/** What a small river takes, in pixels. */
export const TALL = 64;
const HEAD = { y: 10, size: 12 };
const HILL = { top: 15, bottom: 36 };
export const BAND = { top: 37, height: 15 };
const FOOT = { y: 62, size: 9.5 };
const WORD = 10.5;
const SAID = 12;
const OTHER = 10.5;
/** What the prediction takes on the right, at most, and of a narrow river. */
const RIGHT = { most: 92, part: 0.34, gap: 8 };
/** Fewer letters of a word say nothing. */
const LEAST = 5;
/** What has none says nothing in a picture as small as this. */
const LETTER = /[\p{L}\p{N}]/u;
/** So many words of a prompt are weighed, at both of its ends. */
const WEIGHED = 24;

/** @typedef {(word: string) => number} Weight How much is lost with a word. */

/**
 * @typedef {object} Text
 * @property {string} kind Its class.
 * @property {number} x
 * @property {number} y
 * @property {number} size
 * @property {string} text
 * @property {"start" | "middle" | "end"} [anchor]
 *
 * @typedef {object} SmallRiver
 * @property {{x: number, y: number, width: number, height: number, shade: number}[]} cells
 * @property {string} hill Outline of the probability by layer; "" where there is none.
 * @property {number[]} breaks Where one word gives way to the next.
 * @property {number | null} settled Where the last word begins.
 * @property {Text[]} texts
 */

/**
 * @param {PromptRow} row
 * @param {number} number
 * @param {number} width
 * @param {Weight} [weight]
 * @returns {SmallRiver}
 */
export function layoutPrompt(row, number, width, weight) {
  const name = String(number);
  const inset = Math.ceil(textWidth(name, 11, "sans")) + 6;
  /** @type {Text[]} */
  const texts = [
    { kind: "number", x: 0, y: HEAD.y, size: 11, text: name },
    {
      kind: "prompt",
      x: inset,
      y: HEAD.y,
      size: HEAD.size,
      text: cutInside(row.brief ?? row.text, width - inset, HEAD.size, weight),
    },
  ];
  const { words, ranks, probabilities, first } = row;
  /** @type {SmallRiver} */
  const bare = { cells: [], hill: "", breaks: [], settled: null, texts };
  if (row.problem || !words || !ranks || !first) {
    const lines = row.problem ? wrapped(row.problem, width, 11, 3) : [];
    texts.push(
      ...lines.map((text, n) => ({ kind: "problem", x: 0, y: 28 + 14 * n, size: 11, text })),
    );
    return bare;
  }
  const right = Math.min(RIGHT.most, Math.floor(width * RIGHT.part));
  const long = width - right - RIGHT.gap;
  const step = long / ranks.length;
  const at = (/** @type {number} */ n) => Math.round(n * step * 10) / 10;
  const cells = [];
  for (let n = 0; n < ranks.length; ) {
    const shade = shadeOf(ranks[n]);
    let end = n + 1;
    while (end < ranks.length && shadeOf(ranks[end]) === shade) end += 1;
    const place = { x: at(n), y: BAND.top, width: at(end) - at(n), height: BAND.height };
    cells.push({ ...place, shade });
    n = end;
  }
  words.forEach(([layer, text], n) => {
    const [from, to] = [layer + 1, (words[n + 1]?.[0] ?? ranks.length - 1) + 1];
    const room = (to - from) * step - 4;
    const word = fitText(text, room, WORD);
    if (!LETTER.test(word)) return;
    if (word !== visible(text) && [...word].length < LEAST) return;
    const shade = shadeOf(ranks[Math.floor((from + to - 1) / 2)]);
    const x = ((from + to) / 2) * step;
    texts.push({
      kind: `word ink-${shade}`,
      x,
      y: BAND.top + 11,
      size: WORD,
      text: word,
      anchor: "middle",
    });
  });
  const last = words[words.length - 1][0];
  const spot = at(last + 1);
  texts.push(...predictionTexts(row, long + RIGHT.gap, right), {
    kind: "settled",
    // Under where it begins, as far as it is not cut.
    x: Math.min(Math.max(spot, 3), long - 2),
    y: FOOT.y,
    size: FOOT.size,
    text: last < 0 ? placeOf(last) : String(last),
    anchor: last < 0 ? "start" : spot > long - 14 ? "end" : "middle",
  });
  return {
    ...bare,
    cells,
    hill: hillOf(probabilities ?? [], step, long),
    breaks: words.slice(1).map(([layer]) => at(layer + 1)),
    settled: spot,
  };
}

/**
 * @param {PromptRow} row
 * @param {number} x
 * @param {number} room
 * @returns {Text[]}
 */
function predictionTexts({ first, target, probability, right }, x, room) {
  if (!first) return [];
  const same = !target || target.id === first.id;
  const mark = right === undefined ? "" : right ? "✓ " : "✗ ";
  const tone = right === false ? " wrong" : "";
  const y = same ? 33 : 27;
  /** @type {Text[]} */
  const texts = [
    { kind: `said${tone}`, x, y, size: SAID, text: fitText(first.text, room, SAID) },
    { kind: `sure${tone}`, x, y: y + 14, size: 11, text: `${mark}${percent(first.probability)}` },
  ];
  if (same) return texts;
  const other = probability == null ? "" : ` ${percent(probability)}`;
  const name = fitText(target.text, room - textWidth(other, OTHER), OTHER);
  texts.push({ kind: "followed", x, y: 55, size: OTHER, text: `${name}${other}` });
  return texts;
}

/**
 * @param {(number | null)[]} probabilities
 * @param {number} step
 * @param {number} long
 */
function hillOf(probabilities, step, long) {
  if (probabilities.length === 0 || probabilities.some((value) => value == null)) return "";
  const y = (/** @type {number} */ value) =>
    (HILL.bottom - value * (HILL.bottom - HILL.top)).toFixed(1);
  const points = probabilities.map((value, n) => {
    const from = (n * step).toFixed(1);
    return `${n === 0 ? "" : `H${from}`}V${y(Number(value))}`;
  });
  return `M0,${HILL.bottom}${points.join("")}H${long.toFixed(1)}V${HILL.bottom}Z`;
}

/**
 * How much is lost with a word: little where most prompts have it.
 *
 * @param {string[]} all The prompts.
 * @returns {Weight}
 */
export function weightsOf(all) {
  /** @type {Map<string, number>} */
  const counts = new Map();
  for (const text of all) {
    for (const word of new Set(wordsOf(text))) counts.set(word, (counts.get(word) ?? 0) + 1);
  }
  return (word) => (all.length / (counts.get(word) ?? 1)) ** 2;
}

/** @param {string} text */
const wordsOf = (text) => text.split(/\s+/u).filter(Boolean);

/**
 * A text in a line. What does not fit is left out between two words, where least is lost by it.
 *
 * @param {string} text
 * @param {number} width
 * @param {number} size
 * @param {Weight} [weight]
 */
export function cutInside(text, width, size, weight = () => 1) {
  const wide = (/** @type {string} */ part) => textWidth(part, size, "sans");
  const words = wordsOf(visible(text));
  if (wide(words.join(" ")) <= width) return words.join(" ");
  const long = words.length > 2 * WEIGHED;
  const near = long ? [...words.slice(0, WEIGHED), ...words.slice(-WEIGHED)] : words;
  const weights = near.map(weight);
  let best = { line: "", lost: Number.POSITIVE_INFINITY };
  for (let from = 1; from < near.length; from++) {
    let lost = 0;
    for (let to = from + 1; to < near.length; to++) {
      lost += weights[to - 1];
      if (lost >= best.lost) break;
      if (long && (from > WEIGHED || to < WEIGHED)) continue;
      const line = `${near.slice(0, from).join(" ")} … ${near.slice(to).join(" ")}`;
      if (wide(line) > width) continue;
      best = { line, lost };
      break;
    }
  }
  return best.line || fitText(words.join(" "), width, size, "sans");
}

/**
 * @param {string} text
 * @param {number} width
 * @param {number} size
 * @param {number} most Lines.
 */
function wrapped(text, width, size, most) {
  /** @type {string[]} */
  const lines = [];
  let line = "";
  for (const word of text.split(/\s+/u)) {
    const longer = line === "" ? word : `${line} ${word}`;
    if (line !== "" && textWidth(longer, size, "sans") > width) {
      lines.push(line);
      line = word;
    } else line = longer;
  }
  lines.push(line);
  const shown = lines.slice(0, most);
  if (lines.length > most) shown[most - 1] += " …";
  return shown.map((each) => fitText(each, width, size, "sans"));
}
