/** An open layer: both halves, the wholes beside the river, and the river's way through. */

import { formatValue } from "../../../words/figures.js";
import { nodeName, seenName } from "../../../words/names.js";
import { differenceOf, nodeValue, thereValue } from "../../shared/graph.js";
import { commonScale, ribbonWidth, signOf } from "../../shared/scales.js";
import { fitLabel, textWidth } from "../../shared/text.js";
import { attentionHeight, placeAttention } from "./attention.js";
import { shapeOf } from "./blockContent.js";
import { gridForWidth } from "./grid.js";
import { CAPTION, headings, measuredHeading } from "./headings.js";
import { withMeasured } from "./measured.js";
import { mlpHeight, placeMlp } from "./mlp.js";
import { BANK, LEAD, MOUTH_DEPTH, NAME_LINE, normRing, ribbon, writerShape } from "./parts.js";
import { levelLine, ribbonPath, stack, tributaryLine, turningLine } from "./ribbons.js";
import { beside as besideWords, saysNothing } from "./rows.js";
import { scaleMark } from "./scale.js";
import { riverThrough } from "./through.js";

/** @typedef {import("../../../types.js").Measure} Measure */
/** @typedef {import("../../../types.js").Node} Node */
/** @typedef {import("../../shared/graph.js").GraphIndex} GraphIndex */
/** @typedef {import("./blockContent.js").BlockContent} BlockContent */
/** @typedef {import("./columns.js").Column} Column */
/** @typedef {import("./parts.js").SceneNode} SceneNode */
/** @typedef {import("./parts.js").SceneRibbon} SceneRibbon */
/** @typedef {import("./parts.js").SceneCell} SceneCell */
/** @typedef {import("./parts.js").RiverText} RiverText */
/** @typedef {import("./parts.js").SceneText} SceneText */

/**
 * @typedef {object} BlockFrame What both halves are placed in, and what they add to.
 * @property {GraphIndex} index
 * @property {number} layer
 * @property {Measure} measure
 * @property {import("./grid.js").Grid} grid
 * @property {number} x
 * @property {number} scale
 * @property {number} memoryScale
 * @property {number} ln2X
 * @property {import("./detail.js").Detail} detail
 * @property {Set<string>} unfolded Ids of heads.
 * @property {SceneNode[]} nodes
 * @property {SceneRibbon[]} ribbons
 *
 * @typedef {object} Outflow A row's ribbon into the whole.
 * @property {string} id
 * @property {number} x Where it begins to turn.
 * @property {number} [fromX] Where it leaves its row, if it goes level for a while.
 * @property {number} [fromY]
 * @property {number} [levelX] Where it is level again, before it passes other rows.
 * @property {number} y
 * @property {number} width
 * @property {number | null} value
 * @property {import("./parts.js").SceneRibbon["tone"]} tone
 *
 * @typedef {object} Panel
 * @property {number} layer
 * @property {number} x
 * @property {number} y
 * @property {number} width
 * @property {number} height
 * @property {SceneText[]} headings
 * @property {boolean} pending
 * @property {{x: number, y: number, height: number, text: string} | null} scale
 * @property {{x: number, y: number, width: number}[]} skeleton
 *
 * @typedef {object} PlacedBlock
 * @property {Panel} panel
 * @property {SceneNode[]} nodes
 * @property {SceneRibbon[]} ribbons
 * @property {SceneCell[]} cells
 * @property {RiverText[]} texts
 * @property {number[]} breaks
 * @property {import("./attention.js").SourceChip[]} sources
 * @property {import("./parts.js").RankPoint[]} ranks
 * @property {number} midX
 * @property {number} postX
 * @property {string[]} folded Ids of the heads that are shown as one line.
 */

const WIDEST_MEMORY = 11;
/**
 * @param {BlockContent} content
 * @param {import("./detail.js").Detail} detail
 */
export function blockReach(content, detail) {
  const { head, foot } = detail.density;
  return {
    above: BANK + attentionHeight(content, detail) + head,
    below: BANK + mlpHeight(content, detail) + foot,
  };
}

/** Whether a measure says how much of its own whole a part is, and so differs from head to head. */
const isRelative = (/** @type {Measure} */ measure) =>
  measure === "share" || measure === "proximity";

/**
 * One scale within a block, so that a head and a neuron can be compared by eye.
 * @param {GraphIndex} index
 * @param {BlockContent} content
 * @param {Measure} measure
 * @param {number} stackRoom
 */
