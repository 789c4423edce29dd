/** The closed layers: what joins the river from above and below, and who writes most. */

import { formatValue } from "../../../words/figures.js";
import { layerName, nodeName } from "../../../words/names.js";
import { edgeBetween } from "../../shared/graph.js";
import { placeLabels } from "../../shared/labels.js";
import { commonScale, ribbonWidth, signOf } from "../../shared/scales.js";
import { fitLabel, textWidth } from "../../shared/text.js";
import { closedGroups, together } from "./gathered.js";
import { BANK, MOUTH_DEPTH, ribbon, WRITER_DISTANCE, writerShape } from "./parts.js";
import { ribbonPath, tributaryLine } from "./ribbons.js";

/** @typedef {import("../../../types.js").Measure} Measure */
/** @typedef {import("../../../types.js").Node} Node */
/** @typedef {import("../../shared/graph.js").GraphIndex} GraphIndex */
/** @typedef {import("../../shared/graph.js").LayerParts} LayerParts */
/** @typedef {import("./columns.js").Columns} Columns */
/** @typedef {import("./columns.js").Column} Column */
/** @typedef {import("./parts.js").SceneNode} SceneNode */
/** @typedef {import("./parts.js").SceneRibbon} SceneRibbon */

const WIDEST_RIBBON = 24;
const LABEL_LANE = 34;
const LABEL_SIZE = 12;
const NUMBER_SIZE = 11;

/**
 * @typedef {object} Write What one sublayer adds to the stream.
 * @property {Node} node
 * @property {string} target
 * @property {number | null} value
 *
 * @typedef {"above" | "below"} Side
 */

/**
 * What joins the river in a layer: from above attention, or what stands in its place, and from below
 * the MLP. Either side may be empty.
 * @param {GraphIndex} index
 * @param {LayerParts} parts
 * @param {Measure} measure
 * @returns {Record<Side, Write[]>}
 */
export function layerWrites(index, parts, measure) {
  /**
   * @param {Node | undefined} node
   * @param {(Node | undefined)[]} targets The first that it flows into, or else the first there is.
   */
  const write = (node, targets) => {
    const there = targets.filter((target) => target !== undefined);
    if (!node || there.length === 0) return [];
    const target = there.find(({ id }) => edgeBetween(index, node.id, id)) ?? there[0];
    const edge = edgeBetween(index, node.id, target.id);
    return [{ node, target: target.id, value: edge?.[measure] ?? null }];
  };
  const { attention, mix, mid, mlp, post } = parts;
  return {
    above: [...write(attention, [mid, post]), ...write(mix, [mid, post])],
    below: write(mlp, [post]),
  };
}

/**
 * @param {GraphIndex} index
 * @param {Measure} measure
 * @param {Columns} columns
 * @param {Slot[]} slots
 */
function overviewScale(index, measure, { closedWidth }, slots) {
  const gathered = slots.filter(({ writes }) => writes.length > 1);
  const values = index.layers.flatMap((parts) => {
    const { above, below } = layerWrites(index, parts, measure);
    return [...above, ...below].map(({ value }) => value);
  });
  const room = (/** @type {number} */ width) => Math.min(WIDEST_RIBBON, Math.max(5, width * 0.72));
  return commonScale([
    { values, room: room(closedWidth) },
    {
      values: gathered.map(({ value }) => value),
      room: room(Math.max(0, ...gathered.map(({ width }) => width))),
    },
  ]);
}

/**
 * @typedef {object} LayerArea
 * @property {number} layer
 * @property {number} x
 * @property {number} width
 * @property {boolean} open
 * @property {string} name
 *
 * @typedef {object} WriterLabel
 * @property {string} id
 * @property {number | null} layer
 * @property {number} x
 * @property {number} y Of the token's baseline.
 * @property {number} width
 * @property {string} text
 * @property {number} [piece] How much of the text is the label: the rest is of the word that it begins.
 * @property {string} number
 * @property {import("../../shared/scales.js").Sign} tone
 * @property {{x: number, from: number, to: number}} leader
 */

