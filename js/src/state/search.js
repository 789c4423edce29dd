/** What a search finds in the view on screen: a pure function over the state. */

import { layerOfNode } from "./filters.js";
import { isStale, mergedGraph } from "./selectors.js";

/** @import { FlowGraph, Node } from "../types.js" */
/** @import { State } from "./state.js" */

/**
 * @typedef {object} Hit
 * @property {string} key
 * @property {"token" | "node"} kind
 * @property {string | null} id Of a node; of a prompt token, in the routes, its root's.
 * @property {number | null} position Of a prompt token.
 * @property {number | null} layer
 * @property {boolean} opens Whether its layer has to be opened for it to be seen.
 * @property {string} text What was found.
 *
 * @typedef {{hits: Hit[], note: string | null}} Found `note`: why something is not there.
 */

/**
 * What is lit, by node id and as "token 3"; null while nothing is.
 *
 * @param {Found} found
 * @returns {Set<string> | null}
 */
export function litBy({ hits }) {
  const keys = hits.flatMap(({ key, id }) => (id === null ? [key] : [key, id]));
  return keys.length > 0 ? new Set(keys) : null;
}

/** In the routes' graph, parts that are not drawn by themselves. */
const UNDRAWN = ["bias", "rest", "rounding", "edit"];

const NOTHING = { hits: [], note: null };

/**
 * Hits in the order of the picture: tokens first, then nodes by layer, that of the very id asked for
 * before all. Case does not matter, and a space is a space however it is written.
 *
 * @param {State} state
 * @param {string} query
 * @returns {Found}
 */
export function findHits(state, query) {
  const wanted = folded(query);
  const { graph } = state;
  if (!graph || wanted.replaceAll("␣", "") === "") return NOTHING;
  return state.view === "routes"
    ? inRoutes(state, graph, wanted)
    : inLayers(state, graph, wanted, query.trim());
}

/** @param {string} text */
const folded = (text) => text.normalize("NFC").toLowerCase().replace(/\s/g, "␣");

/**
 * @param {State} state
 * @param {FlowGraph} graph
 * @param {string} wanted
 * @param {string} asked
 * @returns {Found}
 */
function inLayers(state, graph, wanted, asked) {
  const nodes = mergedGraph(state)?.nodes ?? [];
  const tokens = tokenHits(graph, wanted, () => null);
  // Of a layer that is not open, only what it writes and the stream after it are drawn.
  const isClosed = (/** @type {Node} */ { id, kind, layer }) =>
    layer !== null &&
    !state.expanded.includes(layer) &&
    kind === "residual" &&
    !id.endsWith(".post");
  const found = nodeHits(nodes, wanted, (id) => id, isClosed);
  const named = namedBy(asked);
  if (!named) return inOrder([...tokens, ...found], wanted);
  if (named.position !== null) {
    return { hits: [], note: `${named.id} is a part of the routes: look for it in that view.` };
  }
  if (found.length > 0) return inOrder([...tokens, ...found], wanted);
  return { ...NOTHING, ...notYet(state, graph, named) };
}

/**
 * A node that may be in a layer that is not open, or why it is not.
 *
 * @param {State} state
 * @param {FlowGraph} graph
 * @param {{id: string, layer: number, part: string}} named
 * @returns {Found}
 */
function notYet({ blocks, expanded }, graph, { id, layer, part }) {
  const { n_layers, n_heads, d_mlp } = graph.model;
  const none = (/** @type {string} */ note) => ({ hits: [], note });
  if (layer >= n_layers) return none(`There is no layer ${layer}: the last is ${n_layers - 1}.`);
  const [, kind, number] = /^([HN])(\d+)/.exec(part) ?? [];
  if (kind === "H" && Number(number) >= n_heads) {
    return none(`There is no head ${number}: the last is ${n_heads - 1}.`);
  }
  if (kind === "N" && Number(number) >= d_mlp) {
    return none(`There is no neuron ${number}: the last is ${d_mlp - 1}.`);
  }
  if (blocks[layer] && expanded.includes(layer)) {
    return none(`${id} is not drawn apart in layer ${layer}: keep more there to see it.`);
  }
  if (!/^(H\d|N\d|O\d|E\d|ln[12]|attn\.|mlp\.)/.test(part)) return NOTHING;
  return {
    hits: [{ key: id, kind: "node", id, position: null, layer, opens: true, text: id }],
    note: `Layer ${layer} has to be opened for it.`,
  };
}

