/** What the views read off the state. */

import { sameKeep } from "./keep.js";
import { nodeOnlyThere, onlyThere, wholeAgainst } from "./only-there.js";
import { sameValue } from "./same.js";

/** @import { Block, Detail, Edge, FlowGraph, LateName, Node } from "../types.js" */
/** @import { State } from "./state.js" */

/**
 * Keeps a selector's last answer while its inputs are the same objects, so that views can tell by
 * identity that nothing changed.
 *
 * @template {any[]} Inputs
 * @template Answer
 * @param {(state: State) => [...Inputs]} read
 * @param {(...inputs: Inputs) => Answer} compute
 * @returns {(state: State) => Answer}
 */
export function memoise(read, compute) {
  /** @type {WeakMap<object, {inputs: Inputs, answer: Answer}>} */
  const byGraph = new WeakMap();
  const none = {};
  return (state) => {
    const inputs = read(state);
    const home = state.graph ?? none;
    const last = byGraph.get(home);
    if (last?.inputs.every((input, index) => input === inputs[index])) return last.answer;
    const answer = compute(...inputs);
    byGraph.set(home, { inputs, answer });
    return answer;
  };
}

/**
 * The overview with the block graphs of the expanded layers.
 */
export const mergedGraph = memoise(
  (state) => [state.graph, state.blocks, state.expanded],
  (graph, blocks, expanded) => {
    if (!graph) return null;
    const added = expanded.flatMap((layer) => blocks[layer] ?? []);
    if (added.length === 0) return graph;
    // Of a node that both hold, a block of an earlier revision has not the last word.
    const isOld = (/** @type {Block} */ { revision }) => revision !== graph.revision;
    const old = added.filter(isOld);
    /** @type {Map<string, Node>} */
    const nodes = new Map();
    /** @type {Map<string, Edge>} */
    const edges = new Map();
    for (const part of [...old, graph, ...added.filter((block) => !isOld(block))]) {
      for (const node of part.nodes) nodes.set(node.id, node);
      for (const edge of part.edges) edges.set(`${edge.kind} ${edge.source} ${edge.target}`, edge);
    }
    const against = wholeAgainst(
      graph,
      added.filter((block) => !isOld(block)),
    );
    const alone = onlyThere(against, nodes);
    /** @type {FlowGraph} */
    const merged = {
      ...graph,
      against,
      layers: [...new Set([...graph.layers, ...added.map((block) => block.layer)])].sort(
        (a, b) => a - b,
      ),
      nodes: [...nodes.values(), ...alone.nodes],
      edges: [...edges.values(), ...alone.edges],
    };
    return merged;
  },
);

/**
 * The measure that is drawn: effects are on screen once a graph that carries them is.
 *
 * @param {State} state
 */
export const shownMeasure = ({ measure, graph }) =>
  measure === "effect" && graph && !carriesEffects(graph) ? graph.measure : measure;

/**
 * The measured effect of a part, where that has come.
 *
 * @param {State} state
 * @param {string} id
 * @returns {number | null}
 */
export function measuredOf({ effects, graph }, id) {
  const of = effects[Number(/^L(\d+)/.exec(id)?.[1])];
  return of && of.revision === graph?.revision ? (of.nodes[id]?.measured ?? null) : null;
}

/** @param {FlowGraph} graph */
export const carriesEffects = ({ edges }) => edges.some(({ effect }) => effect != null);

/** Expanded layers that there is nothing to show of yet. */
export const pendingLayers = memoise(
  (state) => [state.graph, state.blocks, state.expanded],
  (graph, blocks, expanded) =>
    expanded.filter((layer) => !blocks[layer] && !graph?.layers.includes(layer)),
);

/** Expanded layers whose block graph is not there yet, or of an earlier revision. */
export const staleLayers = memoise(
  (state) => [state.graph, state.blocks, state.expanded],
  (graph, blocks, expanded) =>
    expanded.filter(
      (layer) => blocks[layer]?.revision !== graph?.revision && !graph?.layers.includes(layer),
    ),
);

export const nodeIndex = memoise(
  (state) => [mergedGraph(state)],
  (graph) => new Map(graph?.nodes.map((node) => [node.id, node])),
);

const routeIndex = memoise(
  (state) => [state.routes],
  (routes) => {
    const nodes = new Map(routes?.nodes.map((node) => [node.id, node]));
    for (const node of routes?.against?.nodes ?? []) {
      if (!nodes.has(node.id)) nodes.set(node.id, nodeOnlyThere(node));
    }
    return nodes;
  },
);

/**
 * A node of the routes, this prompt's or the other's alone.
 *
 * @param {State} state
 * @param {string} id
 * @returns {Node | null}
 */
export const routeNode = (state, id) => routeIndex(state).get(id) ?? null;

/**
 * A node as far as it is known: its detail where that has come, else what the graph holds.
 *
 * @param {State} state
 * @param {string} id
 * @returns {Detail | Node | null}
 */
export function knownNode(state, id) {
  return knownDetail(state, id) ?? nodeIndex(state).get(id) ?? routeNode(state, id);
}

/**
 * @param {State} state
 * @param {string} id
 * @returns {Detail | null}
 */
