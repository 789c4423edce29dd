/** The routes view as tables: tokens, what passes between them, and the streams. */

import { isStale } from "../../state/selectors.js";
import { wordsOf } from "../../words/lenses.js";
import { tokenText } from "../../words/words.js";
import { numberCell, tokenCell, wordsCell } from "../shared/tables.js";
import { leastOf } from "./layout/legend.js";
import { readRoutes, shownStreams } from "./layout/model.js";
import { accountOf } from "./layout/names.js";
import { openRoute } from "./open.js";
import { carriedThere, thereRoutes, tokenThere } from "./there.js";
import { nothingPasses, otherMeasure, routeSize, waitingWords } from "./words.js";

/** @import { State } from "../../state/state.js" */
/** @import { FlowGraph, Node, Routes } from "../../types.js" */
/** @import { TableCell, TableData, ViewTables } from "../shared/tables.js" */
/** @import { RoutesModel, Stream } from "./layout/model.js" */

/**
 * @param {State} state
 * @returns {ViewTables}
 */
export function routesTables(state) {
  const { graph, routes } = state;
  if (!graph || !routes || isStale(state, "routes")) {
    return { tables: [], waits: waitingWords(state) };
  }
  if (routes.nodes.every(({ kind }) => kind !== "residual")) {
    return { tables: [], waits: nothingPasses(state) };
  }
  const model = readRoutes(routes, graph.model.n_layers);
  const of = { state, graph, routes, model };
  const isOther = !state.live && routes.measure !== state.measure;
  const all = [tokensTable(of), passagesTable(of), onlyThereTable(of), marksTable(of)];
  return {
    tables: [...all, streamsTable(of)].filter(({ rows }) => rows.length > 0),
    waits: isOther ? otherMeasure(routes.measure, state.measure) : null,
  };
}

/**
 * @typedef {{state: State, graph: FlowGraph, routes: Routes, model: RoutesModel}} Of
 *
 * @param {Of} of
 * @param {TableCell} cell
 * @param {Node[]} nodes
 * @param {string} tells
 * @returns {TableCell}
 */
function opening({ state, routes }, cell, nodes, tells) {
  if (nodes.length === 0) return cell;
  const ids = nodes.map(({ id }) => id);
  return { ...cell, action: openRoute(nodes, routes, state), nodes: ids, tells };
}

/** @param {Of} of @returns {TableData} */
function tokensTable(of) {
  const { state, graph, routes, model } = of;
  const size = (/** @type {number} */ value) => numberCell(routeSize(value, routes.measure));
  const there = thereRoutes(routes, graph);
  return {
    key: "tokens",
    caption: `Tokens: what each adds to ${graph.target.text}`,
    note:
      accountOf(routes, leastOf(state.keep)) +
      (there ? " What the other prompt adds stands beside." : ""),
    columns: [
      { text: "token" },
      { text: "position", number: true },
      { text: "adds", number: true },
      { text: "of it directly", number: true },
      ...(there ? [{ text: "token there" }, ...THERE] : []),
    ],
    rows: routes.attribution.tokens.map(({ position, value, direct }) => {
      const streams = model.columns.get(position) ?? [];
      const nodes = streams.slice(0, 1).map(({ node }) => node);
      const token = tokenCell(tokenText(graph, position));
      return {
        key: `${position}`,
        cells: [
          opening(of, token, nodes, `position ${position}, open in the layer view`),
          numberCell(`${position}`),
          size(value),
          size(direct),
          ...(there
            ? [tokenCell(tokenThere(graph, position)), ...beside(of, value, there.adds(position))]
            : []),
        ],
      };
    }),
  };
}

/** What every table of passages begins with. */
const PASSAGE = [
  { text: "layer" },
  { text: "from" },
  { text: "its position", number: true },
  { text: "to" },
  { text: "its position", number: true },
  { text: "heads" },
];

/** @param {Of} of @returns {TableData} */
function passagesTable(of) {
  const { graph, routes, model } = of;
  const there = thereRoutes(routes, graph);
  return {
    key: "passages",
    caption: "Passages: what attention carries from one token to another",
    columns: [
      ...PASSAGE,
      { text: "carry" },
      { text: "influence", number: true },
      ...(there ? THERE : []),
    ],
    rows: model.passages.map((passage) => {
      const { key, from, to, layer, influence, carriers } = passage;
      const nodes = carriers.map(({ node }) => node);
      const heads = [...new Set(nodes.map(({ head }) => head))].join(", ");
      const [source, target] = [from, to].map(({ position }) => tokenText(graph, position));
      const labels = [...new Set(nodes.flatMap(({ label }) => label ?? []))].join(" ");
      return {
        key,
        cells: [
          opening(of, wordsCell(`layer ${layer}`), nodes, `from ${source} to ${target}`),
          tokenCell(source),
          numberCell(`${from.position}`),
          tokenCell(target),
          numberCell(`${to.position}`),
          wordsCell(heads),
          tokenCell(labels),
          numberCell(routeSize(influence, routes.measure)),
          ...(there ? beside(of, influence, carriedThere(there, nodes)) : []),
        ],
      };
    }),
  };
}

