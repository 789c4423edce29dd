/** The layers view as tables: its layers, what open ones hold, and the next token. */

import { mergedGraph, pendingLayers, shownMeasure } from "../../state/selectors.js";
import { formatValue, inLogits, percent } from "../../words/figures.js";
import { wordsOf } from "../../words/lenses.js";
import { partingWords } from "../../words/other-side.js";
import { stepWords } from "../../words/said.js";
import { tokenText } from "../../words/words.js";
import { indexGraph } from "../shared/graph.js";
import { choosing, numberCell, tokenCell, wordsCell } from "../shared/tables.js";
import { readBlock } from "./layout/blockContent.js";
import { layerWrites } from "./layout/overview.js";
import { chancesIn } from "./layout/prediction.js";
import { ADDS, blockTables, rankOf, thereCells, thereColumns } from "./tableOfBlock.js";

/** @import { State } from "../../state/state.js" */
/** @import { FlowGraph, Measure } from "../../types.js" */
/** @import { GraphIndex } from "../shared/graph.js" */
/** @import { TableCell, TableData, TableRow, ViewTables } from "../shared/tables.js" */

/** @type {Record<Measure, string>} */
const BY = {
  logit: "in logits",
  share: "as shares of the whole that it flows into",
  norm: "as lengths",
  proximity: "by proximity to the whole that it flows into",
  effect: "by what the prediction would lose, in logits",
};

/**
 * @param {State} state
 * @returns {ViewTables}
 */
export function layersTables(state) {
  const graph = mergedGraph(state);
  if (!graph) return { tables: [], waits: "Nothing has been traced yet." };
  const { expanded } = state;
  const measure = shownMeasure(state);
  const index = indexGraph(graph);
  const pending = pendingLayers(state);
  const open = expanded.filter((layer) => !pending.includes(layer)).sort((a, b) => a - b);
  const note = noteOf(state);
  const waits = pending.length > 0 ? `Layer ${pending.join(", ")}: computing…` : null;
  return {
    tables: [
      { ...layersTable(index, measure, expanded), ...(note ? { note } : {}) },
      ...open.flatMap((layer) =>
        blockTables(index, readBlock(index, layer, measure), measure).map((table) =>
          withMeasured(table, (measure === "effect" && state.effects[layer]?.nodes) || {}),
        ),
      ),
      nextTable(graph),
    ],
    waits,
  };
}

/**
 * What is said under the first table: the step of a generation, and the other prompt.
 *
 * @param {State} state
 */
function noteOf({ generation, graph }) {
  const notes = [];
  if (generation && graph) notes.push(stepWords(generation, graph));
  if (graph?.against) {
    const parting = partingWords(graph);
    notes.push(
      `Beside “${graph.against.prompt}”${parting ? `. ${parting}` : ""}. Difference: here less there.`,
    );
  }
  return notes.join(" ");
}

/** @param {number | undefined} chance */
const chanceWords = (chance) => (chance === undefined ? "" : percent(chance));

/**
 * @param {TableData} table
 * @param {import("../../types.js").Effects["nodes"]} told Measured effects, by node.
 * @returns {TableData} With a column of them, where it is about any.
 */
function withMeasured(table, told) {
  // A memory's row is its head's and its source's.
  const idOf = (/** @type {TableRow} */ { key }) => key.replace(" ", ".V");
  if (!table.rows.some((row) => idOf(row) in told)) return table;
  return {
    ...table,
    columns: [...table.columns, { text: "measured", number: true }],
    rows: table.rows.map((row) => {
      const value = told[idOf(row)]?.measured ?? null;
      return { ...row, cells: [...row.cells, numberCell(formatValue(value, "effect"))] };
    }),
  };
}

/**
 * @param {FlowGraph} graph
 * @returns {string} "␣Tokyo", or one token over another
 */
const aim = ({ target, foil }) => (foil ? `${target.text} over ${foil.text}` : target.text);

/**
 * @param {GraphIndex} index
 * @param {Measure} measure
 * @param {number[]} expanded
 * @returns {TableData}
 */
