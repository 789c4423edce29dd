/** What stands over an open layer's columns, and beside its name. */

import { measuredWords } from "../../../words/interventions.js";
import { wordsOf } from "../../../words/lenses.js";
import { OPAQUE } from "../../../words/names.js";
import { fitText, textWidth } from "../../shared/text.js";
import { BAR, THERE_ROOM } from "./grid.js";
import { BANK } from "./parts.js";

/** @typedef {import("./block.js").BlockFrame} BlockFrame */
/** @typedef {import("./blockContent.js").BlockContent} BlockContent */
/** @typedef {import("./parts.js").SceneText} SceneText */

export const CAPTION = 10.5;

/**
 * How well effects were foretold, beside the layer's name.
 * @param {BlockFrame} frame
 * @param {number} y
 * @param {import("./block.js").Panel["scale"]} mark What stands to its right.
 * @param {import("../../../types.js").LayerEffects} [effects]
 * @returns {SceneText[]}
 */
export function measuredHeading({ x, layer, grid }, y, mark, effects) {
  const start = x + 28 + textWidth(`Layer ${layer}`, 13, "sans");
  const room = (mark?.x ?? x + grid.width - 40) - start - 8;
  const text = effects ? fitText(measuredWords(effects), room, CAPTION, "sans") : "";
  return text ? [{ x: start, y, text, face: "caption" }] : [];
}

/**
 * @param {BlockContent} content
 * @param {BlockFrame} frame
 * @param {number} top
 * @param {number} lowerTop
 * @returns {SceneText[]}
 */
export function headings({ parts, bands, neurons }, { x, grid, index }, top, lowerTop) {
  const heading = (/** @type {string} */ text, /** @type {number} */ at, /** @type {number} */ y) =>
    /** @type {SceneText} */ ({ x: x + at, y, text, face: "caption" });
  /** @type {SceneText[]} */
  const texts = [];
  const { attention, mix, mlp } = parts;
  const writes = wordsOf(index.graph).does;
  const lone = (/** @type {string} */ text) => fitText(text, grid.width - 28, 10.5, "sans");
  if (!attention) {
    const text = lone(mix ? `opaque: ${OPAQUE}` : "no attention in this layer");
    texts.push(heading(text, 14, top - 9));
  }
  if (!mlp) texts.push(heading(lone("no MLP in this layer"), 14, BANK + 24));
  /** The longest of some wordings that fits. */
  const fitting = (/** @type {string[]} */ words, /** @type {number} */ room) =>
    words.find((text) => textWidth(text, CAPTION, "sans") * 0.97 <= room) ?? "";
  if (grid.tokens && bands.some(({ memories }) => memories.length > 0)) {
    const key = fitting(["query, memory key", "query, key", "key"], grid.valueX - grid.keyX - 6);
    const value = fitting(["memory value", "value"], grid.headX - grid.valueX - 6);
    const from = fitting(["from token", "from"], grid.tokenRight + BAR.token - 4);
    texts.push(
      { ...heading(from, grid.tokenRight + BAR.token, top - 9), anchor: "end" },
      heading(key, grid.keyX, top - 9),
      heading(value, grid.valueX, top - 9),
    );
  }
  if (bands.length) texts.push(heading(`head ${writes}`, grid.headX, top - 9));
  const besides = (/** @type {number} */ y) =>
    /** @type {SceneText[]} */ ([
      { x: x + grid.headRight - 6 - THERE_ROOM, y, text: "there", face: "there", anchor: "end" },
      { x: x + grid.headRight - 5, y, text: "here", face: "caption", anchor: "end" },
    ]);
  if (grid.there > 0 && grid.tokens && bands.length) texts.push(...besides(top - 9));
  if (grid.there > 0 && grid.tokens && neurons.length) texts.push(...besides(lowerTop - 9));
  if (grid.rowX !== null) texts.push(heading("output rows", grid.rowX, top - 9));
  const looks = grid.neuronKeys && neurons.some(({ key }) => key);
  if (looks) {
    const words = ["neuron looks for", "looks for"];
    const text = fitting(words, grid.neuronX - grid.neuronKeyX - 6);
    texts.push(heading(text, grid.neuronKeyX, lowerTop - 9));
  }
  if (neurons.length && (grid.tokens || looks)) {
    texts.push(heading(`${looks ? "and" : "neuron"} ${writes}`, grid.neuronX, lowerTop - 9));
  }
  return texts;
}
