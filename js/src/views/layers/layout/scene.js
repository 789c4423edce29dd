/** The whole picture as plain data: reads the graph, gives out the room, places every part. */

import { editsOf } from "../../../state/interventions.js";
import { wordsOf } from "../../../words/lenses.js";
import { indexGraph } from "../../shared/graph.js";
import { placeLegend } from "../../shared/legendLayout.js";
import { textWidth } from "../../shared/text.js";
import { blockReach, placeBlock } from "./block.js";
import { readBlock, shapeOf } from "./blockContent.js";
import { placeColumns } from "./columns.js";
import { chooseDetail, unfoldedHeads } from "./detail.js";
import { gatheredCount, gatheredWords } from "./gathered.js";
import { blockElastic } from "./grid.js";
import { createMemory, remembered } from "./memory.js";
import { labelWriters, layerAreas, overviewReach, placeOverview } from "./overview.js";
import { WRITER_DISTANCE, withEdits } from "./parts.js";
import { pendingHeads, pendingReach, placePending } from "./pending.js";
import { placePrediction, predictionReach } from "./prediction.js";
import { placeRank, RANK_SIZES } from "./rank.js";
import { placeRiver } from "./river.js";

/** @typedef {import("../../../types.js").FlowGraph} FlowGraph */
/** @typedef {import("../../../types.js").Measure} Measure */
/** @typedef {import("../../shared/graph.js").GraphIndex} GraphIndex */
/** @typedef {import("./detail.js").Detail} Detail */

/**
 * @typedef {object} ScenePart
 * @property {string} key
 * @property {import("./parts.js").SceneNode[]} nodes
 * @property {import("./parts.js").SceneRibbon[]} ribbons
 * @property {import("./attention.js").SourceChip[]} sources
 * @property {import("./block.js").Panel} [panel] Of an open layer: where it stands.
 */

/**
 * @typedef {object} Scene
 * @property {number} width
 * @property {number} height
 * @property {number} axisY Where the river's axis lies; all of the stream is placed around it.
 * @property {import("./overview.js").LayerArea[]} areas
 * @property {{above: number, below: number}} areaReach How far a closed layer can be clicked.
 * @property {ScenePart[]} parts What is drawn together, and again when it changed: all closed
 *   layers, and each open one.
 * @property {import("./parts.js").SceneNode[]} nodes
 * @property {import("./parts.js").SceneRibbon[]} ribbons
 * @property {import("./parts.js").SceneCell[]} cells
 * @property {number[]} breaks
 * @property {import("./parts.js").RiverText[]} riverTexts
 * @property {{x: number, name: string} | null} parting Where the other prompt goes another way.
 * @property {import("./overview.js").WriterLabel[]} labels
 * @property {{key: string, x: number, y: number, text: string}[]} laneNames
 * @property {import("./block.js").Panel[]} panels
 * @property {import("./attention.js").SourceChip[]} sources
 * @property {import("./rank.js").RankChart} rank
 * @property {import("./prediction.js").Prediction} prediction
 * @property {import("../../shared/legendLayout.js").Legend} legend
 * @property {Set<string>} folded Ids of the heads that are not unfolded.
 * @property {string} summary
 */

const TOP_PAD = 14;
const CLOSE_TOP_PAD = 6;

/**
 * @param {object} view
 * @param {FlowGraph} view.graph
 * @param {number[]} view.expanded
 * @param {number[]} view.pending
 * @param {Measure} view.measure
 * @param {number} view.width
 * @param {number} [view.height] How tall the picture should be at most, if that is possible.
 * @param {string[]} [view.interest] Ids of the heads that the reader turned to, the latest first.
 * @param {Record<number, import("../../../types.js").LayerEffects>} [view.effects] Measured, by layer.
 * @param {import("./memory.js").Memory} [view.memory] What open layers were before.
 * @returns {Scene}
 */
