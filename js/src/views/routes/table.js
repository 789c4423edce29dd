/** The routes view as tables: tokens, what passes between them, and the streams. */

import { isStale } from "../../state/selectors.js";
import { wordsOf } from "../../words/lenses.js";
import { tokenText } from "../../words/words.js";
import { numberCell, tokenCell, wordsCell } from "../shared/tables.js";
import { leastOf } from "./layout/legend.js";
import { readRoutes, shownStreams } from "./layout/model.js";
import { accountOf } from "./layout/names.js";
import { openRoute } from "./open.js";
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
  return {
    tables: [tokensTable(of), passagesTable(of), marksTable(of), streamsTable(of)].filter(
      ({ rows }) => rows.length > 0,
    ),
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
  return {
    key: "tokens",
    caption: `Tokens: what each adds to ${graph.target.text}`,
    note: accountOf(routes, leastOf(state.keep)),
    columns: [
      { text: "token" },
      { text: "position", number: true },
      { text: "adds", number: true },
      { text: "of it directly", number: true },
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
        ],
      };
    }),
  };
}

/** @param {Of} of @returns {TableData} */
function passagesTable(of) {
  const { graph, routes, model } = of;
  return {
    key: "passages",
    caption: "Passages: what attention carries from one token to another",
    columns: [
      { text: "layer" },
      { text: "from" },
      { text: "its position", number: true },
      { text: "to" },
      { text: "its position", number: true },
      { text: "heads" },
      { text: "carry" },
      { text: "influence", number: true },
    ],
    rows: model.passages.map(({ key, from, to, layer, influence, carriers }) => {
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
  return {
    key: "streams",
    caption: "Streams, token by token, from the embedding up",
    columns: [
      { text: "stream" },
      { text: "token" },
      { text: "position", number: true },
      { text: wordsOf(graph, streams[0]?.node).foretells },
      { text: "influence", number: true },
    ],
    rows: streams.map(({ id, node, position, level, influence }) => ({
      key: id,
      cells: [
        opening(of, wordsCell(placeOf(node, level)), [node], `of ${tokenText(graph, position)}`),
        tokenCell(tokenText(graph, position)),
        numberCell(`${position}`),
        tokenCell(node.label),
        numberCell(routeSize(influence, routes.measure)),
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
