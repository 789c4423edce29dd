/** What an open layer holds, as tables: heads, what they read, rows, neurons, and the stream. */

import { count, formatValue, probability } from "../../words/figures.js";
import { wordsOf } from "../../words/lenses.js";
import { MIDDLE, mixerOf, neuronNumber } from "../../words/names.js";
import { partName, tokenText } from "../../words/words.js";
import { differenceOf, edgeBetween, nodeValue, thereValue } from "../shared/graph.js";
import { choosing, numberCell, tokenCell, wordsCell } from "../shared/tables.js";
import { memoryWeight } from "./layout/blockContent.js";

/** @import { Measure, Node } from "../../types.js" */
/** @import { GraphIndex } from "../shared/graph.js" */
/** @import { TableCell, TableData, TableRow } from "../shared/tables.js" */
/** @import { BlockContent } from "./layout/blockContent.js" */

/** What the width of a ribbon says, as the heading of a column. @type {Record<Measure, string>} */
export const ADDS = {
  logit: "adds",
  share: "share",
  norm: "length",
  proximity: "proximity",
  effect: "effect",
};

/** The other prompt's columns, where there is one. @param {GraphIndex} index */
export const thereColumns = ({ there }) =>
  there
    ? [
        { text: "there", number: true },
        { text: "difference", number: true },
      ]
    : [];

/**
 * The other prompt's number, and by how much it differs.
 *
 * @param {GraphIndex} index
 * @param {Node | null | undefined} node
 * @param {number | null} here
 * @param {Measure} measure
 * @returns {TableCell[]}
 */
export function thereCells(index, node, here, measure) {
  if (!index.there) return [];
  if (!node) return [numberCell(""), numberCell("")];
  return [thereValue(index, node, measure), differenceOf(index, node, here, measure)].map((value) =>
    numberCell(formatValue(value, measure)),
  );
}

/** @param {{target_rank: number | null} | null | undefined} node */
export const rankOf = (node) => (node?.target_rank == null ? "" : count(node.target_rank));

/**
 * @param {GraphIndex} index
 * @param {BlockContent} content
 * @param {Measure} measure
 * @returns {TableData[]}
 */
export function blockTables(index, content, measure) {
  const { bands } = content;
  const reads = bands.some(({ memories }) => memories.length > 0);
  return [
    headsTable(index, content, measure),
    ...(reads ? [memoriesTable(index, content, measure)] : []),
    rowsTable(index, content, measure),
    neuronsTable(index, content, measure),
    streamTable(index, content),
  ].filter(({ rows }) => rows.length > 0);
}

/**
 * @param {GraphIndex} index
 * @param {BlockContent} content
 * @param {Measure} measure
 * @returns {TableData}
 */
function headsTable(index, { layer, bands, attentionOthers }, measure) {
  const value = (/** @type {Node} */ node) => valueCells(index, node, measure);
  return {
    key: `heads ${layer}`,
    caption: `Heads of layer ${layer}`,
    columns: [
      { text: "head" },
      { text: "looks for" },
      { text: "reads" },
      { text: wordsOf(index.graph).does },
      { text: ADDS[measure], number: true },
      ...thereColumns(index),
    ],
    rows: [
      ...bands.map(({ head, query, memories, rest }) => ({
        key: head.id,
        cells: [
          choosing(wordsCell(`head ${head.head}`), head, `of layer ${layer}`),
          choosing(tokenCell(query?.label), query, `what head ${head.head} looks for`),
          wordsCell(
            [
              ...memories.map((memory) => {
                const text = tokenText(index.graph, memory.source);
                return `${text} ${probability(memoryWeight(memory))}`;
              }),
              ...(rest?.rest ? [`${rest.rest.count} more`] : []),
            ].join(", "),
          ),
          tokenCell(head.label),
          ...value(head),
        ],
      })),
      ...attentionOthers.map((node) => otherRow(index, node, value(node), 2)),
    ],
  };
}

/**
 * What is not a head or a neuron: a constant, rounding, the rest.
 *
 * @param {GraphIndex} index
 * @param {Node} node
 * @param {TableCell[]} values
 * @param {number} between Columns between its name and what it writes.
 * @returns {TableRow}
 */
function otherRow({ graph }, node, values, between) {
  const name = partName(node, graph);
  return {
    key: node.id,
    cells: [
      choosing(wordsCell(name), node, `of layer ${node.layer}`),
      ...Array.from({ length: between }, () => wordsCell("")),
      tokenCell(node.kind === "bias" ? node.label : ""),
      ...values,
    ],
  };
}

/**
 * @param {GraphIndex} index
 * @param {BlockContent} content
 * @param {Measure} measure
 * @returns {TableData}
 */
