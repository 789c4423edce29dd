import { edge, node } from "../../helpers/graph.js";
import { withLayers } from "./fixtures.js";

/**
 * The same numbers for the same seed (mulberry32).
 * @param {number} seed
 */
export function randomOf(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

const LABELS = [
  "␣Tokyo", "a", "␣", "⏎⏎", "東京都", "␣Internationalisierung", "\\xe3\\x81", "مرحبا", "␣שלום",
  "👩‍🔬", "ก็", "||-", "␣Kapital", "é", "MetaInformation", "\\u00a0",
]; // biome-ignore format: a table

/**
 * A model of some layers with open ones, as the kernel sends them at default pruning.
 * @param {object} wish
 * @param {number} wish.seed
 * @param {number} wish.layers
 * @param {number} wish.heads
 * @param {number[]} wish.open
 * @param {number} [wish.neurons]
 * @param {number} [wish.memories]
 */
export function randomGraph({ seed, layers, heads, open, neurons = 12, memories = 2 }) {
  const random = randomOf(seed);
  const base = withLayers(layers);
  const nodes = [...base.nodes];
  const edges = [...base.edges];
  const pick = () => LABELS[Math.floor(random() * LABELS.length)];
  const value = () => (random() - 0.4) * 10 ** (2 * random() - 1.5);
  const sources = base.tokens.length;
  for (const layer of open) {
    const id = (part) => `L${layer}.${part}`;
    const add = (part, kind, more = {}) =>
      nodes.push(node(id(part), kind, { layer, label: pick(), logit: null, ...more }));
    const part = (from, to, kind, logit) =>
      edges.push(edge(id(from), id(to), kind, { logit, share: logit / 5, norm: Math.abs(logit) }));
    add("ln1", "norm", { label: null });
    add("ln2", "norm", { label: null });
    const kept = Math.min(heads, 10);
    for (let head = 0; head < kept; head++) {
      const own = `H${head * Math.max(1, Math.floor(heads / kept))}`;
      const number = Number(own.slice(1));
      const logit = value();
      add(own, "head", { head: number, logit });
      part(own, "attn", "part", logit);
      add(`${own}.Q`, "query", { head: number });
      edges.push(edge(id("ln1"), id(`${own}.Q`), "read"));
      const seen = new Set();
      while (seen.size < Math.min(memories, sources)) seen.add(Math.floor(random() * sources));
      for (const source of seen) {
        const weight = random();
        const adds = logit * random();
        add(`${own}.K${source}`, "key", { head: number, source, weight });
        add(`${own}.V${source}`, "value", { head: number, source, weight, logit: adds });
        edges.push(edge(id(`${own}.Q`), id(`${own}.K${source}`), "score"));
        edges.push(edge(id(`${own}.K${source}`), id(`${own}.V${source}`), "weight"));
        part(`${own}.V${source}`, own, "part", adds);
      }
      add(`${own}.rest`, "rest", { head: number, rest: { of: "value", count: 6 }, logit: 0.1 });
      part(`${own}.rest`, own, "part", 0.1);
    }
    if (heads > kept) {
      add("attn.rest", "rest", { rest: { of: "head", count: heads - kept }, logit: 0.2 });
      part("attn.rest", "attn", "part", 0.2);
    }
    for (let at = 0; at < neurons; at++) {
      const neuron = Math.floor(random() * 16_000);
      const logit = value();
      add(`N${neuron}`, "neuron", { neuron, logit, activation: random() * 5 });
      add(`N${neuron}.key`, "neuron_key", { neuron });
      edges.push(edge(id("ln2"), id(`N${neuron}.key`), "read"));
      edges.push(edge(id(`N${neuron}.key`), id(`N${neuron}`), "activation"));
      part(`N${neuron}`, "mlp", "part", logit);
    }
    add("mlp.rest", "rest", { rest: { of: "neuron", count: 3000 }, logit: -0.3 });
    part("mlp.rest", "mlp", "part", -0.3);
  }
  return { ...base, model: { ...base.model, n_heads: heads }, nodes, edges };
}
