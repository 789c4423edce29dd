/** The key to colours, patterns and widths, set in lines that fit the width. */

import { inLogits } from "../../words/figures.js";
import { OPAQUE } from "../../words/names.js";
import { isSigned, SHADE_RANKS } from "./scales.js";
import { textWidth } from "./text.js";

/** @typedef {import("../../types.js").Measure} Measure */

/**
 * @typedef {object} LegendItem
 * @property {string} key
 * @property {"positive" | "negative" | "unsigned" | "memory" | "rest" | "read" | "opaque" | "gathered" | "scale" | "shades" | "measured" |
 *   "strong" | "small"} mark
 * @property {string} text
 * @property {number} x
 * @property {number} y
 * @property {number} markWidth
 * @property {number} markHeight
 *
 * @typedef {{items: LegendItem[], y: number, height: number, size?: number}} Legend
 */

/** With room and without. */
const AIRY = { size: 11, line: 20, gap: 22, foot: 14, swatch: 20, cast: 0.97 };
const CLOSE = { size: 10, line: 17, gap: 11, foot: 4, swatch: 16, cast: 0.92 };
export const SHADE_SWATCH = 15;
/** @type {LegendItem["mark"][]} */
const TYPE = ["strong", "small"];

/**
 * @param {object} spec
 * @param {Measure} spec.measure
 * @param {string} spec.target
 * @param {string | null} spec.foil
 * @param {number} spec.scale Ribbon pixels per unit in the overview.
 * @param {boolean} spec.attends Whether an open layer shows heads.
 * @param {boolean} spec.reads Whether an open layer shows heads or neurons.
 * @param {boolean} spec.opaque Whether the picture has an opaque part.
 * @param {string} spec.written What a strong word is, of a part.
 * @param {string | null} [spec.gathered] What stands for several layers, in words.
 * @param {boolean} [spec.measured] Whether measured effects are marked.
 * @param {number} spec.left
 * @param {number} spec.right
 * @param {number} spec.y
 * @param {boolean} [spec.close] Whether there is little room below it.
 * @returns {Legend}
 */
export function placeLegend({
  measure,
  target,
  foil,
  scale,
  attends,
  reads,
  opaque,
  written,
  gathered = null,
  measured = false,
  left,
  right,
  y,
  close = false,
}) {
  const against = foil ? `${target} − ${foil}` : target;
  /** @type {Pick<LegendItem, "key" | "mark" | "text">[]} */
  const wanted = [];
  if (isSigned(measure)) {
    const [up, down] =
      measure === "effect"
        ? [`without it, less ${against}`, `without it, more ${against}`]
        : measure === "logit"
          ? [`raises ${against}`, `lowers ${against}`]
          : ["along the sum", "against the sum"];
    wanted.push({ key: "positive", mark: "positive", text: up });
    wanted.push({ key: "negative", mark: "negative", text: down });
  } else {
    const text = measure === "norm" ? "length of what is written" : "proximity to the sum";
    wanted.push({ key: "unsigned", mark: "unsigned", text });
  }
  const unit = scaleUnit(scale);
  if (unit) wanted.push({ key: "scale", mark: "scale", text: unitText(unit, measure) });
  if (measured) wanted.push({ key: "measured", mark: "measured", text: "measured" });
  if (gathered) wanted.push({ key: "gathered", mark: "gathered", text: gathered });
  if (opaque) wanted.push({ key: "opaque", mark: "opaque", text: `opaque: ${OPAQUE}` });
  if (attends) wanted.push({ key: "memory", mark: "memory", text: "attention weight" });
  if (reads) {
    wanted.push({ key: "strong", mark: "strong", text: written });
    wanted.push({ key: "small", mark: "small", text: "looked for" });
    wanted.push({ key: "read", mark: "read", text: "reads the stream" });
    wanted.push({ key: "rest", mark: "rest", text: "not shown apart" });
  }
  wanted.push({ key: "shades", mark: "shades", text: `rank of ${target}: 10,000+ to 1` });

  const size = close ? CLOSE : AIRY;
  const placed = setInLines(wanted, size, left, right, unit * scale);
  // What type says stands where it takes no line of its own; the help has it in any case.
  const plain = wanted.filter(({ mark }) => !TYPE.includes(mark));
  const without = setInLines(plain, size, left, right, unit * scale);
  const { items, lines } = placed.lines > without.lines ? without : placed;
  return { items, y, size: size.size, height: lines * size.line + size.foot };
}

/**
 * @param {Pick<LegendItem, "key" | "mark" | "text">[]} wanted
 * @param {typeof AIRY} sizes
 * @param {number} left
 * @param {number} right
 * @param {number} unit How wide the ribbon that shows the scale is.
 * @returns {{items: LegendItem[], lines: number}}
 */
function setInLines(wanted, { size, line: lineHeight, gap, swatch, cast }, left, right, unit) {
  let x = left;
  let line = 0;
  const items = wanted.map((item) => {
    const markWidth = item.mark === "shades" ? SHADE_SWATCH * SHADE_RANKS.length : swatch;
    const width = markWidth + 7 + textWidth(item.text, size, "sans") * cast;
    const tail = item.mark === "shades" ? 20 : 0;
    if (x > left && x + width + tail > right) {
      x = left;
      line += 1;
    }
    const placed = {
      ...item,
      x,
      y: line * lineHeight,
      markWidth,
      markHeight: item.mark === "scale" ? Math.max(1, unit) : 8,
    };
    x += width + gap;
    return placed;
  });
  return { items, lines: line + 1 };
}

/**
 * A round number whose ribbon is between 3 and 16 pixels wide.
 * @param {number} scale
 */
export function scaleUnit(scale) {
  if (!(scale > 0)) return 0;
  for (let power = -4; power <= 5; power++) {
    for (const step of [1, 2, 5]) {
      const unit = step * 10 ** power;
      if (unit * scale >= 3.5 && unit * scale <= 16) return unit;
    }
  }
  return 0;
}

/**
 * @param {number} unit
 * @param {Measure} measure
 */
export function unitText(unit, measure) {
  if (measure === "share" || measure === "proximity") return `${+(unit * 100).toPrecision(3)}%`;
  const number = +unit.toPrecision(3);
  return inLogits(measure) ? `${number} logit` : `length ${number}`;
}