function layersTable(index, measure, expanded) {
  const { graph, layers } = index;
  const has = (/** @type {"attention" | "mix" | "mlp"} */ part) =>
    layers.some((parts) => parts[part] !== undefined);
  const ranked = layers.some(({ post }) => post?.target_rank != null);
  const kinds = /** @type {const} */ ([
    ["attention", "attention"],
    ["mix", "opaque part"],
    ["mlp", "MLP"],
  ]).filter(([part]) => has(part));
  // Lengths and shares of different wholes have no sum.
  const sums = inLogits(measure);

  /** @param {(typeof layers)[number]} parts @returns {TableRow} */
  function rowOf(parts) {
    const { layer, post } = parts;
    const { above, below } = layerWrites(index, parts, measure);
    const writes = [...above, ...below];
    const values = writes.flatMap(({ value }) => value ?? []);
    /** @type {TableCell} */
    const heading = {
      ...wordsCell(`Layer ${layer}`),
      action: { type: "toggle-layer", layer },
      open: expanded.includes(layer),
    };
    return {
      key: `${layer}`,
      cells: [
        heading,
        ...kinds.flatMap(([part, name]) => {
          const write = writes.find(({ node }) => node === parts[part]);
          const cell = tokenCell(write?.node.label);
          return [
            choosing(cell, write?.node, `written by ${name} of layer ${layer}`),
            numberCell(formatValue(write?.value ?? null, measure)),
            ...thereCells(index, write?.node, write?.value ?? null, measure),
          ];
        }),
        sums && numberCell(formatValue(sumOf(values), measure)),
        choosing(tokenCell(post?.label), post, `the stream after layer ${layer}`),
        ranked && numberCell(rankOf(post)),
        ...streamThere(post?.id),
      ].filter((cell) => cell !== false),
    };
  }

  /** @param {string | undefined} id @returns {(TableCell | false)[]} */
  function streamThere(id) {
    if (!index.there) return [];
    const other = id === undefined ? undefined : graph.against?.streams[id];
    return [tokenCell(other?.label), ranked && numberCell(rankOf(other))];
  }

  const embed = index.nodes.get("embed");
  const start = {
    key: "start",
    cells: [
      wordsCell("Embedding"),
      ...kinds.flatMap(() => [
        tokenCell(""),
        numberCell(""),
        ...thereCells(index, null, null, measure),
      ]),
      sums && numberCell(""),
      choosing(tokenCell(tokenText(graph, graph.position)), embed, "the embedding"),
      ranked && numberCell(rankOf(layers[0]?.pre)),
      ...streamThere("L0.pre"),
    ].filter((cell) => cell !== false),
  };
  return {
    key: "layers",
    caption: `Layers at ${tokenText(graph, graph.position)}, position ${graph.position}: what each ${wordsOf(graph).does} and adds to ${aim(graph)}, ${BY[measure]}`,
    columns: [
      { text: "layer" },
      ...kinds.flatMap(([, name]) => [
        { text: `${name} ${wordsOf(graph).does}` },
        { text: `${name} ${ADDS[measure]}`, number: true },
        ...thereColumns(index),
      ]),
      sums && { text: "layer adds", number: true },
      { text: wordsOf(graph, index.layers[0]?.post).foretells },
      ranked && { text: `rank of ${graph.target.text}`, number: true },
      index.there !== null && { text: "the other prompt’s stream" },
      index.there !== null && ranked && { text: "its rank", number: true },
    ].filter((column) => column !== false),
    rows: [...(embed ? [start] : []), ...layers.map(rowOf)],
  };
}

/** @param {number[]} values */
const sumOf = (values) =>
  values.length > 0 ? values.reduce((sum, value) => sum + value, 0) : null;

/**
 * @param {FlowGraph} graph
 * @returns {TableData}
 */
function nextTable(graph) {
  const { prediction, target, foil, against } = graph;
  const there = against && chancesIn(against, graph);
  const shown = [...prediction];
  for (const token of [target, foil]) {
    if (token?.probability == null || shown.some(({ id }) => id === token.id)) continue;
    shown.push(/** @type {any} */ (token));
  }
  return {
    key: "next",
    caption: "Next token",
    columns: [
      { text: "token" },
      { text: "probability", number: true },
      ...(there ? [{ text: "there", number: true }] : []),
      { text: "is" },
    ],
    rows: shown.map(({ id, text, probability: chance }) => ({
      key: `${id}`,
      cells: [
        {
          ...tokenCell(text),
          action: { type: "set-target", id, text },
          tells: "follow this token",
        },
        numberCell(percent(chance)),
        ...(there ? [numberCell(chanceWords(there.get(id)))] : []),
        wordsCell(id === target.id ? "the target" : id === foil?.id ? "compared with" : ""),
      ],
    })),
  };
}