function memoriesTable(index, { layer, bands }, measure) {
  return {
    key: `memories ${layer}`,
    caption: `What the heads of layer ${layer} read`,
    columns: [
      { text: "head" },
      { text: "from token" },
      { text: "position", number: true },
      { text: "attention", number: true },
      { text: "memory key" },
      { text: "memory value" },
      { text: ADDS[measure], number: true },
      ...thereColumns(index),
    ],
    rows: bands.flatMap(({ head, memories, rest }) => {
      const part = (/** @type {Node | null} */ node) => {
        const value = (node && edgeBetween(index, node.id, head.id)?.[measure]) ?? null;
        const here = numberCell(node?.only ? "only there" : formatValue(value, measure));
        return [here, ...thereCells(index, node, value, measure)];
      };
      const heading = wordsCell(`head ${head.head}`);
      const rows = memories.map((memory) => {
        const { source, key, value } = memory;
        const left = `in head ${head.head}, left by ${tokenText(index.graph, source)}`;
        return {
          key: `${head.id} ${source}`,
          cells: [
            heading,
            tokenCell(tokenText(index.graph, source)),
            numberCell(source < 0 ? `there ${-1 - source}` : `${source}`),
            numberCell(probability(memoryWeight(memory))),
            choosing(tokenCell(key?.label), key, `memory key ${left}`),
            choosing(tokenCell(value?.label), value, `memory value ${left}`),
            ...part(value),
          ],
        };
      });
      if (!rest) return rows;
      const more = choosing(wordsCell(partName(rest, index.graph)), rest, `of head ${head.head}`);
      const none = wordsCell("");
      const cells = [heading, more, none, none, none, none, ...part(rest)];
      return [...rows, { key: rest.id, cells }];
    }),
  };
}

/**
 * @param {GraphIndex} index
 * @param {BlockContent} content
 * @param {Measure} measure
 * @returns {TableData}
 */
function rowsTable(index, { layer, bands }, measure) {
  return {
    key: `rows ${layer}`,
    caption: `W_O rows of layer ${layer}, each out of its head`,
    columns: [
      { text: "row" },
      { text: "head" },
      { text: wordsOf(index.graph).does },
      { text: ADDS[measure], number: true },
      ...thereColumns(index),
    ],
    rows: bands.flatMap(({ head, rows }) =>
      rows.map((row) => ({
        key: row.id,
        cells: [
          choosing(wordsCell(partName(row, index.graph)), row, `of layer ${layer}`),
          wordsCell(`head ${head.head}`),
          tokenCell(row.label),
          numberCell(formatValue(edgeBetween(index, head.id, row.id)?.[measure] ?? null, measure)),
          ...thereCells(index, row, nodeValue(index, row, measure), measure),
        ],
      })),
    ),
  };
}

/**
 * @param {GraphIndex} index
 * @param {BlockContent} content
 * @param {Measure} measure
 * @returns {TableData}
 */
function neuronsTable(index, { layer, neurons, mlpOthers }, measure) {
  const value = (/** @type {Node} */ node) => valueCells(index, node, measure);
  return {
    key: `neurons ${layer}`,
    caption: `Neurons of layer ${layer}`,
    columns: [
      { text: "neuron" },
      { text: "looks for" },
      { text: "activation", number: true },
      { text: wordsOf(index.graph).does },
      { text: ADDS[measure], number: true },
      ...thereColumns(index),
    ],
    rows: [
      ...neurons.map(({ neuron, key }) => ({
        key: neuron.id,
        cells: [
          choosing(wordsCell(partName(neuron, index.graph)), neuron, `of layer ${layer}`),
          choosing(tokenCell(key?.label), key, `what neuron ${neuronNumber(neuron)} looks for`),
          numberCell(neuron.activation === null ? "" : formatValue(neuron.activation, "logit")),
          tokenCell(neuron.label),
          ...value(neuron),
        ],
      })),
      ...mlpOthers.map((node) => otherRow(index, node, value(node), 2)),
    ],
  };
}

/**
 * @param {GraphIndex} index
 * @param {Node} node
 * @param {Measure} measure
 * @returns {TableCell[]} What it adds, and in the other prompt.
 */
function valueCells(index, node, measure) {
  const value = nodeValue(index, node, measure);
  const here = numberCell(node.only ? "only there" : formatValue(value, measure));
  return [here, ...thereCells(index, node, value, measure)];
}

/**
 * The stream on its way through an open layer.
 *
 * @param {GraphIndex} index
 * @param {BlockContent} content
 * @returns {TableData}
 */
function streamTable({ graph, there }, { layer, parts, ln1, ln2 }) {
  const { pre, mid, mlp, post } = parts;
  const mixed = `after ${MIDDLE[mixerOf(graph, layer)]}`;
  const places = /** @type {[Node | null | undefined, string][]} */ ([
    [pre, "before the layer"],
    [ln1, ln1 && partName(ln1, graph)],
    [mid, mixed],
    [ln2, ln2 && partName(ln2, graph)],
    [post, mlp ? "after the MLP" : mixed],
  ]);
  return {
    key: `stream ${layer}`,
    caption: `The stream through layer ${layer}`,
    columns: [
      { text: "place" },
      { text: wordsOf(graph, parts.post).foretells },
      { text: `rank of ${graph.target.text}`, number: true },
      ...(there ? [{ text: "there" }, { text: "rank there", number: true }] : []),
    ],
    rows: places.flatMap(([node, place]) => {
      if (!node) return [];
      const name = choosing(wordsCell(place), node, `layer ${layer}`);
      const other = graph.against?.streams[node.id];
      const beside = there ? [tokenCell(other?.label), numberCell(rankOf(other))] : [];
      const own = [tokenCell(node.label), numberCell(rankOf(node))];
      return [{ key: node.id, cells: [name, ...own, ...beside] }];
    }),
  };
}