function blockScale(index, content, measure, stackRoom) {
  const value = (/** @type {Node} */ node) => nodeValue(index, node, measure);
  const total = (/** @type {(number | null)[]} */ values) =>
    values.reduce((/** @type {number} */ sum, each) => sum + Math.abs(each ?? 0), 0);
  const { mix } = content.parts;
  const heads = [...content.bands.map(({ head }) => head), ...content.attentionOthers].map(value);
  const opaque = [mix ? value(mix) : null];
  const neurons = [...content.neurons.map(({ neuron }) => neuron), ...content.mlpOthers].map(value);
  return commonScale([
    { values: heads, room: 18 },
    { values: neurons, room: 14 },
    { values: [total(heads), total(neurons), ...opaque], room: stackRoom },
  ]);
}

/**
 * @param {GraphIndex} index
 * @param {BlockContent} content
 * @param {Column} column
 * @param {Measure} measure
 * @param {object} how
 * @param {number} how.tail Extra length of the river after the last layer.
 * @param {import("./detail.js").Detail} how.detail
 * @param {Set<string>} how.unfolded Ids of heads.
 * @param {import("../../../types.js").LayerEffects} [how.effects] Measured.
 * @returns {PlacedBlock}
 */
export function placeBlock(index, content, column, measure, { tail, detail, unfolded, effects }) {
  const grid = gridForWidth(shapeOf(content.parts, content, index.there !== null), column.width);
  const scale = blockScale(index, content, measure, grid.stackRoom);
  /** @type {BlockFrame} */
  const frame = {
    index,
    layer: content.layer,
    measure,
    grid,
    x: column.x,
    scale,
    memoryScale: isRelative(measure) ? WIDEST_MEMORY : scale,
    ln2X: column.x + grid.midX + LEAD + 12,
    detail,
    unfolded,
    nodes: [],
    ribbons: [],
  };
  const midX = column.x + grid.midX;
  const postX = column.x + grid.postX;
  const upper = placeAttention(content, frame);
  const lower = placeMlp(content, frame);
  placeWholes(frame, content.parts, upper.outflows, lower.outflows, { midX, postX });
  placeNorms(content, frame);

  const { above, below } = blockReach(content, detail);
  const mark = scaleMark(frame, column.x + column.width, above);
  return {
    panel: {
      layer: content.layer,
      x: column.x,
      y: -above,
      width: column.width,
      height: above + below,
      headings: [
        ...headings(content, frame, upper.top, lower.top),
        ...measuredHeading(frame, NAME_LINE - above, mark, effects),
      ],
      pending: false,
      scale: mark,
      skeleton: [],
    },
    nodes: effects
      ? frame.nodes.map((node) => withMeasured(node, effects.nodes[node.id]?.measured, scale))
      : frame.nodes,
    ribbons: frame.ribbons,
    sources: upper.sources,
    midX,
    postX,
    folded: content.bands.flatMap(({ head }) => (frame.unfolded.has(head.id) ? [] : head.id)),
    ...riverThrough(index, content, column, { midX, postX, tail }),
  };
}

/**
 * @typedef {Pick<BlockFrame, "index" | "measure" | "scale" | "layer" | "x" | "grid" |
 *   "detail" | "nodes" | "ribbons">} WholeFrame
 */

/**
 * What the layer writes, beside the river: an opaque part in attention's place, or after it.
 * @param {WholeFrame} frame
 * @param {import("../../shared/graph.js").LayerParts} parts
 * @param {Outflow[]} upper
 * @param {Outflow[]} lower
 * @param {{midX: number, postX: number}} places
 */
export function placeWholes(frame, { attention, mix, mlp }, upper, lower, { midX, postX }) {
  placeWhole(frame, attention, upper, midX, "above");
  if (attention) placeWhole(frame, mix, [], midX + 0.45 * (postX - midX), "above", "right");
  else placeWhole(frame, mix, [], midX, "above");
  placeWhole(frame, mlp, lower, postX, "below");
}

/** @type {Record<string, string>} */
const WHOLE_WORDS = { attention: "attention", opaque: "opaque", mlp: "MLP" };

/**
 * @param {WholeFrame} frame
 * @param {Node | undefined} node
 * @param {Outflow[]} outflows
 * @param {number} x
 * @param {"above" | "below"} bank
 * @param {"left" | "right"} [side] Where its words stand.
 */
