/** The key to the routes view, and what it leaves out. */

import { limitsOf } from "../../../state/keep.js";
import { inLogits } from "../../../words/figures.js";
import { scaleUnit, unitText } from "../../shared/legendLayout.js";
import { isSigned } from "../../shared/scales.js";
import { textWidth } from "../../shared/text.js";
import { LEFT } from "./grid.js";

/** @typedef {import("../../../types.js").FlowGraph} FlowGraph */
/** @typedef {import("../../../types.js").Routes} Routes */
/** @typedef {import("../../../types.js").Keep} Keep */
/** @typedef {import("./model.js").RoutesModel} RoutesModel */

const LEGEND_SIZE = 11;
const SWATCH = 20;
const LINE = 20;

/**
 * @param {Routes} routes
 * @param {FlowGraph} graph
 * @param {RoutesModel} model
 * @param {number} scale
 * @param {{right: number, y: number}} room
 * @returns {import("../../shared/legendLayout.js").Legend}
 */
export function placeKey(routes, graph, model, scale, { right, y }) {
  const against = graph.foil ? `${graph.target.text} − ${graph.foil.text}` : graph.target.text;
  const { measure } = routes;
  /** @type {Pick<import("../../shared/legendLayout.js").LegendItem, "key" | "mark" | "text">[]} */
  const wanted = isSigned(measure)
    ? [
        { key: "positive", mark: "positive", text: signWords(measure, `raises ${against}`, "for") },
        {
          key: "negative",
          mark: "negative",
          text: signWords(measure, `lowers ${against}`, "against"),
        },
      ]
    : [
        {
          key: "unsigned",
          mark: "unsigned",
          text: measure === "norm" ? "influence, by length" : "influence, by proximity",
        },
      ];
  const unit = scaleUnit(scale);
  if (unit) {
    const plural = inLogits(measure) && unit !== 1 ? "s" : "";
    const says = unitText(unit, inLogits(measure) ? "logit" : "share") + plural;
    const of = measure === "effect" ? "of effect" : "of the prediction";
    wanted.push({ key: "scale", mark: "scale", text: `${says} ${of}` });
  }
  if (model.marks.some(({ kind }) => kind === "mlp")) {
    wanted.push({ key: "mlp", mark: /** @type {any} */ ("mlp"), text: "through an MLP" });
  }
  if (model.marks.some(({ kind }) => kind === "value")) {
    wanted.push({
      key: "own",
      mark: /** @type {any} */ ("own"),
      text: "through a head that reads its own token",
    });
  }
  const left = LEFT - 8;
  let [x, line] = [left, 0];
  const items = wanted.map((item) => {
    const width = SWATCH + 7 + textWidth(item.text, LEGEND_SIZE, "sans") * 0.97;
    if (x > left && x + width > right) [x, line] = [left, line + 1];
    const markHeight = item.mark === "scale" ? Math.max(1, unit * scale) : 8;
    const placed = { ...item, x, y: line * LINE, markWidth: SWATCH, markHeight };
    x += width + 22;
    return placed;
  });
  return { items, y, height: (line + 1) * LINE + 8 };
}

/**
 * What a part must carry to be drawn, where nothing else decides that.
 * @param {Keep} keep
 */
export function leastOf(keep) {
  const { threshold, count, mass } = limitsOf(keep, "routes");
  return count === null && mass === null ? threshold : null;
}

/**
 * @param {import("../../../types.js").Measure} measure
 * @param {string} logits
 * @param {string} side
 */
const signWords = (measure, logits, side) =>
  inLogits(measure) ? logits : `${side} the prediction`;

/**
 * @param {string} words
 * @param {number} width
 * @param {import("../../shared/legendLayout.js").Legend} legend That it stands under.
 */
export function placeAccount(words, width, { y, height }) {
  const room = width - LEFT - 20;
  /** @type {string[]} */
  const lines = [];
  for (const word of words.split(" ")) {
    const last = lines[lines.length - 1];
    const longer = last === undefined ? word : `${last} ${word}`;
    if (last !== undefined && textWidth(longer, 12, "sans") * 0.9 <= room) {
      lines[lines.length - 1] = longer;
    } else lines.push(word);
  }
  return { lines, x: LEFT - 8, y: y + height + 6 };
}