/** The other prompt's columns. */
const THERE = [
  { text: "there", number: true },
  { text: "difference", number: true },
];

/**
 * @param {Of} of
 * @param {number} here
 * @param {number | null} there
 * @returns {TableCell[]}
 */
function beside({ routes }, here, there) {
  if (there === null) return [numberCell("–"), numberCell(routeSize(here, routes.measure))];
  return [there, here - there].map((value) => numberCell(routeSize(value, routes.measure)));
}

/** What the other prompt's routes alone carry. @param {Of} of @returns {TableData} */
function onlyThereTable({ graph, routes }) {
  const there = thereRoutes(routes, graph);
  const rows = there ? there.passages : [];
  const place = (/** @type {number} */ at) =>
    at < 0
      ? [tokenText(graph, at), `there ${-1 - at}`]
      : [`${tokenText(graph, at)} / ${tokenThere(graph, at)}`, `${at}`];
  return {
    key: "only there",
    caption: "Passages of the other prompt alone: their heads carry nothing here that is kept",
    columns: [...PASSAGE, ...THERE],
    rows: rows.map(({ key, layer, from, to, heads, influence }) => {
      const [[source, start], [target, end]] = [place(from), place(to)];
      return {
        key: `there ${key}`,
        cells: [
          wordsCell(`layer ${layer}`),
          tokenCell(source),
          numberCell(start),
          tokenCell(target),
          numberCell(end),
          wordsCell(heads.join(", ")),
          numberCell(routeSize(influence, routes.measure)),
          numberCell(routeSize(-influence, routes.measure)),
        ],
      };
    }),
  };
}

/** @type {Record<string, string>} */
const MARKS = { mlp: "MLP", opaque: "opaque part", value: "attention to its own token" };

/** @param {Of} of @returns {TableData} */
function marksTable(of) {
  const { graph, routes, model } = of;
  const marks = [...model.marks].sort(
    (a, b) => a.to.position - b.to.position || a.to.level - b.to.level,
  );
  return {
    key: "marks",
    caption: "What joins a stream without leaving its token",
    columns: [
      { text: "part" },
      { text: "layer", number: true },
      { text: "token" },
      { text: "position", number: true },
      { text: wordsOf(graph, marks[0]?.nodes[0]).does },
      { text: "influence", number: true },
    ],
    rows: marks.map(({ id, kind, to, influence, nodes }) => {
      const place = `of layer ${to.node.layer} at ${tokenText(graph, to.position)}`;
      return {
        key: id,
        cells: [
          opening(of, wordsCell(MARKS[kind] ?? kind), nodes, place),
          numberCell(`${to.node.layer}`),
          tokenCell(tokenText(graph, to.position)),
          numberCell(`${to.position}`),
          tokenCell(nodes[0]?.label),
          numberCell(routeSize(influence, routes.measure)),
        ],
      };
    }),
  };
}

/** @param {Of} of @returns {TableData} */
function streamsTable(of) {
  const { graph, routes, model } = of;
  const streams = [...model.columns.values()].flatMap((column) => shownStreams(model, column));
  const there = thereRoutes(routes, graph);
  return {
    key: "streams",
    caption: "Streams, token by token, from the embedding up",
    columns: [
      { text: "stream" },
      { text: "token" },
      { text: "position", number: true },
      { text: wordsOf(graph, streams[0]?.node).foretells },
      { text: "influence", number: true },
      ...(there ? [{ text: "word there" }, ...THERE] : []),
    ],
    rows: streams.map(({ id, node, position, level, influence }) => ({
      key: id,
      cells: [
        opening(of, wordsCell(placeOf(node, level)), [node], `of ${tokenText(graph, position)}`),
        tokenCell(tokenText(graph, position)),
        numberCell(`${position}`),
        tokenCell(node.label),
        numberCell(routeSize(influence, routes.measure)),
        ...(there
          ? [
              tokenCell(there.nodes.get(id)?.label ?? "–"),
              ...beside(of, influence, there.nodes.get(id)?.influence ?? null),
            ]
          : []),
      ],
    })),
  };
}

/**
 * @param {Node} node
 * @param {Stream["level"]} level
 */
function placeOf({ layer }, level) {
  if (level === 0) return "embedding";
  return level % 2 === 1 ? `after attention in layer ${layer}` : `after layer ${layer}`;
}