function placeWhole(frame, node, outflows, x, bank, side = "left") {
  if (!node) return;
  const { index, measure, scale, layer } = frame;
  const outward = bank === "above" ? -1 : 1;
  const y = outward * (BANK + frame.detail.density.pill);
  const write = index.from.get(node.id)?.find(({ kind }) => kind === "write");
  const value = write?.[measure] ?? null;
  const outWidth = ribbonWidth(value, scale, frame.grid.stackRoom);

  // Far rows turn last, so they come to lie outermost and no ribbon crosses another.
  const nearestFirst = [...outflows].sort((a, b) => Math.abs(a.y) - Math.abs(b.y));
  const ends = stack(
    nearestFirst.map(({ width }) => width),
    x,
  );
  const stacked = nearestFirst.reduce((sum, { width }) => sum + width, 0);
  const pill = Math.max(stacked, outWidth, 7);
  const shape = writerShape(node.kind, pill);
  const edge = outward * (shape.height / 2);
  nearestFirst.forEach((outflow, at) => {
    frame.ribbons.push(outflowRibbon(outflow, node.id, ends[at], y + edge));
  });

  const toLeft = side === "left";
  const room = toLeft
    ? frame.grid.headLabel + 40
    : frame.grid.width - (x - frame.x) - pill / 2 - 22;
  const left = toLeft ? -pill / 2 - room - 12 : -pill / 2 - 4;
  const number = formatValue(value, measure);
  const kind = WHOLE_WORDS[node.kind] ?? node.kind;
  /** @type {Pick<SceneText, "x" | "anchor">} */
  const beside = toLeft ? { x: -pill / 2 - 10, anchor: "end" } : { x: pill / 2 + 10 };
  const unsaid = saysNothing(node);
  const word = unsaid ? { text: "nothing" } : fitLabel(node, room, 13);
  const seen = [word.text, number ? `${kind} ${number}` : kind];
  // On a narrow screen other words stand there.
  const hasRoom = toLeft && frame.grid.tokens;
  const there = hasRoom ? thereBeside(frame, node, value, word.text, beside.x, room) : [];
  frame.nodes.push({
    id: node.id,
    kind: node.kind,
    layer,
    x,
    y,
    shape,
    box: { x: left, y: -17, width: room + pill + 16, height: 34 },
    tone: signOf(value, measure),
    texts: [
      {
        ...beside,
        y: -2,
        ...word,
        face: unsaid ? "rest" : "strong",
        tone: unsaid ? undefined : "ink",
      },
      {
        ...beside,
        y: 12,
        text: seen[1],
        face: "number",
        tone: signOf(value, measure),
      },
      ...there,
    ],
    name:
      seenName(index, node, value, measure, [...seen, ...there.map(({ text }) => text)]) +
      besideWords(index, node, value, measure),
  });
  if (!write) return;
  const mouth = tributaryLine([x, y - edge], outward * BANK, {
    lead: LEAD + 4,
    depth: MOUTH_DEPTH,
  });
  frame.ribbons.push(
    ribbon({
      source: node.id,
      target: write.target,
      kind: "write",
      tone: signOf(value, measure),
      path: ribbonPath(mouth, outWidth),
      bank,
    }),
  );
}

/**
 * What a whole adds in the other prompt, and by how much that differs, left of its word.
 * @param {WholeFrame} frame
 * @param {Node} node
 * @param {number | null} value
 * @param {string} own The word that ends at `end`.
 * @param {number} end
 * @param {number} room
 * @returns {SceneText[]}
 */
function thereBeside({ index, measure }, node, value, own, end, room) {
  const there = thereValue(index, node, measure);
  if (there === null) return [];
  const difference = differenceOf(index, node, value, measure);
  const words = [`there ${formatValue(there, measure)}`];
  if (difference !== null) words.unshift(`${words[0]}, Δ ${formatValue(difference, measure)}`);
  const x = end - textWidth(own, 13) - 9;
  const fits = (/** @type {string} */ text) =>
    textWidth(text, CAPTION, "sans") <= room + x - end + 60;
  const text = words.find(fits);
  return text ? [{ x, y: -2, text, face: "there", anchor: "end" }] : [];
}

/**
 * @param {Outflow} outflow
 * @param {string} target
 * @param {number} endX
 * @param {number} endY
 */
function outflowRibbon(outflow, target, endX, endY) {
  const { id, x, fromX = x, y, width, tone } = outflow;
  const { fromY = y, levelX = x } = outflow;
  const turn = turningLine([x, y], [endX, endY]);
  const line = fromX < x ? [...levelLine([fromX, fromY], [levelX, y]), ...turn] : turn;
  return ribbon({ source: id, target, kind: "part", tone, path: ribbonPath(line, width) });
}

/**
 * @param {BlockContent} content
 * @param {BlockFrame} frame
 */
function placeNorms({ ln1, ln2 }, frame) {
  const { index, measure, x, grid } = frame;
  if (ln1) {
    const name = nodeName(index, ln1, null, measure);
    frame.nodes.push(normRing(ln1, x + grid.keyX - 9, -BANK, name));
  }
  if (ln2) {
    frame.nodes.push(normRing(ln2, frame.ln2X, BANK, nodeName(index, ln2, null, measure)));
  }
}