/**
 * @param {State} state
 * @param {FlowGraph} graph
 * @param {string} wanted
 * @returns {Found}
 */
function inRoutes(state, graph, wanted) {
  const tokens = tokenHits(graph, wanted, (position) => `P${position}.embed`);
  if (!state.routes || isStale(state, "routes")) {
    return {
      hits: tokens,
      note: state.lateMissing.includes("routes")
        ? "The routes are not in this page: only its tokens were searched."
        : "The routes are on their way: only the tokens were searched.",
    };
  }
  const nodes = state.routes.nodes.filter(({ kind }) => !UNDRAWN.includes(kind));
  const found = nodeHits(nodes, wanted, (id) => id.replace(/^P\d+\./, ""));
  const hits = [...tokens, ...found];
  const named = namedBy(wanted.toUpperCase());
  if (hits.length === 0 && named) {
    return { hits, note: `${named.id} is on no way that is kept: keep more of the routes.` };
  }
  return inOrder(hits, wanted);
}

/**
 * @param {FlowGraph} graph
 * @param {string} wanted
 * @param {(position: number) => string | null} idOf
 * @returns {Hit[]}
 */
function tokenHits({ tokens }, wanted, idOf) {
  return tokens
    .filter(({ text }) => folded(text).includes(wanted))
    .map(({ position, text }) => ({
      key: `token ${position}`,
      kind: "token",
      id: idOf(position),
      position,
      layer: null,
      opens: false,
      text,
    }));
}

/**
 * @param {Node[]} nodes
 * @param {string} wanted
 * @param {(id: string) => string} shortOf What an id may be called as well.
 * @param {(node: Node) => boolean} [isClosed] Whether it is only seen when its layer is opened.
 * @returns {Hit[]}
 */
function nodeHits(nodes, wanted, shortOf, isClosed = () => false) {
  return nodes
    .filter((node) => {
      if (begins(node.id, wanted) || begins(shortOf(node.id), wanted)) return true;
      // What a token's own stream begins with is the token.
      if (node.kind === "embed" || isClosed(node)) return false;
      return [node.label, ...node.top.map(({ text }) => text)].some(
        (text) => text !== null && folded(text).includes(wanted),
      );
    })
    .map((node) => ({
      key: node.id,
      kind: "node",
      id: node.id,
      position: null,
      layer: layerOfNode(node.id),
      opens: isClosed(node),
      text: node.label === null ? node.id : `${node.id}: ${node.label}`,
    }));
}

/**
 * Whether an id is the one asked for, or of a part of it: L2 is not in L23, nor H4 in H41.
 *
 * @param {string} id
 * @param {string} wanted
 */
function begins(id, wanted) {
  const name = id.toLowerCase();
  if (!name.startsWith(wanted)) return false;
  const next = name[wanted.length] ?? ".";
  return next === "." || wanted.endsWith(".") || (/[a-z]$/.test(wanted) && /[a-z]/.test(next));
}

/**
 * @param {string} asked
 * @returns {{id: string, position: number | null, layer: number, part: string} | null}
 */
function namedBy(asked) {
  const found = /^(?:P(\d+)\.)?L(\d+)\.(\w[\w.]*)$/i.exec(asked);
  if (!found) return /^P(\d+)\.(L\d*\.?|embed)$/i.test(asked) ? routeName(asked) : null;
  const [, position, layer, part] = found;
  const tail = part.replace(/(^|\.)([hnkvqoe])(?=\d|$)/gi, (_, dot, letter) =>
    part === "embed" ? _ : `${dot}${letter.toUpperCase()}`,
  );
  const head = position === undefined ? "" : `P${position}.`;
  return {
    id: `${head}L${layer}.${tail}`,
    position: position === undefined ? null : Number(position),
    layer: Number(layer),
    part: tail,
  };
}

/** @param {string} asked */
const routeName = (asked) => ({
  id: asked.replace(/^p/, "P").replace(/\.l/, ".L"),
  position: Number(/\d+/.exec(asked)?.[0]),
  layer: 0,
  part: "",
});

/**
 * @param {Hit[]} hits
 * @param {string} wanted
 * @returns {Found}
 */
function inOrder(hits, wanted) {
  const rank = (/** @type {Hit} */ { kind, id, layer }) => {
    if (id?.toLowerCase() === wanted) return -2;
    return kind === "token" ? -1 : (layer ?? Number.POSITIVE_INFINITY);
  };
  return { hits: [...hits].sort((a, b) => rank(a) - rank(b) || 0), note: null };
}