export function knownDetail(state, id) {
  return state.details[id] ?? state.oldDetails[id] ?? null;
}

/**
 * The edge by which a node flows into its whole.
 *
 * @param {State} state
 * @param {string} id
 * @returns {Edge | null}
 */
export function outgoingPart(state, id) {
  const graph = id.startsWith("P") ? state.routes : mergedGraph(state);
  return (
    graph?.edges.find(
      (edge) => edge.source === id && (edge.kind === "part" || edge.kind === "write"),
    ) ?? null
  );
}

/**
 * What a head reads, as far as the graph holds it: its memories' weights, by position.
 *
 * @param {State} state
 * @param {Node} node
 * @returns {Map<number, number>}
 */
export function knownAttention(state, node) {
  /** @type {Map<number, number>} */
  const weights = new Map();
  for (const other of mergedGraph(state)?.nodes ?? []) {
    if (other.layer !== node.layer || other.head !== node.head) continue;
    if (other.source === null || other.weight === null || other.only) continue;
    weights.set(other.source, other.weight);
  }
  return weights;
}

/**
 * Selected and pinned nodes that have no detail yet, for the graph on screen. A selected one that an
 * open layer's block may yet bring is not asked for before that has come.
 *
 * @param {State} state
 */
export function missingDetails(state) {
  const isDrawn = (/** @type {string} */ id) => {
    if (nodeIndex(state).has(id)) return true;
    if (id.startsWith("P")) return isStale(state, "routes") || routeIndex(state).has(id);
    return !state.expanded.some((layer) => id.startsWith(`L${layer}.`));
  };
  const isUnknown = (/** @type {string} */ id) => !state.details[id] && !state.detailsMissing[id];
  const selected = state.selection.filter((id) => isUnknown(id) && isDrawn(id));
  return [...new Set([...selected, ...state.pins.filter(isUnknown)])];
}

/**
 * Whether a late reply is not of the graph on screen: not there, or of an earlier revision.
 *
 * @param {State} state
 * @param {LateName} name
 */
export function isStale(state, name) {
  return state[name]?.revision !== state.graph?.revision;
}

/**
 * What stands under the prompt's tokens fails as one.
 *
 * @param {LateName} name
 * @returns {string} The key of the problem.
 */
export const problemOf = (name) => (name === "routes" ? "routes" : "under-tokens");

/**
 * Whether the kernel is at a late reply.
 *
 * @param {State} state
 * @param {LateName} name
 */
export function latePending(state, name) {
  return (
    isStale(state, name) &&
    state.lateAsked.includes(name) &&
    !state.lateMissing.includes(name) &&
    state.problems.every(({ key }) => key !== problemOf(name))
  );
}

/**
 * Whether the kernel is at the audit.
 *
 * @param {State} state
 */
export function auditPending(state) {
  return state.auditAsked && !state.audit && state.problems.every(({ key }) => key !== "audit");
}

/**
 * How far off the graph on screen is: by the audit where there is one, and at least by what the
 * kernel checks with every graph.
 *
 * @param {State} state
 * @returns {{exact: boolean, error: number | null} | null}
 */
export function exactness({ status, audit }) {
  if (status.exact === null) return null;
  if (!audit) return { exact: status.exact, error: status.max_error };
  const known = status.max_error !== null && audit.max_error !== null;
  const error = known ? Math.max(status.max_error ?? 0, audit.max_error ?? 0) : null;
  return { exact: status.exact && audit.exact, error };
}

/**
 * Whether another of many prompts is to be opened than the graph is of.
 *
 * @param {State} state
 */
export const opensAnother = ({ opened, graph }) =>
  opened !== null && graph?.opened !== undefined && opened !== graph.opened;

/**
 * Whether many prompts are on show, and none of them is open.
 *
 * @param {State} state
 */
export const showsAll = ({ prompts, opened }) => prompts !== null && opened === null;

/**
 * Whether the reader has asked for another graph than the one on screen.
 *
 * @param {State} state
 */
export function awaitsGraph(state) {
  const { graph, focus, target, foil, measure, keep, live } = state;
  if (!graph) return false;
  if (state.status.state === "busy") return true;
  // A page without a kernel shows other measures of the graph that it has.
  if (live && (measure !== graph.measure || !sameKeep(keep, graph.keep))) return true;
  if (live && opensAnother(state)) return true;
  if (live && graph.branch !== undefined) {
    if (state.step !== graph.step || state.branch !== graph.branch) return true;
  }
  if (live && graph.lens && state.lens !== graph.lens) return true;
  if (live && state.against !== (graph.against?.prompt ?? null)) return true;
  if (live && !sameValue(state.interventions, graph.interventions ?? [])) return true;
  return (
    focus !== graph.position ||
    (target !== null && target.id !== graph.target.id) ||
    (foil?.id ?? null) !== (graph.foil?.id ?? null)
  );
}

/**
 * @param {State} state
 * @returns {{done: number, total: number} | null}
 */
export function overallProgress(state) {
  const parts = Object.values(state.progress);
  if (parts.length === 0) return null;
  return {
    done: parts.reduce((sum, part) => sum + part.done, 0),
    total: parts.reduce((sum, part) => sum + part.total, 0),
  };
}