export function layoutScene({
  graph,
  expanded,
  pending,
  measure,
  width,
  height = Number.POSITIVE_INFINITY,
  interest = [],
  effects = {},
  memory = createMemory(),
}) {
  const index = indexed(graph);
  const open = openLayers(index, expanded, pending, measure, memory);
  const columns = placeColumns({
    layers: graph.model.n_layers,
    open: new Map([...open].map(([layer, { elastic }]) => [layer, elastic])),
    width,
    ...riverEnds(graph, open.size > 0 && width < 1300),
  });

  const overview = placeOverview(index, columns, measure);
  const river = placeRiver(index, columns);
  const upper = labelWriters(index, columns, "above", measure);
  const lower = labelWriters(index, columns, "below", measure);
  const prediction = placePrediction(index, columns);

  const reach = overviewReach(Math.max(upper.lanes, lower.lanes));
  const areaReach = { above: reach, below: reach };
  const contents = [...open.values()].flatMap(({ content }) => content ?? []);
  const least = [areaReach, predictionReach(prediction)];
  const reachOf = (/** @type {Detail} */ detail) => {
    const reaches = [...open.values()].map(({ content, parts }) =>
      content ? blockReach(content, detail) : pendingReach(index, parts, detail),
    );
    return {
      above: Math.max(...[...least, ...reaches].map(({ above }) => above)),
      below: Math.max(...[...least, ...reaches].map(({ below }) => below)),
    };
  };
  const gathered = gatheredCount(columns);
  const legendOf = (/** @type {number} */ y) =>
    placeLegend({
      measure,
      target: graph.target.text,
      foil: graph.foil?.text ?? null,
      scale: overview.scale,
      attends: contents.some(({ bands }) => bands.length > 0),
      reads: contents.some(({ bands, neurons }) => bands.length + neurons.length > 0),
      written: wordsOf(graph).done,
      measured: Object.values(effects).some(({ of }) => of),
      gathered: gathered > 1 ? gatheredWords(gathered, measure) : null,
      opaque: index.layers.some(({ mix }) => mix !== undefined),
      left: columns.start.x,
      right: Math.min(width, columns.width) - 14,
      y,
      close: open.size > 0 && Number.isFinite(height),
    });
  const stacked = columns.columns.some(
    ({ layer, width: own }) => own < (open.get(layer)?.elastic.slim ?? 0) - 0.5,
  );
  const most = Math.max(
    0,
    ...contents.map(({ bands }) => bands.length),
    open.size > contents.length ? pendingHeads(index) : 0,
  );
  const { detail, rankSize } = chooseSizes(
    open.size,
    stacked,
    most,
    height - legendOf(0).height,
    reachOf,
  );
  const topPad = rankSize.close ? CLOSE_TOP_PAD : TOP_PAD;

  const blocks = columns.columns
    .filter((column) => column.open)
    .map((column) => {
      const isLast = column.layer === graph.model.n_layers - 1;
      const tail = isLast ? columns.tail.width : 0;
      const content = open.get(column.layer)?.content;
      if (!content) return placePending(index, column, measure, { tail, detail });
      const unfolded = unfoldedHeads(content.bands, detail.unfolded, interest);
      const { stacked, density } = detail;
      const { x, width: wide } = column;
      const how = [content, measure, tail, stacked, ...Object.values(density), x, wide];
      const known = effects[column.layer];
      return remembered(memory.blocks, column.layer, [...how, known, ...unfolded], () =>
        placeBlock(index, content, column, measure, { tail, detail, unfolded, effects: known }),
      );
    });
  const edits = editsOf(graph.interventions);
  const ends = withEdits([...overview.nodes, ...prediction.nodes], edits);
  const inner = blocks.map((block) => withEdits(block.nodes, edits));
  const { above, below } = reachOf(detail);
  const axisY = topPad + above;
  const rankY = axisY + below + rankSize.gap;
  const rank = placeRank(index, columns, rankPoints(index, columns, blocks), rankY, rankSize);
  const legend = legendOf(rankY + rankSize.room);
  return {
    width: columns.width,
    height: legend.y + legend.height,
    axisY,
    areas: layerAreas(index, columns, measure),
    areaReach,
    parts: [
      {
        key: "closed",
        nodes: ends,
        ribbons: overview.ribbons,
        sources: [],
      },
      ...blocks.map((block, at) => ({
        ...block,
        nodes: inner[at],
        key: `L${block.panel.layer}`,
      })),
    ],
    nodes: [...ends, ...inner.flat()],
    ribbons: [...overview.ribbons, ...blocks.flatMap(({ ribbons }) => ribbons)],
    cells: withEdits([...river.cells, ...blocks.flatMap(({ cells }) => cells)], edits),
    breaks: [...river.breaks, ...blocks.flatMap(({ breaks }) => breaks)].sort((a, b) => a - b),
    parting: river.parting,
    riverTexts: [...river.texts, ...blocks.flatMap(({ texts }) => texts)],
    labels: [...upper.labels, ...lower.labels],
    laneNames: laneNames(index, columns),
    panels: blocks.map(({ panel }) => panel),
    sources: blocks.flatMap(({ sources }) => sources),
    rank,
    prediction,
    legend,
    folded: new Set(blocks.flatMap(({ folded }) => folded)),
    summary: `One forward pass of ${graph.model.name} over ${graph.tokens.length} tokens, ${graph.model.n_layers} layers. ${rank.summary}.`,
  };
}

