/** The river through an open layer: before, between and after what is written into it. */

import { count } from "../../../words/figures.js";
import { mixerOf, nodeName } from "../../../words/names.js";
import { shadeOf } from "../../shared/scales.js";
import { fitLabel, fitText, textWidth } from "../../shared/text.js";
import { LEAD } from "./parts.js";
import { otherLabel, thereFits, thereLabel } from "./river.js";

/** @typedef {import("../../shared/graph.js").GraphIndex} GraphIndex */
/** @typedef {import("./columns.js").Column} Column */
/** @typedef {import("./parts.js").SceneCell} SceneCell */
/** @typedef {import("./parts.js").RiverText} RiverText */

/** Captions have little room. */
const SHORT = { attention: "attention", opaque: "opaque", both: "both" };

/**
 * @param {GraphIndex} index
 * @param {{parts: import("../../shared/graph.js").LayerParts}} content
 * @param {Column} column
 * @param {{midX: number, postX: number, tail: number}} stops
 */
export function riverThrough(index, { parts }, column, { midX, postX, tail }) {
  const end = column.x + column.width + tail;
  const isLast = parts.layer === index.layers.length - 1;
  const { pre, mid, mlp, post } = parts;
  const mixed = `after ${SHORT[mixerOf(index.graph, parts.layer)]}`;
  // Where nothing joins after the middle, the layer ends with what joined there.
  const endX = mlp || mid ? postX : midX;
  const joints = [
    { node: pre, word: "before", x: column.x },
    { node: mid, word: mixed, x: midX + LEAD },
    { node: post, word: mlp ? "after MLP" : mixed, x: endX + LEAD },
  ].filter((joint) => joint.node !== undefined);
  /** @type {SceneCell[]} */
  const cells = [];
  /** @type {RiverText[]} */
  const texts = [];
  /** @type {import("./parts.js").RankPoint[]} */
  const ranks = [];
  joints.forEach(({ node, word, x }, at) => {
    if (!node) return;
    const width = (joints[at + 1]?.x ?? end) - x;
    const shade = shadeOf(node.target_rank);
    cells.push({
      id: node.id,
      kind: node.kind,
      layer: node.layer,
      x,
      width,
      shade,
      name: nodeName(index, node, null, "logit"),
      round: isLast && at === joints.length - 1 ? "right" : "none",
    });
    const indent = at === 0 ? 14 : 12;
    texts.push({
      key: node.id,
      x: x + indent,
      ...fitLabel(node, width - indent - 6, 12),
      was: fitText(otherLabel(index.graph, node) ?? "", width - indent - 6, 10),
      there: otherLabel(index.graph, node)
        ? undefined
        : thereFits(thereLabel(index.graph, node) ?? "", width - indent - 6),
      caption: captionThatFits(node.target_rank, word, width - indent - 4),
      shade,
      anchor: "start",
      size: 12,
      muted: false,
    });
    if (at > 0 && node.target_rank !== null) {
      ranks.push({ x: x + Math.min(40, width / 2), rank: node.target_rank, id: node.id });
    }
  });
  return { cells, texts, ranks, breaks: joints.map(({ x }) => x) };
}

/**
 * @param {number | null} rank
 * @param {string} word
 * @param {number} room
 */
function captionThatFits(rank, word, room) {
  if (rank === null) return fitText(word, room, 9.5, "sans");
  const number = count(rank);
  const wordings = [`${word} · rank ${number}`, `rank ${number}`, number];
  return wordings.find((text) => textWidth(text, 9.5, "sans") * 0.97 <= room) ?? "";
}
