import expand from "../../../../tests/fixtures/expand.json";
import graph from "../../../../tests/fixtures/graph.json";
import { edge, node, graph as small } from "../../helpers/graph.js";

/** A fresh copy of the real overview: SmolLM2 on "The capital of Japan is the city of". */
export const overview = () => structuredClone(graph);

/** The real block of one layer. */
export const block = () => structuredClone(expand);

export function merge(graph, { nodes, edges }) {
  const known = new Set(graph.nodes.map(({ id }) => id));
  const joined = new Set(graph.edges.map(({ source, target }) => `${source}→${target}`));
  return {
    ...graph,
    nodes: [...graph.nodes, ...nodes.filter(({ id }) => !known.has(id))],
    edges: [
      ...graph.edges,
      ...edges.filter(({ source, target }) => !joined.has(`${source}→${target}`)),
    ],
  };
}

export const withBlock = () => merge(overview(), block());

/** The overview stretched or shrunk to another number of layers. */
export function withLayers(count) {
  const graph = overview();
  const last = graph.model.n_layers - 1;
  const rename = (id, from, to) => id.replace(new RegExp(`^L${from}\\.`), `L${to}.`);
  const nodes = graph.nodes.filter(({ layer }) => layer === null);
  const edges = [];
  for (let layer = 0; layer < count; layer++) {
    const from = count > 1 ? Math.round((layer * last) / (count - 1)) : last;
    for (const node of graph.nodes) {
      if (node.layer === from) nodes.push({ ...node, id: rename(node.id, from, layer), layer });
    }
    for (const edge of graph.edges) {
      if (!edge.source.startsWith(`L${from}.`) || !edge.target.startsWith(`L${from}.`)) continue;
      const [source, target] = [rename(edge.source, from, layer), rename(edge.target, from, layer)];
      edges.push({ ...edge, source, target });
    }
  }
  return { ...graph, model: { ...graph.model, n_layers: count }, nodes, edges };
}

/**
 * A model made by hand, a layer for each word: "attn" and "mix" name what stands above its river,
 * "mlp" what stands below, joined by "+". The middle is left out where one side is empty.
 */
export function handMade(...kinds) {
  const residual = (id) => node(id, "residual");
  const nodes = [node("embed", "embed"), residual("L0.pre")];
  const edges = [edge("embed", "L0.pre", "residual")];
  kinds.forEach((kind, layer) => {
    const id = (part) => `L${layer}.${part}`;
    const parts = kind.split("+");
    const above = parts.filter((part) => part !== "mlp");
    const hasMid = above.length > 0 && parts.includes("mlp");
    if (layer > 0) {
      nodes.push(residual(id("pre")));
      edges.push(edge(`L${layer - 1}.post`, id("pre"), "residual"));
    }
    const words = { attn: "attention", mix: "opaque", mlp: "mlp" };
    for (const part of parts) {
      const sign = part === "mix" ? -1 : 1;
      nodes.push(node(id(part), words[part], { label: `␣${part}${layer}`, logit: sign * 1.5 }));
      const target = hasMid && part !== "mlp" ? id("mid") : id("post");
      edges.push(edge(id(part), target, "write", { logit: sign * 1.5 }));
    }
    if (hasMid) nodes.push(residual(id("mid")));
    if (hasMid) edges.push(edge(id("pre"), id("mid"), "residual", { share: 0.5 }));
    nodes.push(residual(id("post")));
    edges.push(edge(id(hasMid ? "mid" : "pre"), id("post"), "residual"));
  });
  const last = `L${kinds.length - 1}.post`;
  nodes.push(node("norm", "norm"), node("logits", "logits", { label: null, top: [] }));
  edges.push(edge(last, "norm", "residual"), edge("norm", "logits", "residual"));
  const made = small({ nodes, edges });
  return { ...made, model: { ...made.model, n_layers: kinds.length } };
}

/** What opening a hand-made layer adds: two heads where it attends, two neurons where it can. */
export function handMadeBlock(graph, layer) {
  const id = (part) => `L${layer}.${part}`;
  const has = (part) => graph.nodes.some((it) => it.id === id(part));
  const nodes = [];
  const edges = [];
  const add = (part, kind, whole, more) => {
    nodes.push(node(id(part), kind, { logit: 0.75, ...more }));
    edges.push(edge(id(part), id(whole), "part", { logit: 0.75 }));
  };
  if (has("attn")) {
    nodes.push(node(id("ln1"), "norm", { label: null }));
    for (const head of [0, 1]) {
      nodes.push(node(id(`H${head}.K1`), "key", { head, source: 1, weight: 0.6, logit: null }));
      edges.push(edge(id(`H${head}.K1`), id(`H${head}.V1`), "weight"));
      add(`H${head}.V1`, "value", `H${head}`, { head, source: 1, weight: 0.6 });
      add(`H${head}`, "head", "attn", { head });
    }
  }
  if (has("mlp")) {
    nodes.push(node(id("ln2"), "norm", { label: null }));
    for (const neuron of [3, 9]) {
      nodes.push(node(id(`N${neuron}.key`), "neuron_key", { neuron, expert: 2, logit: null }));
      edges.push(edge(id(`N${neuron}.key`), id(`N${neuron}`), "activation"));
      add(`N${neuron}`, "neuron", "mlp", { neuron, expert: 2, activation: 1 });
    }
  }
  return { layer, revision: 1, nodes, edges };
}

export const viewOf = (graph, changes = {}) => ({
  graph,
  expanded: [],
  pending: [],
  selection: [],
  hovered: null,
  measure: "logit",
  width: 1280,
  dark: false,
  reducedMotion: true,
  ...changes,
});
