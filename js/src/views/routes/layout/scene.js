/** A routes graph as a scene: positions from left to right, layers from the bottom up. */

import { formatValue, inLogits, percent } from "../../../words/figures.js";
import { textWidth } from "../../shared/text.js";
import { besideAccount, thereRoutes } from "../there.js";
import { placeRouteFlow } from "./flow.js";
import { placeFoot } from "./foot.js";
import { placeColumns, placeLevels } from "./grid.js";
import { placeRouteLabels } from "./labels.js";
import { placeLanes } from "./lanes.js";
import { leastOf, placeAccount, placeKey } from "./legend.js";
import { readRoutes, shownStreams } from "./model.js";
import {
  accountOf,
  influenceWords,
  markName,
  passageName,
  predictionWords,
  streamName,
} from "./names.js";
import { placeOnly } from "./only.js";

/** @typedef {import("../../../types.js").FlowGraph} FlowGraph */
/** @typedef {import("../../../types.js").Routes} Routes */
/** @typedef {import("../../../types.js").Keep} Keep */
/** @typedef {import("../../shared/shapes.js").Box} Box */
/** @typedef {import("./model.js").RoutesModel} RoutesModel */

/**
 * @typedef {object} RouteStop A stream's place in its river, to be pointed at.
 * @property {string} id
 * @property {string} kind
 * @property {number | null} layer
 * @property {number} position
 * @property {number} x
 * @property {number} y
 * @property {Box} box Relative to x and y.
 * @property {string} name
 *
 * @typedef {object} RoutePrediction
 * @property {string} id
 * @property {number} x
 * @property {number} y
 * @property {string} text
 * @property {string} note
 * @property {Box} box
 * @property {string} name
 *
 * @typedef {object} RoutesScene
 * @property {RoutesModel} model
 * @property {number} width
 * @property {number} height
 * @property {number} focusX
 * @property {import("./flow.js").RouteStretch[]} stretches
 * @property {(import("./flow.js").RouteRibbon & {name: string})[]} ribbons
 * @property {(import("./flow.js").RouteMark & {name: string})[]} marks
 * @property {import("./only.js").RouteOutline[]} outlines
 * @property {RouteStop[]} stops
 * @property {import("./foot.js").RouteToken[]} tokens
 * @property {import("./foot.js").RouteFold[]} folds
 * @property {import("./labels.js").RouteLabel[]} labels
 * @property {{layer: number, y: number, text: string}[]} axis
 * @property {number} axisTop
 * @property {{layer: number, y: number, height: number}[]} bands Layers whose attention shows.
 * @property {{key: string, x: number, y: number}[]} springs Where a river begins because what feeds
 *   it was pruned.
 * @property {RoutePrediction} prediction
 * @property {import("../../shared/legendLayout.js").Legend} legend
 * @property {{lines: string[], x: number, y: number}} account
 * @property {string} summary
 */

/** How far a stream reaches where its river ends. */
const ALONE = 7;
const TOP = 74;
const CROWN = 46;

/**
 * @param {object} view
 * @param {Routes} view.routes
 * @param {FlowGraph} view.graph
 * @param {Keep | null} [view.keep]
 * @param {number} view.width
 * @returns {RoutesScene}
 */
export function layoutRoutes({ routes, graph, keep = null, width }) {
  const there = thereRoutes(routes, graph);
  const model = readRoutes(routes, graph.model.n_layers, there);
  const columns = placeColumns(model, graph.tokens, width);
  const lanes = placeLanes(model, columns.scale);
  const levels = placeLevels(model, lanes, TOP);
  const focusX = columns.at.get(routes.position)?.x ?? width / 2;
  const crown = { x: focusX, width: Math.max(3, Math.abs(routes.total) * columns.scale) };
  const flow = placeRouteFlow(model, columns, levels, lanes, { ...crown, y: CROWN });
  const prediction = placePrediction(graph, focusX, columns.width, model);
  const write = (/** @type {number} */ value) =>
    inLogits(routes.measure) ? formatValue(value, "logit") : percent(value);
  const foot = placeFoot(model, columns, graph.tokens, levels.bottom, write, there);
  const outlines = placeOnly(model, columns, levels, lanes, graph);
  const labels = placeRouteLabels(model, columns, levels, [...flow.ribbons, ...outlines], {
    target: graph.target.text,
    taken: [{ ...prediction.box, x: prediction.x + prediction.box.x, y: 0, height: CROWN }],
  });
  const legend = placeKey(routes, graph, model, columns.scale, {
    right: Math.min(width, columns.width) - 14,
    y: levels.bottom + foot.height + 10,
  });
  const words = accountOf(routes, keep && leastOf(keep)) + besideAccount(routes, graph, model.only);
  const account = placeAccount(words, Math.min(width, columns.width), legend);
  return {
    model,
    width: columns.width,
    height: account.y + account.lines.length * 17 + 8,
    focusX,
    stretches: flow.stretches,
    ribbons: flow.ribbons.map((ribbon) => ({
      ...ribbon,
      name: passageName(graph, routes, ribbon.passage),
    })),
    marks: flow.marks.map((mark) => ({ ...mark, name: markName(graph, routes, mark) })),
    outlines,
    stops: placeStops(model, graph, columns, levels),
    tokens: foot.tokens,
    folds: foot.folds,
    labels,
    ...placeAxis(model, levels, lanes),
    axisTop: levels.top - 7,
    springs: [
      ...placeSprings(model, columns, levels),
      ...outlines
        .filter(({ passage }) => startsAlone(model, passage))
        .map(({ key, passage, start }) => {
          return { key, x: start.x, y: levels.y(passage.from.level) };
        }),
    ],
    prediction,
    legend,
    account,
    summary:
      `Routes to ${graph.target.text} over ${graph.tokens.length} tokens and ` +
      `${graph.model.n_layers} layers: ${flow.ribbons.length} ribbons between ` +
      `${columns.columns.length} positions. ${words}`,
  };
}

