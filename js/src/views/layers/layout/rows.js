/** A row of a block: a bar, a word, and what it adds; ribbons arrive at its left, leave at its right. */

import { count, formatValue } from "../../../words/figures.js";
import { restUnit, seenName } from "../../../words/names.js";
import { differenceOf, thereValue } from "../../shared/graph.js";
import { signOf } from "../../shared/scales.js";
import { fitLabel, textWidth } from "../../shared/text.js";
import { LABEL_GAP, TAG_ROOM } from "./grid.js";

/** @typedef {import("../../../types.js").Node} Node */
/** @typedef {import("../../../types.js").Measure} Measure */
/** @typedef {import("../../shared/graph.js").GraphIndex} GraphIndex */
/** @typedef {import("./parts.js").SceneNode} SceneNode */
/** @typedef {import("./parts.js").SceneText} SceneText */

export const FACE_SIZE = { token: 11.5, strong: 12, small: 10.5, rest: 10 };

/**
 * @typedef {object} RowSpec
 * @property {GraphIndex} index
 * @property {Measure} measure
 * @property {Node} node
 * @property {number | null} value
 * @property {number} x
 * @property {number} right
 * @property {number} y
 * @property {number} barWidth
 * @property {number} barHeight
 * @property {number} rowHeight
 * @property {number} labelRoom
 * @property {"token" | "strong" | "small"} face
 * @property {string} [number]
 * @property {string} [tag]
 * @property {SceneNode["tone"]} [tone]
 * @property {number} [thereRoom] Left of its number, for the other prompt's.
 * @property {boolean} [roomy] Whether there is a line under the number, for the difference.
 * @property {boolean} [terse] Cut "more neurons" to "more".
 */

/**
 * Whether a part was knocked out: it says nothing, whatever a lens reads in that.
 * @param {Node} node
 */
export const saysNothing = ({ norm, kind }) => norm === 0 && kind !== "bias";

/**
 * @param {RowSpec} spec
 * @returns {SceneNode}
 */
export function rowNode(spec) {
  const { index, measure, node, value, x, right, y, barWidth, barHeight, rowHeight } = spec;
  const isRest = ["rest", "rounding", "edit"].includes(node.kind);
  const tone = spec.tone ?? (isRest ? "rest" : signOf(value, measure));
  const number = spec.number ?? formatValue(value, measure);
  const isNothing = /^0(\.0+)?%?$/.test(number);
  const unsaid = (node.kind === "bias" && !node.label) || saysNothing(node);
  const face = isRest || unsaid ? "rest" : spec.face;
  const textX = barWidth + LABEL_GAP;
  /** @type {SceneText[]} */
  const texts = [
    {
      x: textX,
      y: FACE_SIZE[spec.face] * 0.35,
      ...rowWord(spec, face),
      face,
      tone: face === "rest" ? undefined : "ink",
    },
  ];
  const tag = spec.tag ?? (node.kind === "bias" && face !== "rest" ? "bias" : null);
  const { thereRoom = 0 } = spec;
  if (tag) {
    texts.push({ x: right - x - 51 - thereRoom, y: 3.5, text: tag, face: "tag", anchor: "end" });
  }
  if (number) {
    texts.push({
      x: right - x - 5,
      y: 3.7,
      text: number,
      face: "number",
      anchor: "end",
      tone: isNothing ? undefined : numberTone(tone, value, measure),
    });
  }
  if (thereRoom > 0) {
    const end = textX + textWidth(texts[0].text, FACE_SIZE[face]);
    texts.push(...thereTexts(spec, right - x - 5, end));
  }
  const seen = texts.map(({ text }) => text);
  return {
    id: node.id,
    kind: node.kind,
    layer: node.layer,
    ...(node.only ? { only: true } : {}),
    x,
    y,
    shape: {
      x: 0,
      y: -barHeight / 2,
      width: barWidth,
      height: barHeight,
      radius: Math.min(2, barWidth / 2),
    },
    box: { x: -3, y: -rowHeight / 2, width: right - x + 3, height: rowHeight },
    tone,
    texts,
    name: seenName(index, node, value, measure, seen) + beside(index, node, value, measure),
  };
}

/**
 * @param {GraphIndex} index
 * @param {Node} node
 * @param {number | null} value
 * @param {Measure} measure
 * @returns {string} ", there −3.18, difference +6.35"
 */
export function beside(index, node, value, measure) {
  const there = thereValue(index, node, measure);
  const only = node.only ? ", only in the other prompt" : "";
  if (there === null) return only;
  const difference = differenceOf(index, node, value, measure);
  const differs = difference === null ? "" : `, difference ${formatValue(difference, measure)}`;
  return `${only}, there ${formatValue(there, measure)}${differs}`;
}

/**
 * The other prompt's number beside this one's; and where there is room, by how much they differ.
 * @param {RowSpec} spec
 * @param {number} end Where its own number ends.
 * @param {number} from Where its word ends.
 * @returns {SceneText[]}
 */
function thereTexts({ index, measure, node, value, roomy, thereRoom = 0 }, end, from) {
  const there = thereValue(index, node, measure);
  if (there === null) return [];
  const text = formatValue(there, measure);
  const difference = differenceOf(index, node, value, measure);
  // A count of many that are not shown apart may need the room.
  if (end - thereRoom - textWidth(text, 10.5, "sans") < from) return [];
  /** @type {SceneText} */
  const beside = { x: end - thereRoom - 1, y: 3.7, text, face: "there", anchor: "end" };
  if (!roomy || difference === null) return [beside];
  const differs = `Δ ${formatValue(difference, measure)}`;
  return [beside, { x: end, y: 20, text: differs, face: "there", anchor: "end" }];
}

/**
 * @param {SceneNode["tone"]} tone
 * @param {number | null} value
 * @param {Measure} measure
 */
function numberTone(tone, value, measure) {
  if (tone === "query") return undefined;
  return tone === "neutral" || tone === "rest" ? signOf(value, measure) : tone;
}

/**
 * @param {RowSpec} spec
 * @param {string} face
 */
function rowWord({ node, labelRoom, face: wanted, terse }, face) {
  if (node.kind === "rest" && node.rest) {
    const more = `+ ${count(node.rest.count)} more`;
    const wordings = [...(terse ? [] : [`${more} ${restUnit(node.rest)}`]), more];
    const fits = (/** @type {string} */ text) =>
      textWidth(text, FACE_SIZE.rest, "sans") * 0.91 <= labelRoom + (terse ? 4 : TAG_ROOM - 4);
    return { text: wordings.find(fits) ?? `+ ${count(node.rest.count)}` };
  }
  if (node.kind === "rest") return { text: "the rest" };
  if (saysNothing(node)) return { text: "nothing" };
  if (node.kind === "rounding") return { text: "rounding" };
  if (node.kind === "edit") return { text: "edited" };
  if (face === "rest") return { text: "bias" };
  return fitLabel(node, labelRoom, FACE_SIZE[wanted]);
}
