/** What an open layer shows, read from the graph and put in order; no positions yet. */

import { nodeValue } from "../../shared/graph.js";
import { placesOf, untangle } from "./order.js";

/** @typedef {import("../../../types.js").Node} Node */
/** @typedef {import("../../../types.js").Measure} Measure */
/** @typedef {import("../../shared/graph.js").GraphIndex} GraphIndex */
/** @typedef {import("../../shared/graph.js").LayerParts} LayerParts */

/**
 * @typedef {object} Memory
 * @property {number} source
 * @property {Node | null} key
 * @property {Node | null} value
 *
 * @typedef {object} HeadBand
 * @property {Node} head
 * @property {Node | null} query
 * @property {Memory[]} memories In the order of the prompt.
 * @property {Node | null} rest
 * @property {Node | null} [edit] What an intervention changed in it.
 * @property {Node[]} rows
 *
 * @typedef {object} NeuronRow
 * @property {Node} neuron
 * @property {Node | null} key
 *
 * @typedef {object} BlockContent
 * @property {number} layer
 * @property {LayerParts} parts
 * @property {Node | null} ln1
 * @property {Node | null} ln2
 * @property {HeadBand[]} bands
 * @property {Node[]} attentionOthers Bias and rest.
 * @property {NeuronRow[]} neurons
 * @property {Node[]} mlpOthers
 */

/** @param {Node[]} nodes */
const bySource = (nodes) => new Map(nodes.map((node) => [node.source, node]));

/**
 * @param {GraphIndex} index
 * @param {number} layer
 * @param {Measure} measure
 * @returns {BlockContent}
 */
export function readBlock(index, layer, measure) {
  const nodes = index.byLayer.get(layer) ?? [];
  const ofKind = (/** @type {string} */ kind) => nodes.filter((node) => node.kind === kind);
  const size = (/** @type {Node} */ node) => Math.abs(nodeValue(index, node, measure) ?? 0);
  const strongestFirst = (/** @type {Node[]} */ list) =>
    [...list].sort((a, b) => size(b) - size(a) || a.id.localeCompare(b.id));
  const own = (/** @type {Node} */ head, /** @type {string} */ kind) =>
    nodes.filter((node) => node.kind === kind && node.head === head.head);
  const of = (/** @type {string} */ whole, /** @type {string} */ name) =>
    index.nodes.get(`${whole}.${name}`) ?? null;
  // Others: heads that the reader has hidden, as views/layers/gather.js puts them together.
  const others = (/** @type {string} */ whole) =>
    ["bias", "rounding", "edit", "others", "rest"].flatMap((name) => of(whole, name) ?? []);

  const bands = strongestFirst(ofKind("head")).map((head) => ({
    head,
    query: own(head, "query")[0] ?? null,
    memories: readMemories(own(head, "key"), own(head, "value")),
    rest: of(head.id, "rest"),
    edit: of(head.id, "edit"),
    rows: strongestFirst(own(head, "row")),
  }));
  return {
    layer,
    parts: index.layers[layer],
    ln1: index.nodes.get(`L${layer}.ln1`) ?? null,
    ln2: index.nodes.get(`L${layer}.ln2`) ?? null,
    bands: orderMemories(bands),
    attentionOthers: others(`L${layer}.attn`),
    neurons: strongestFirst([...ofKind("expert"), ...ofKind("neuron")]).map((neuron) => ({
      neuron,
      key: index.nodes.get(`${neuron.id}.key`) ?? null,
    })),
    mlpOthers: others(`L${layer}.mlp`),
  };
}

/**
 * @param {Node[]} keys
 * @param {Node[]} values
 * @returns {Memory[]}
 */
function readMemories(keys, values) {
  const key = bySource(keys);
  const value = bySource(values);
  const sources = [...new Set([...key.keys(), ...value.keys()])].filter((s) => s !== null);
  return sources
    .sort((a, b) => a - b)
    .map((source) => ({ source, key: key.get(source) ?? null, value: value.get(source) ?? null }));
}

/** @param {Memory} memory */
export const memoryWeight = ({ key, value }) => key?.weight ?? value?.weight ?? 0;

/**
 * Source tokens stand in the prompt's order; memories move within their head to cross least.
 * @param {HeadBand[]} bands
 */
function orderMemories(bands) {
  const sources = new Set(bands.flatMap(({ memories }) => memories.map(({ source }) => source)));
  const fixed = placesOf([...sources].sort((a, b) => a - b).map((source) => `from.${source}`));
  const idOf = (/** @type {HeadBand} */ band, /** @type {Memory} */ memory) =>
    `${band.head.id}.${memory.source}`;
  const groups = bands.map((band) => band.memories.map((memory) => idOf(band, memory)));
  const links = bands.flatMap((band) =>
    band.memories.map((memory) => ({
      source: `from.${memory.source}`,
      target: idOf(band, memory),
      weight: memoryWeight(memory),
    })),
  );
  const order = untangle(groups, fixed, links);
  return bands.map((band, at) => {
    const places = placesOf(order[at]);
    const place = (/** @type {Memory} */ memory) => places.get(idOf(band, memory)) ?? 0;
    return { ...band, memories: [...band.memories].sort((a, b) => place(a) - place(b)) };
  });
}

/**
 * @param {LayerParts} parts
 * @param {BlockContent | null} content Null while it is being fetched.
 * @param {boolean} compared Whether another prompt is beside.
 * @returns {import("./grid.js").Shape}
 */
export const shapeOf = ({ attention, mlp }, content, compared) => ({
  compared,
  heads: attention !== undefined,
  rows: content?.bands.some(({ rows }) => rows.length > 0) ?? false,
  neurons: mlp !== undefined,
});