/**
 * Every stream, as far as its river reaches halfway to its neighbours.
 * @param {RoutesModel} model
 * @param {FlowGraph} graph
 * @param {import("./grid.js").RouteColumns} columns
 * @param {import("./grid.js").RouteLevels} levels
 * @returns {RouteStop[]}
 */
function placeStops(model, graph, columns, levels) {
  return [...model.columns.values()].flatMap((all) => {
    const streams = shownStreams(model, all);
    return streams.flatMap((stream, at) => {
      // The token below stands for the embedding.
      if (stream.level === 0) return [];
      const { id, node, position, level, influence } = stream;
      const y = levels.y(level);
      const half = (/** @type {import("./model.js").Stream | undefined} */ other) =>
        other && Math.abs(other.level - level) <= 2
          ? Math.abs(levels.y(other.level) - y) / 2
          : ALONE;
      const [top, bottom] = [half(streams[at + 1]), half(streams[at - 1])];
      const wide = Math.max(14, Math.abs(influence) * columns.scale + 6);
      return [
        {
          id,
          kind: node.kind,
          layer: node.layer,
          position,
          x: columns.at.get(position)?.x ?? 0,
          y,
          box: { x: -wide / 2, y: -top, width: wide, height: top + bottom },
          name: streamName(graph, model.routes, stream),
        },
      ];
    });
  });
}

/**
 * @param {FlowGraph} graph
 * @param {number} focusX
 * @param {number} width
 * @param {RoutesModel} model
 * @returns {RoutePrediction}
 */
function placePrediction(graph, focusX, width, { routes }) {
  const { text, note } = predictionWords(graph);
  const wide = Math.max(textWidth(text, 14), textWidth(note, 11, "sans")) + 20;
  const x = Math.max(wide / 2 + 4, Math.min(width - wide / 2 - 4, focusX));
  return {
    id: "logits",
    x,
    y: 20,
    text,
    note,
    box: { x: -wide / 2, y: -17, width: wide, height: 40 },
    name: `${text} ${note}: the prediction, ${influenceWords(routes.total, routes)}`,
  };
}

const AXIS_STEP = 14;

/**
 * Layer numbers, each in the middle of its layer: the last, those whose attention shows, and round
 * ones between.
 * @param {RoutesModel} model
 * @param {import("./grid.js").RouteLevels} levels
 * @param {Map<number, import("./lanes.js").Lanes>} lanes
 */
function placeAxis(model, { y }, lanes) {
  const layers = Array.from({ length: model.layers }, (_, layer) => {
    const [top, bottom] = [y(2 * layer + 2), y(2 * layer)];
    return { layer, y: top, height: bottom - top };
  });
  const bands = layers.filter(({ layer }) => lanes.has(2 * layer));
  const thick = [...bands].sort((a, b) => b.height - a.height);
  const round = layers.filter(({ layer }) => layer % 5 === 0);
  /** @type {Map<number, {layer: number, y: number, text: string}>} */
  const axis = new Map();
  for (const { layer, y: top, height } of [...layers.slice(-1), ...thick, ...round]) {
    const middle = top + height / 2;
    if ([...axis.values()].some((other) => Math.abs(other.y - middle) < AXIS_STEP)) continue;
    axis.set(layer, { layer, y: middle, text: `${layer}` });
  }
  return { axis: [...axis.values()].sort((a, b) => a.layer - b.layer), bands };
}

/**
 * Whether what the other prompt alone carries leaves a token where no river passes here.
 * @param {RoutesModel} model
 * @param {import("./model.js").OnlyPassage} passage
 */
function startsAlone({ columns }, { from: { position, level } }) {
  const levels = (columns.get(position) ?? []).map((stream) => stream.level);
  return level > 0 && !(levels.some((own) => own <= level) && levels.some((own) => own >= level));
}

/**
 * @param {RoutesModel} model
 * @param {import("./grid.js").RouteColumns} columns
 * @param {import("./grid.js").RouteLevels} levels
 */
function placeSprings(model, columns, levels) {
  const fed = new Set([
    ...model.strands.map(({ to }) => to?.id),
    ...model.passages.map(({ to }) => to.id),
  ]);
  return [...model.streams.values()]
    .filter(({ id, level }) => level > 0 && !fed.has(id))
    .map(({ id, position, level }) => {
      return { key: id, x: columns.at.get(position)?.x ?? 0, y: levels.y(level) };
    });
}
