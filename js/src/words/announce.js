/** What a screen reader is told when something has changed that its reader did not see. */

import { otherNode } from "../state/other-side.js";
import { knownNode, measuredOf, mergedGraph, pendingLayers, showsAll } from "../state/selectors.js";
import { counted, percent, whole } from "./format.js";
import { measuredWords, outcome } from "./interventions.js";
import { partingWords, thereWords } from "./other-side.js";
import { contribution, effectWords, nodeTitle, tokenText } from "./words.js";

/** @import { State } from "../state/state.js" */
/** @import { FlowGraph, Node } from "../types.js" */

/**
 * What happened, each under a topic of its own: of what happens in a row, the last of a topic counts.
 *
 * @typedef {{topic: string, text: string}} Announcement
 */

/** What an opened layer is told by. */
const COUNTED = [
  ["head", "head", "heads"],
  ["opaque", "opaque part", "opaque parts"],
  ["expert", "expert", "experts"],
  ["neuron", "neuron", "neurons"],
];

/**
 * @param {State} before
 * @param {State} after
 * @returns {Announcement[]}
 */
export function announcements(before, after) {
  if (before === after) return [];
  return [
    ...promptNews(before, after),
    ...graphNews(before, after),
    ...layerNews(before, after),
    ...effectNews(before, after),
    ...routesNews(before, after),
    ...selectionNews(before, after),
    ...problemNews(before, after),
  ];
}

/**
 * @param {State} before
 * @param {State} after
 * @returns {Announcement[]}
 */
function promptNews(before, after) {
  const { prompts, opened, graph } = after;
  if (!prompts || opened === before.opened) return [];
  if (opened === null) {
    return [{ topic: "opened", text: `${counted(prompts.rows.length, "prompt")} on show.` }];
  }
  // Another graph is told once it has come.
  if (graph?.opened !== opened) return [];
  return [{ topic: "opened", text: `Prompt ${opened} is open: ${prompts.rows[opened]?.text}` }];
}

/**
 * @param {State} before
 * @param {State} after
 * @returns {Announcement[]}
 */
function graphNews(before, after) {
  const { graph } = after;
  if (!graph || graph.revision === before.graph?.revision || showsAll(after)) return [];
  const { target, foil, position } = graph;
  const rank = target.rank === null ? "" : `, rank ${whole(target.rank)}`;
  const now = target.probability === null ? "" : `: ${percent(target.probability)}${rank}`;
  const then = outcome(graph);
  const stands = then === null ? now : `; ${then}`;
  const over = foil ? ` over ${foil.text}` : "";
  const place = `at ${tokenText(graph, position)}, position ${position}`;
  const parting = partingWords(graph);
  const beside = graph.against ? ` Beside “${graph.against.prompt}”.` : "";
  const text = `New graph ${place}, for ${target.text}${over}${stands}.${beside}`;
  return [{ topic: "graph", text: parting ? `${text} ${parting}.` : text }];
}

/**
 * @param {State} before
 * @param {State} after
 * @returns {Announcement[]}
 */
function layerNews(before, after) {
  const { graph, blocks } = after;
  if (!graph) return [];
  const known = new Set(readyLayers(before));
  const now = readyLayers(after);
  const opened = now.filter((layer) => !known.has(layer));
  const closed = before.expanded.filter((layer) => !after.expanded.includes(layer));
  return [
    ...closed.map((layer) => ({ topic: `layer ${layer}`, text: `Layer ${layer} is closed.` })),
    ...opened.map((layer) => ({
      topic: `layer ${layer}`,
      text: `Layer ${layer} is open: ${contentOf([graph, blocks[layer]], layer)}.`,
    })),
  ];
}

/**
 * @param {State} before
 * @param {State} after
 * @returns {Announcement[]}
 */
function effectNews(before, after) {
  return Object.entries(after.effects).flatMap(([layer, effects]) => {
    if (!effects.of || before.effects[Number(layer)] === effects) return [];
    const text = `Effects of layer ${layer} are measured: ${measuredWords(effects)}.`;
    return [{ topic: `effects ${layer}`, text }];
  });
}

/** @param {State} state */
function readyLayers(state) {
  const pending = pendingLayers(state);
  return state.graph ? state.expanded.filter((layer) => !pending.includes(layer)) : [];
}

/**
 * @param {({nodes: Node[]} | undefined)[]} held The overview, and the layer's own block.
 * @param {number} layer
 * @returns {string} "9 heads, 12 neurons"
 */
function contentOf(held, layer) {
  const nodes = held.flatMap((part) => part?.nodes.filter((node) => node.layer === layer) ?? []);
  const inLayer = [...new Map(nodes.map((node) => [node.id, node])).values()];
  const parts = COUNTED.flatMap(([kind, one, many]) => {
    const count = inLayer.filter((node) => node.kind === kind).length;
    return count === 0 ? [] : counted(count, one, many);
  });
  return parts.join(", ") || "nothing apart";
}

/**
 * @param {State} before
 * @param {State} after
 * @returns {Announcement[]}
 */
function routesNews(before, after) {
  const { routes, graph, view } = after;
  const isThere = (/** @type {State} */ state) =>
    state.view === "routes" && state.routes?.revision === state.graph?.revision;
  if (view !== "routes" || !graph || !routes || !isThere(after) || isThere(before)) return [];
  const positions = new Set(routes.nodes.map(({ position }) => position));
  const text = `Routes to ${graph.target.text}: from ${counted(positions.size, "position")} of ${graph.tokens.length}.`;
  return [{ topic: "routes", text }];
}

/**
 * @param {State} before
 * @param {State} after
 * @returns {Announcement[]}
 */
function selectionNews(before, after) {
  const { selection } = after;
  const graph = mergedGraph(after);
  if (!graph || before.selection.join() === selection.join()) return [];
  return [{ topic: "selection", text: selectionWords(after, graph) }];
}

/**
 * @param {State} state
 * @param {FlowGraph} graph
 */
function selectionWords(state, graph) {
  const { selection } = state;
  if (selection.length === 0) return "Nothing is selected.";
  if (selection.length > 1) return `${whole(selection.length)} parts are selected.`;
  const node = knownNode(state, selection[0]);
  if (!node) return `Selected: ${selection[0]}.`;
  const does = [
    contribution(node, graph),
    effectWords(node, measuredOf(state, node.id)),
    thereWords(node, otherNode(state, node.id), graph),
  ];
  const facts = [nodeTitle(node, graph), node.label, ...does];
  return `Selected: ${facts.filter(Boolean).join(", ")}.`;
}

/**
 * @param {State} before
 * @param {State} after
 * @returns {Announcement[]}
 */
function problemNews(before, after) {
  return after.problems
    .filter((problem) => !before.problems.includes(problem))
    .map(({ key, message }) => ({ topic: `problem ${key}`, text: message }));
}
