/** What things are called on screen: the names of nodes, and what is said of them. */

import { capitalised, counted, percent, plain, shareOf, signed, whole } from "./format.js";
import { wordsOf } from "./lenses.js";
import { MIDDLE, mixerOf, neuronNumber, OPAQUE } from "./names.js";
import { thereWords } from "./other-side.js";

/** @import { Detail, FlowGraph, Node, NodeKind } from "../types.js" */

/** @type {Record<string, [string, string]>} Of what a rest node sums, and how it is counted. */
const REST_WORDS = {
  head: ["head", "heads"],
  neuron: ["neuron", "neurons"],
  value: ["memory", "memories"],
  memory: ["memory", "memories"],
  row: ["W_O row", "W_O rows"],
  part: ["part", "parts"],
  expert: ["expert", "experts"],
};

/** @type {Record<string, string>} */
const BIAS_OF = { attn: "attention", mix: "opaque part’s" };
/** @type {Record<string, string>} */
const CONSTANTS = {
  "norm.bias": "final norm’s bias",
  "logits.bias": "unembedding’s bias",
  "logits.entropy": "entropy of the tokens followed as one",
};

/**
 * @param {Node} node
 * @param {FlowGraph} graph
 * @returns {string} "Layer 23 · head 4"
 */
export function nodeTitle(node, graph) {
  if (node.kind === "residual" && node.layer !== null) return streamTitle(node, graph);
  const name = partName(node, graph);
  if (node.layer === null) return capitalised(name);
  return `Layer ${node.layer} · ${name}`;
}

/**
 * @param {Node} node
 * @param {FlowGraph} graph
 * @returns {string} Its name within its layer.
 */
export function partName(node, graph) {
  const source = node.source === null ? null : tokenText(graph, node.source);
  const head = node.head === null ? "" : `head ${node.head}`;
  switch (node.kind) {
    case "embed":
      return "embedding";
    case "residual":
      return streamName(node, graph);
    case "norm":
      return node.layer === null
        ? "final norm"
        : `norm before ${node.id.endsWith("ln1") ? middleOf(node.id, graph) : "the MLP"}`;
    case "query":
      return `${head} · query`;
    case "key":
      return `${head} · memory key of ${source}`;
    case "value":
      return `${head} · memory value of ${source}`;
    case "head":
      return head;
    case "row":
      return `W_O row ${node.id.split(".O")[1] ?? ""}`;
    case "attention":
      return "attention";
    case "opaque":
      return "opaque part";
    case "neuron_key":
      return `neuron ${neuronNumber(node)} · key`;
    case "neuron":
      return `neuron ${neuronNumber(node)}`;
    case "expert":
      return `expert ${node.id.split(".E")[1] ?? ""}`;
    case "mlp":
      return "MLP";
    case "bias":
      if (node.layer === null) return CONSTANTS[node.id] ?? "constant";
      return `${BIAS_OF[node.id.split(".")[1]] ?? "MLP"} bias`;
    case "edit":
    case "rounding":
      return node.kind === "edit" ? "edited" : "rounding";
    case "rest":
      return restName(node);
    case "logits":
      return "logits";
  }
}

/**
 * What the stream of a layer has taken in at its middle.
 *
 * @param {string} id Of any node of the layer.
 * @param {FlowGraph} graph
 */
function middleOf(id, graph) {
  const layer = Number(/^L(\d+)/.exec(id)?.[1]);
  return MIDDLE[mixerOf(graph, layer)];
}

/**
 * @param {Node} node
 * @param {FlowGraph} graph
 */
function streamTitle({ id, layer }, graph) {
  if (id.endsWith(".pre")) return `Before layer ${layer}`;
  if (id.endsWith(".mid")) return `Layer ${layer} · after ${middleOf(id, graph)}`;
  return `After layer ${layer}`;
}

/**
 * @param {Node} node
 * @param {FlowGraph} graph
 */
function streamName({ id }, graph) {
  if (id.endsWith(".pre")) return "the stream before it";
  if (id.endsWith(".mid")) return `the stream after ${middleOf(id, graph)}`;
  return "the stream after it";
}

/**
 * @param {Node} node
 * @returns {string} "1,525 more neurons"
 */
export function restName(node) {
  if (!node.rest) return "the rest";
  const [one, many] = REST_WORDS[node.rest.of] ?? ["part", "parts"];
  return counted(node.rest.count, `more ${one}`, `more ${many}`);
}

/** @type {Record<NodeKind, string>} */
const KIND_WORDS = {
  embed: "the token and its position, as a vector",
  residual: "hidden state",
  norm: "normed input",
  query: "what the head looks for",
  key: "memory key: what an earlier token offers to be found by",
  value: "memory value: what an earlier token hands over, weighted",
  head: "head output: what one head adds to the stream",
  row: "one row of W_O, times its activation",
  attention: "the sum of the layer's heads",
  opaque: OPAQUE,
  neuron_key: "what the neuron looks for",
  neuron: "what the neuron",
  expert: "what one expert",
  mlp: "the sum of the layer's neurons",
  bias: "a constant that the layer adds",
  rounding: "what rounding in half precision added",
  edit: "what interventions changed here",
  rest: "left out of the picture, not out of the sum",
  logits: "what the model says next",
};