/**
 * @param {GraphIndex} index
 * @param {Columns} columns
 * @param {Measure} measure
 */
export function placeOverview(index, columns, measure) {
  const slots = closedGroups(columns).flatMap((group) => slotsOf(index, group, measure));
  const scale = overviewScale(index, measure, columns, slots);
  /** @type {SceneNode[]} */
  const nodes = [];
  /** @type {SceneRibbon[]} */
  const ribbons = [];
  for (const slot of slots) placeSlot(index, slot, scale, measure, nodes, ribbons);
  return { nodes, ribbons, scale };
}

/**
 * @typedef {Write & {x: number, width: number}} PlacedWrite Its middle, and its room in the column.
 *
 * @typedef {object} Slot What has one mark: one write, or those of some narrow layers.
 * @property {number} x Its middle.
 * @property {number} width
 * @property {Side} side
 * @property {PlacedWrite[]} writes
 * @property {number | null} value
 */

/**
 * @param {GraphIndex} index
 * @param {Column[]} group
 * @param {Measure} measure
 * @returns {Slot[]}
 */
function slotsOf(index, group, measure) {
  return /** @type {Side[]} */ (["above", "below"]).flatMap((side) => {
    const writes = group.flatMap((column) => {
      const all = layerWrites(index, index.layers[column.layer], measure)[side];
      const width = column.width / all.length;
      return all.map((write, at) => ({ ...write, x: column.x + (at + 0.5) * width, width }));
    });
    const slot = (/** @type {PlacedWrite[]} */ held) => {
      const [first, last] = [held[0], held[held.length - 1]];
      const [from, to] = [first.x - first.width / 2, last.x + last.width / 2];
      const value = together(
        held.map((write) => write.value),
        measure,
      );
      return { side, writes: held, value, x: (from + to) / 2, width: to - from };
    };
    if (writes.length === 0) return [];
    return group.length > 1 ? [slot(writes)] : writes.map((write) => slot([write]));
  });
}

/** Of what is gathered only one has a mark. */
const NO_SHAPE = { x: 0, y: 0, width: 0, height: 0, radius: 0 };

/**
 * @param {GraphIndex} index
 * @param {Slot} slot
 * @param {number} scale
 * @param {Measure} measure
 * @param {SceneNode[]} nodes
 * @param {SceneRibbon[]} ribbons
 */
function placeSlot(index, { x, width: room, side, writes, value }, scale, measure, nodes, ribbons) {
  const middle = writes[writes.length >> 1];
  const { node, target } = middle;
  const outward = side === "above" ? -1 : 1;
  const y = outward * WRITER_DISTANCE;
  const width = ribbonWidth(value, scale);
  const pill = Math.max(Math.min(4.5, Math.max(2.5, room - 3), Math.max(1, room - 0.4)), width);
  const tone = signOf(value, measure);
  const shape = writerShape(node.kind, pill);
  for (const write of writes) {
    nodes.push({
      id: write.node.id,
      kind: write.node.kind,
      layer: write.node.layer,
      x: write.x,
      y,
      shape: write === middle ? { ...shape, x: shape.x + x - write.x } : NO_SHAPE,
      box: { x: -write.width / 2, y: -13, width: write.width, height: 26 },
      tone,
      texts: [],
      name: nodeName(index, write.node, write.value, measure),
    });
  }
  const line = tributaryLine([x, y - outward * (shape.height / 2)], outward * BANK, {
    lead: Math.min(22, Math.max(6, room * 0.6)),
    depth: MOUTH_DEPTH,
  });
  ribbons.push(
    ribbon({
      source: node.id,
      target,
      kind: "write",
      tone,
      path: ribbonPath(line, width),
      bank: outward < 0 ? "above" : "below",
      of: writes.map((write) => write.node.id),
    }),
  );
}

