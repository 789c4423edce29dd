/**
 * What a new graph leaves of the earlier one, and what replies are worth: each belongs to one
 * revision of the graph.
 */

import { BARE_EDGE, BARE_NODE } from "./bare.js";
import { nodeOnlyThere } from "./only-there.js";
import { nodeIndex, staleLayers } from "./selectors.js";

/** @import { Block, Detail, FlowGraph, LateName, Routes } from "../types.js" */
/** @import { State } from "./state.js" */

/** @type {LateName[]} Replies about the whole graph, asked for when a view wants them. */
export const LATE_NAMES = ["routes", "predictions", "attribution", "sinks"];

/**
 * A new revision makes everything void that was asked of the earlier one. Of the same prompt, what
 * is on show stays there until its successor has come, so that nothing jumps.
 *
 * @param {State} state
 * @param {FlowGraph | null} graph
 * @returns {State}
 */
export function takeGraph(state, graph) {
  const old = state.graph;
  if (graph && graph.revision === old?.revision) return { ...state, graph };
  const samePrompt = isSamePrompt(old, graph);
  const sameFocus = samePrompt && old?.position === graph?.position;
  /** @type {State} */
  const next = {
    ...state,
    graph,
    blocks: sameFocus ? openBlocks(state, graph) : {},
    asked: [],
    details: {},
    oldDetails: sameFocus && asksTheSame(old, graph) ? keptDetails(state) : {},
    detailsAsked: [],
    detailsMissing: {},
    audit: null,
    effects: {},
    composed: null,
    auditAsked: false,
    lateAsked: [],
    lateMissing: [],
    // A fit is of the model, whatever is drawn of it.
    progress: state.progress.fit ? { fit: state.progress.fit } : {},
    problems: [],
    silent: false,
  };
  if (!samePrompt) {
    const goesOn = begins(old, graph);
    // Of a generation's next step what is on show is about the same tokens, and one more.
    if (!goesOn && !begins(graph, old)) {
      return { ...next, routes: null, attribution: null, predictions: null, sinks: null };
    }
    return dropGone(goesOn ? next : { ...next, routes: null }, () => true);
  }
  // Routes, and what tokens add, are of the pass as it is.
  const told = graph?.before ? { ...next, routes: null, attribution: null, sinks: null } : next;
  return dropGone(told, () => true);
}

/**
 * @param {State} state
 * @param {Block} block
 * @returns {State}
 */
export function takeBlock(state, block) {
  if (block.revision !== state.graph?.revision) return state;
  /** @type {State} */
  const next = {
    ...state,
    asked: state.asked.filter((layer) => layer !== block.layer),
    blocks: { ...state.blocks, [block.layer]: block },
  };
  return dropGone(next, (layer) => layer === block.layer);
}

/**
 * @param {State} state
 * @param {{revision: number, details: Record<string, Detail>, against?: Record<string, Detail>,
 *   missing?: Record<string, string>}} reply
 * @returns {State}
 */
export function takeDetails(state, { revision, details, against = {}, missing = {} }) {
  if (revision !== state.graph?.revision) return state;
  const both = Object.entries(details).map(([id, detail]) => [
    id,
    against[id] ? { ...detail, other: against[id] } : detail,
  ]);
  const alone = Object.entries(against)
    .filter(([id]) => !(id in details))
    .map(([id, other]) => [id, { ...other, ...nodeOnlyThere(other), other }]);
  return {
    ...state,
    details: { ...state.details, ...Object.fromEntries([...both, ...alone]) },
    detailsMissing: { ...state.detailsMissing, ...missing },
    detailsAsked: state.detailsAsked.filter(
      (id) => !(id in details) && !(id in against) && !(id in missing),
    ),
  };
}

/**
 * @param {State} state
 * @param {LateName} name
 * @param {any} reply
 * @returns {State}
 */
export function takeLate(state, name, reply) {
  if (reply.revision !== state.graph?.revision) return state;
  if (name !== "routes") return { ...state, [name]: reply };
  const routes = wholeRoutes(reply);
  const held = new Set([...routes.nodes, ...(routes.against?.nodes ?? [])].map(({ id }) => id));
  return withSelection({ ...state, routes }, (id) => !isRouteId(id) || held.has(id));
}

/**
 * @param {Routes} reply
 * @returns {Routes}
 */
function wholeRoutes(reply) {
  return {
    ...reply,
    nodes: reply.nodes.map((node) => ({ ...BARE_NODE, ...node })),
    edges: reply.edges.map((edge) => ({ ...BARE_EDGE, ...edge })),
  };
}

/**
 * @param {string} id
 * @returns {boolean} Whether it names a node of the routes graph alone.
 */
export const isRouteId = (id) => /^Pb?\d+\./.test(id);

/**
 * Selected nodes that pruning has left out of the graph are no longer selected.
 *
 * @param {State} state
 * @param {(layer: number) => boolean} isKnown Whether all of a layer's nodes are known by now.
 * @returns {State}
 */
function dropGone(state, isKnown) {
  // Blocks come one by one, and what all of them hold is only wanted in the end.
  if (state.selection.length === 0) return state;
  const nodes = nodeIndex(state);
  const waits = staleLayers(state);
  return withSelection(state, (id) => {
    if (isRouteId(id) || nodes.has(id)) return true;
    const layer = layerOf(id);
    return layer !== null && (waits.includes(layer) || !isKnown(layer));
  });
}

/**
 * @param {State} state
 * @param {(id: string) => boolean} stays
 * @returns {State}
 */
function withSelection(state, stays) {
  const selection = state.selection.filter(stays);
  return selection.length === state.selection.length ? state : { ...state, selection };
}

/**
 * @param {string} id
 * @returns {number | null}
 */
export function layerOf(id) {
  const found = /^L(\d+)\./.exec(id);
  return found ? Number(found[1]) : null;
}

/**
 * @param {FlowGraph | null} a
 * @param {FlowGraph | null} b
 */
function isSamePrompt(a, b) {
  return (
    a !== null &&
    b !== null &&
    a.prompt === b.prompt &&
    a.tokens.length === b.tokens.length &&
    a.model.name === b.model.name
  );
}

/**
 * Whether a generation's later step is told by the first tokens of another.
 *
 * @param {FlowGraph | null} a
 * @param {FlowGraph | null} b
 */
function begins(a, b) {
  return (
    a?.step != null &&
    b?.step != null &&
    a.tokens.length <= b.tokens.length &&
    a.tokens.every(({ id }, at) => id === b.tokens[at].id)
  );
}

/**
 * @param {FlowGraph | null} a
 * @param {FlowGraph | null} b
 */
function asksTheSame(a, b) {
  return (
    a?.target.id === b?.target.id &&
    a?.foil?.id === b?.foil?.id &&
    a?.against?.prompt === b?.against?.prompt
  );
}

/**
 * @param {State} state
 * @param {FlowGraph | null} graph
 */
function openBlocks({ blocks, expanded }, graph) {
  const kept = Object.entries(blocks).filter(
    ([layer]) => expanded.includes(Number(layer)) && !graph?.layers.includes(Number(layer)),
  );
  return Object.fromEntries(kept);
}

/**
 * What a rest node sums depends on what is kept; all other nodes are what they were.
 *
 * @param {State} state
 */
function keptDetails({ details, oldDetails }) {
  const all = Object.entries({ ...oldDetails, ...details });
  return Object.fromEntries(all.filter(([, { kind }]) => kind !== "rest"));
}
