/** The map of effects as plain cells: a row a head, a sublayer or a token, a column a layer. Pure. */

import { signed, whole } from "../../words/format.js";
import { nameOfPart } from "../../words/interventions.js";
import { tokenText } from "../../words/words.js";

/** @import { EffectsMap, FlowGraph, Patching } from "../../types.js" */

/**
 * @typedef {object} MapCell
 * @property {string} id
 * @property {string} node Without the token that it is at.
 * @property {number | null} position Of a stream's cell, from 0.
 * @property {number | null} value
 * @property {number} part How strong its colour is, from 0 to 1.
 * @property {"positive" | "negative"} tone
 * @property {string} words "L23 · head 4: foretold +2.48, measured +2.75"
 */

/**
 * @param {EffectsMap} map
 * @param {"measured" | "predicted"} which
 * @param {FlowGraph} graph
 * @returns {{name: string, cells: (MapCell | null)[]}[]} Null where a layer has no such part.
 */
export function mapRows(map, which, graph) {
  return rowsOf(map, which, graph, signed);
}

/**
 * The same of what parts of the other prompt bring: a row a head, or a token.
 *
 * @param {Patching} map
 * @param {"measured" | "predicted"} which
 * @param {FlowGraph} graph
 * @param {number | null} [source] Of parts: the token that heads take from; null for the one that
 *   matters most to each.
 */
export function patchingRows({ over, columns, ...whole }, which, graph, source = null) {
  const ofHeads = over === "heads" || over === "parts";
  const map = over === "parts" ? fromSource(whole, which, source) : whole;
  const named = columns.map((column) => `${ofHeads ? "H" : "P"}${column}`);
  return rowsOf(
    { ...map, columns: named, over: ofHeads ? "heads" : "streams" },
    which,
    graph,
    partOfWay,
  );
}

/**
 * A sheet of what heads take from tokens: of one of these, or of each head the largest.
 *
 * @param {Omit<Patching, "over" | "columns">} map
 * @param {"measured" | "predicted"} which
 * @param {number | null} source
 */
function fromSource({ layers, ids, predicted, measured, sources = [], ...map }, which, source) {
  const by = { measured, predicted }[which];
  /** @param {(number | null)[]} row */
  const strongest = (row) => {
    const sizes = row.map((value) => Math.abs(value ?? 0));
    return sizes.indexOf(Math.max(...sizes));
  };
  const chosen = by.map((row) =>
    row.map((cells) => (source === null ? strongest(cells) : sources.indexOf(source))),
  );
  const pick = (/** @type {any[][][]} */ cube) =>
    cube.map((row, layer) => row.map((cells, head) => cells?.[chosen[layer][head]] ?? null));
  return {
    ...map,
    layers,
    ids: /** @type {(string | null)[][]} */ (pick(ids)),
    predicted: pick(predicted),
    measured: pick(measured),
  };
}

/**
 * @param {number} part Of the way to the other prompt.
 * @returns {string} "45%", "−3%"
 */
const partOfWay = (part) =>
  `${part <= -0.005 ? "−" : ""}${whole(Math.abs(Math.round(part * 100)))}%`;

/**
 * @param {EffectsMap} map
 * @param {"measured" | "predicted"} which
 * @param {FlowGraph} graph
 * @param {(value: number) => string} said
 * @returns {ReturnType<typeof mapRows>}
 */
function rowsOf(map, which, graph, said) {
  const most = Math.max(1e-9, ...map[which].flat().map((value) => Math.abs(value ?? 0)));
  return map.columns.map((name, column) => ({
    name: map.over === "streams" ? tokenText(graph, Number(name.slice(1))) : name,
    cells: map.layers.map((_, at) => {
      const id = map.ids[at][column];
      if (id === null) return null;
      const [foretold, measured] = [map.predicted[at][column], map.measured[at][column]];
      const value = map[which][at][column];
      const told = [
        foretold === null ? null : `foretold ${said(foretold)}`,
        measured === null ? null : `measured ${said(measured)}`,
      ].filter(Boolean);
      const [, where, node] = /^(?:P(\d+)\.)?(.+)$/.exec(id) ?? [];
      const position = where === undefined ? null : Number(where);
      const place = position === null ? "" : ` at ${tokenText(graph, position)}`;
      return {
        id,
        node,
        position,
        value,
        // A few are far larger than all others: the root leaves something of those to be seen.
        part: Math.sqrt(Math.abs(value ?? 0) / most),
        tone: (value ?? 0) < 0 ? "negative" : "positive",
        words: `${nameOfPart(node, graph)}${place}: ${told.join(", ")}`,
      };
    }),
  }));
}

/** @type {Record<string, [number, number]>} Rows and columns that a key goes on. */
const STEPS = { upper: [-1, 0], lower: [1, 0], west: [0, -1], east: [0, 1] };

/**
 * The next cell in the way of a key: what is not there is passed over.
 *
 * @param {(unknown | null)[][]} cells By row.
 * @param {[number, number]} from
 * @param {string} key "upper", "lower", "west", "east", "start" or "end" (of the row).
 * @returns {[number, number]} The same, where there is none.
 */
export function nextCell(cells, from, key) {
  const ends = key === "start" || key === "end";
  const [down, right] = ends ? [0, key === "start" ? 1 : -1] : (STEPS[key] ?? [0, 0]);
  const last = cells[from[0]].length - 1;
  let [row, column] = ends ? [from[0], key === "start" ? -1 : last + 1] : from;
  do {
    row += down;
    column += right;
    if (cells[row]?.[column]) return [row, column];
  } while (cells[row] && column >= 0 && column <= last && (down || right));
  return from;
}

/**
 * The strongest cell: where a reader begins.
 *
 * @param {(MapCell | null)[][]} cells
 * @returns {[number, number]}
 */
export function strongestCell(cells) {
  /** @type {[number, number]} */
  let best = [0, 0];
  cells.forEach((row, at) => {
    row.forEach((cell, column) => {
      if ((cell?.part ?? -1) > (cells[best[0]]?.[best[1]]?.part ?? -1)) best = [at, column];
    });
  });
  return best;
}