/**
 * Labels of the strongest writers on one side.
 * @param {GraphIndex} index
 * @param {Columns} columns
 * @param {Side} side
 * @param {Measure} measure
 * @returns {{labels: WriterLabel[], lanes: number}}
 */
export function labelWriters(index, columns, side, measure) {
  const closed = columns.columns.filter((column) => !column.open);
  const writes = closed.flatMap((column) => {
    const all = layerWrites(index, index.layers[column.layer], measure)[side];
    return all.flatMap((write, at) => {
      const anchor = column.x + ((at + 0.5) * column.width) / all.length;
      return write.value && write.node.label ? [{ ...write, value: write.value, anchor }] : [];
    });
  });
  const span = closed.length * columns.closedWidth;
  const most = Math.max(1, Math.min(6, Math.round(span / 130)));
  const largest = Math.max(0, ...writes.map(({ value }) => Math.abs(value)));
  const overall = largestWrite(index, measure);
  const strongest = writes
    .filter(({ value }) => Math.abs(value) >= Math.min(0.14 * overall, 0.6 * largest))
    .sort((a, b) => Math.abs(b.value) - Math.abs(a.value))
    .slice(0, most);

  const texts = new Map(
    strongest.map(({ node, value }) => {
      const word = fitLabel(node, 104, LABEL_SIZE);
      const number = formatValue(value, measure, { coarse: true });
      const width = Math.max(
        textWidth(word.text, LABEL_SIZE) * 1.02,
        textWidth(number, NUMBER_SIZE, "sans"),
      );
      return [node.id, { word, number, width, value, node }];
    }),
  );
  const last = columns.columns[columns.columns.length - 1];
  const placed = placeLabels(
    strongest.map(({ node, value, anchor }) => ({
      id: node.id,
      anchor,
      width: texts.get(node.id)?.width ?? 0,
      priority: Math.abs(value),
    })),
    {
      lanes: 3,
      from: columns.start.x - 40,
      to: last.x + last.width + columns.tail.width,
      blocked: columns.columns.filter(({ open }) => open).map(({ x, width }) => [x, x + width]),
    },
  );
  const outward = side === "above" ? -1 : 1;
  const labels = placed.flatMap(({ id, anchor, x, width, lane }) => {
    const entry = texts.get(id);
    if (!entry) return [];
    const near = outward * (WRITER_DISTANCE + 12 + lane * LABEL_LANE);
    const y = outward < 0 ? near - 15 : near + 11;
    return [
      {
        id,
        layer: entry.node.layer,
        x: x + width / 2,
        y,
        width,
        ...entry.word,
        number: entry.number,
        tone: signOf(entry.value, measure),
        leader: {
          x: anchor,
          from: outward * (WRITER_DISTANCE + 7),
          to: lane === 0 ? outward * (WRITER_DISTANCE + 7) : near - outward * 3,
        },
      },
    ];
  });
  return { labels, lanes: Math.max(0, ...placed.map(({ lane }) => lane + 1)) };
}

/**
 * @param {GraphIndex} index
 * @param {Measure} measure
 */
function largestWrite(index, measure) {
  const writes = index.layers.flatMap((parts) =>
    Object.values(layerWrites(index, parts, measure)).flat(),
  );
  return Math.max(0, ...writes.map(({ value }) => Math.abs(value ?? 0)));
}

/** @param {number} lanes */
export const overviewReach = (lanes) => WRITER_DISTANCE + 16 + lanes * LABEL_LANE;

/**
 * @param {GraphIndex} index
 * @param {Columns} columns
 * @param {Measure} measure
 * @returns {LayerArea[]}
 */
export function layerAreas(index, columns, measure) {
  return columns.columns.map(({ layer, x, width, open }) => {
    const parts = index.layers[layer];
    const { above, below } = layerWrites(index, parts, measure);
    return { layer, x, width, open, name: layerName(index, parts, [...above, ...below], measure) };
  });
}