/**
 * What is given up where there is little room: first the height of the rank's chart, then the chart
 * itself, until the strongest heads come unfolded.
 * @param {number} nOpen
 * @param {boolean} stacked
 * @param {number} most How many heads an open layer has at most.
 * @param {number} height For all but the legend.
 * @param {(detail: Detail) => {above: number, below: number}} reachOf
 */
function chooseSizes(nOpen, stacked, most, height, reachOf) {
  const sizes = nOpen > 0 ? RANK_SIZES : RANK_SIZES.slice(0, 1);
  const choices = sizes.map((rankSize) => {
    const fixed = (rankSize.close ? CLOSE_TOP_PAD : TOP_PAD) + rankSize.gap + rankSize.room;
    const detail = chooseDetail(stacked, most, (wider) => {
      const { above, below } = reachOf(wider);
      return above + below + fixed <= height;
    });
    return { detail, rankSize };
  });
  const enough = Math.min(most, 2);
  return (
    choices.find(({ detail }) => detail.unfolded >= enough && !detail.tooTall) ??
    choices[choices.length - 1]
  );
}

/** @type {WeakMap<FlowGraph, GraphIndex>} */
const indices = new WeakMap();

/** @param {FlowGraph} graph */
function indexed(graph) {
  const index = indices.get(graph) ?? indexGraph(graph);
  indices.set(graph, index);
  return index;
}

/**
 * @param {GraphIndex} index
 * @param {number[]} expanded
 * @param {number[]} pending
 * @param {Measure} measure
 * @param {import("./memory.js").Memory} memory
 */
function openLayers(index, expanded, pending, measure, memory) {
  const layers = [...new Set([...expanded, ...pending])]
    .filter((layer) => layer >= 0 && layer < index.graph.model.n_layers)
    .sort((a, b) => a - b);
  return new Map(
    layers.map((layer) => {
      const { target, foil, tokens } = index.graph;
      const of = [measure, target, foil, tokens, ...(index.byLayer.get(layer) ?? [])];
      const content = pending.includes(layer)
        ? null
        : remembered(memory.contents, layer, of, () => readBlock(index, layer, measure));
      const parts = index.layers[layer];
      return [
        layer,
        { content, parts, elastic: blockElastic(shapeOf(parts, content, index.there !== null)) },
      ];
    }),
  );
}

/**
 * @param {FlowGraph} graph
 * @param {boolean} squeezed
 */
function riverEnds(graph, squeezed) {
  const word = graph.tokens[graph.position]?.text ?? "";
  const answer = graph.prediction[0]?.text ?? "";
  const clamp = (/** @type {number} */ value, /** @type {number} */ most) =>
    Math.min(most, Math.max(30, value));
  return {
    startWidth: clamp(textWidth(word, 12) + 16, 84),
    tailWidth: squeezed ? 10 : clamp(textWidth(answer, 12) + 18, 96),
  };
}

/**
 * @param {GraphIndex} index
 * @param {import("./columns.js").Columns} columns
 * @param {import("./block.js").PlacedBlock[]} blocks
 */
function rankPoints(index, columns, blocks) {
  const first = index.layers[0]?.pre;
  const start =
    first && first.target_rank !== null
      ? [{ x: columns.start.x + columns.start.width / 2, rank: first.target_rank, id: first.id }]
      : [];
  const closed = columns.columns.flatMap((column) => {
    const post = index.layers[column.layer].post;
    if (column.open || !post || post.target_rank === null) return [];
    return [{ x: column.x + column.width / 2, rank: post.target_rank, id: post.id }];
  });
  return [...start, ...closed, ...blocks.flatMap(({ ranks }) => ranks)];
}

/**
 * @param {GraphIndex} index
 * @param {import("./columns.js").Columns} columns
 */
function laneNames({ layers }, { start }) {
  const x = start.x + start.width - 8;
  const above = layers.some(({ attention }) => attention)
    ? "attention"
    : layers.some(({ mix }) => mix)
      ? "opaque"
      : null;
  const below = layers.some(({ mlp }) => mlp) ? "MLP" : null;
  return [
    { key: "above", x, y: 4 - WRITER_DISTANCE, text: above },
    { key: "below", x, y: 4 + WRITER_DISTANCE, text: below },
  ].flatMap(({ text, ...lane }) => (text === null ? [] : [{ ...lane, text }]));
}
