import expand from "../../../tests/fixtures/expand.json";
import graph from "../../../tests/fixtures/graph.json";

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