/**
 * @param {Node} node
 * @param {FlowGraph} graph
 * @returns {string} What a kind of node is, in a few words, for the tooltip.
 */
export function kindWords(node, graph) {
  const { does, inStream } = wordsOf(graph, node);
  const words = KIND_WORDS[node.kind];
  if (node.kind === "residual") return `${words}; its token is the one ${inStream}`;
  return node.kind === "neuron" || node.kind === "expert" ? `${words} ${does}` : words;
}

/**
 * What a whole is called when a part is a share of it.
 *
 * @param {string} id
 * @param {FlowGraph} graph
 * @returns {string}
 */
export function wholeName(id, graph) {
  const head = /\.H(\d+)$/.exec(id);
  if (head) return `head ${head[1]}`;
  if (id.endsWith(".attn")) return "attention";
  if (id.endsWith(".mix")) return "the opaque part";
  if (id.endsWith(".mlp")) return "the MLP";
  if (id.endsWith(".mid")) return `the stream after ${middleOf(id, graph)}`;
  if (id.endsWith(".post")) return "the stream after the layer";
  return "the stream";
}

/**
 * What a node does for the target: "adds +2.68 to ␣Tokyo".
 *
 * @param {Node} node
 * @param {FlowGraph} graph
 * @returns {string | null}
 */
export function contribution(node, graph) {
  if (node.logit === null || node.logit === undefined) return null;
  const target = graph.target.text;
  if (node.kind === "residual" || node.kind === "norm" || node.kind === "logits") {
    return graph.foil
      ? `${target} over ${graph.foil.text}: ${signed(node.logit)}`
      : `${graph.target.combine === "direction" ? "along" : "logit of"} ${target}: ${plain(node.logit)}`;
  }
  const aim = graph.foil ? `${target} over ${graph.foil.text}` : target;
  return node.logit < 0
    ? `takes ${plain(-node.logit)} from ${aim}`
    : `adds ${signed(node.logit)} to ${aim}`;
}

/**
 * What the prediction would lose without a part: to first order, and as it was measured.
 *
 * @param {Node} node
 * @param {number | null} [measured]
 * @returns {string | null} "effect foretold +2.48, measured +2.75"
 */
export function effectWords({ effect }, measured) {
  if (effect == null) return null;
  const said = measured == null ? "" : `, measured ${signed(measured)}`;
  return `effect foretold ${signed(effect)}${said}`;
}

/**
 * What a stream said in the pass as it is.
 *
 * @param {Node} node
 * @param {FlowGraph} graph
 * @returns {string | null} "was ␣Tokyo, rank 1"
 */
export function wasWords({ id, label, target_rank: rank }, { before }) {
  const was = before?.streams[id];
  if (!was || (was.label === label && was.target_rank === rank)) return null;
  const said = was.label ?? "no token";
  return was.target_rank === null ? `was ${said}` : `was ${said}, rank ${whole(was.target_rank)}`;
}

/**
 * The line under a node's title.
 *
 * @param {Node | Detail} node
 * @param {FlowGraph} graph
 * @param {{share: number | null, whole: string | null, measured?: number | null,
 *   other?: Node | Detail | null}} part `other`: the same node in the other prompt.
 * @returns {string[]}
 */
export function nodeFacts(node, graph, { share, whole, measured, other = null }) {
  /** @type {(string | null)[]} */
  const facts = [contribution(node, graph), effectWords(node, measured), wasWords(node, graph)];
  if (share !== null && whole !== null)
    facts.push(`${shareOf(share)} of ${wholeName(whole, graph)}`);
  if ((node.kind === "key" || node.kind === "value") && !node.only) facts.push(memoryWords(node));
  if (node.activation !== null && node.activation !== undefined) {
    facts.push(`activation ${signed(node.activation)}`);
  }
  facts.push(thereWords(node, other, graph));
  return /** @type {string[]} */ (facts.filter(Boolean));
}

/** @param {Node} node */
function memoryWords(node) {
  if (node.weight !== null) return `attention ${percent(node.weight)}`;
  return node.score === null ? null : `score ${plain(node.score)}`;
}

/**
 * @param {number} rank
 * @returns {string} "rank 1,164"
 */
export const rankWords = (rank) => `rank ${whole(rank)}`;

/**
 * @param {FlowGraph} graph
 * @param {number} position
 */
export function tokenText(graph, position) {
  // One of the other prompt's, that has no partner here (state/only-there.js).
  if (position < 0) return graph.against?.tokens[-1 - position]?.text ?? "a token there";
  return graph.tokens[position]?.text ?? `token ${position}`;
}
