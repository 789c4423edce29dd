import { describe, expect, test } from "vitest";
import { initialState, reduce } from "../src/state/state.js";
import { VIEWS } from "../src/views/index.js";
import { layersTables } from "../src/views/layers/table.js";
import { readRoutes } from "../src/views/routes/layout/model.js";
import { layoutRoutes } from "../src/views/routes/layout/scene.js";
import { routesTables } from "../src/views/routes/table.js";
import { fixture } from "./helpers/graph.js";

const GRAPH = fixture("graph");
const BLOCK = { ...fixture("expand"), revision: GRAPH.revision };
const ROUTES = { ...fixture("routes"), revision: GRAPH.revision };
const LAYER = BLOCK.layer;
const then = (state, ...actions) => actions.reduce(reduce, state);
const change = (changes) => ({ type: "change", changes });
const start = then(initialState, { type: "traits", traits: { graph: GRAPH, focus: 7 } });
const open = then(start, change({ expanded: [LAYER] }), { type: "block", block: BLOCK });
const routes = then(
  start,
  change({ view: "routes" }),
  { type: "late-asked", name: "routes" },
  { type: "late", name: "routes", reply: ROUTES },
);

const tableOf = ({ tables }, key) => tables.find((table) => table.key === key);
const texts = ({ rows }) => rows.map(({ cells }) => cells.map(({ text }) => text));
const signed = (value) => {
  const text = Math.abs(value).toFixed(2);
  return Number(text) === 0 ? text : `${value < 0 ? "−" : "+"}${text}`;
};

test("every view has tables, whose rows have a cell a column and a key of their own", () => {
  for (const [{ tables }, state] of VIEWS.map((view, at) => [view, [open, routes][at]])) {
    const all = tables(state).tables;
    expect(all.length).toBeGreaterThan(2);
    for (const { columns, rows } of all) {
      expect(new Set(rows.map(({ cells }) => cells.length))).toEqual(new Set([columns.length]));
      expect(new Set(rows.map(({ key }) => key)).size).toBe(rows.length);
      expect(JSON.stringify(rows)).not.toMatch(/undefined|NaN|\[object/);
    }
  }
});

describe("layers", () => {
  const node = (id) => GRAPH.nodes.find((each) => each.id === id);

  test("are in the picture's order, with what they write, add and would predict", () => {
    const table = tableOf(layersTables(start), "layers");
    expect(table.rows.map(({ key }) => key)).toEqual([
      "start",
      ...Array.from({ length: 30 }, (_, layer) => `${layer}`),
    ]);
    const [attention, mlp, post] = ["attn", "mlp", "post"].map((part) => node(`L23.${part}`));
    expect(texts(table)[24]).toEqual([
      "Layer 23",
      attention.label,
      signed(attention.logit),
      mlp.label,
      signed(mlp.logit),
      signed(attention.logit + mlp.logit),
      post.label,
      "1,164",
    ]);
  });

  test("do what a click in the picture does", () => {
    const [, , row] = tableOf(layersTables(start), "layers").rows;
    expect(row.cells.flatMap(({ action }) => action ?? [])).toEqual([
      { type: "toggle-layer", layer: 1 },
      { type: "select", nodes: ["L1.attn"] },
      { type: "select", nodes: ["L1.mlp"] },
      { type: "select", nodes: ["L1.post"] },
    ]);
    const next = tableOf(layersTables(start), "next").rows[1].cells[0];
    expect(next.action).toEqual({ type: "set-target", id: 442, text: "␣N" });
  });

  test("follow the measure: lengths have no sum", () => {
    const table = tableOf(layersTables(then(start, change({ measure: "norm" }))), "layers");
    expect(table.columns.map(({ text }) => text)).toEqual([
      "layer",
      "attention writes",
      "attention length",
      "MLP writes",
      "MLP length",
      "would predict",
      "rank of ␣Tokyo",
    ]);
    const edge = GRAPH.edges.find(({ source, kind }) => source === "L23.attn" && kind === "write");
    expect(texts(table)[24][2]).toBe(edge.norm.toFixed(0));
  });

  test("that are open show their heads, memories, neurons and stream", () => {
    const made = layersTables(open);
    expect(made.tables.map(({ key }) => key)).toEqual([
      "layers",
      "heads 23",
      "memories 23",
      "neurons 23",
      "stream 23",
      "next",
    ]);
    const heads = BLOCK.nodes.filter(({ kind }) => kind === "head");
    heads.sort((a, b) => Math.abs(b.logit) - Math.abs(a.logit));
    const table = tableOf(made, "heads 23");
    expect(table.rows.map(({ key }) => key)).toEqual(heads.map(({ id }) => id));
    expect(texts(table)[0]).toEqual([
      "head 4",
      "␣affili",
      "␣Japan 92%, ␣city 2%, 6 more",
      "␣Japanese",
      signed(heads[0].logit),
    ]);
    const values = BLOCK.nodes.filter(({ kind }) => kind === "value");
    const rests = BLOCK.nodes.filter(({ kind, rest }) => kind === "rest" && rest.of !== "neuron");
    expect(tableOf(made, "memories 23").rows).toHaveLength(values.length + rests.length);
    const neurons = tableOf(made, "neurons 23");
    expect(texts(neurons)[0]).toEqual(["neuron 1508", "Japanese", "+9.37", "Japanese", "+1.20"]);
    expect(texts(neurons).at(-1)[0]).toBe("1,524 more neurons");
  });

  test("that are waited for say so", () => {
    expect(layersTables(then(start, change({ expanded: [3] }))).waits).toBe("Layer 3: computing…");
    expect(layersTables(open).waits).toBe(null);
  });
});

describe("routes", () => {
  const model = readRoutes(ROUTES, 30);

  test("say all that the picture shows, in its order", () => {
    const made = routesTables(routes);
    const scene = layoutRoutes({ routes: ROUTES, graph: GRAPH, width: 1200 });
    const keys = (key) => tableOf(made, key).rows.map((row) => row.key);
    expect(keys("passages")).toEqual(scene.ribbons.map(({ key }) => key));
    expect(keys("marks").sort()).toEqual(scene.marks.map(({ id }) => id).sort());
    const embeds = [...model.streams.keys()].filter((id) => id.endsWith(".embed"));
    expect(keys("streams").sort()).toEqual([...scene.stops.map(({ id }) => id), ...embeds].sort());
    expect(keys("tokens")).toEqual(GRAPH.tokens.map(({ position }) => `${position}`));
    expect(tableOf(made, "tokens").note).toMatch(/^Kept paths account for/);
  });

  test("have numbers of the graph, and open what the picture opens", () => {
    const made = routesTables(routes);
    const [widest] = [...model.passages].sort(
      (a, b) => Math.abs(b.influence) - Math.abs(a.influence),
    );
    const row = tableOf(made, "passages").rows.find(({ key }) => key === widest.key);
    expect(row.cells.at(-1).text).toBe(signed(widest.influence));
    expect(row.cells[0].action).toMatchObject({
      type: "select",
      nodes: expect.arrayContaining(widest.carriers.map(({ node }) => node.id)),
    });
    const stream = tableOf(made, "streams").rows.find(({ key }) => key === "P3.L22.post");
    expect(stream.cells[0].action).toMatchObject({ type: "look-at", position: 3, layer: 22 });
  });

  test("of an earlier graph are not told as if they were of this one", () => {
    const graph = { ...GRAPH, revision: GRAPH.revision + 1 };
    const later = then(routes, { type: "traits", traits: { graph } });
    expect(routesTables(later)).toEqual({
      tables: [],
      waits: "Following the prediction back to its tokens…",
    });
  });
});

test("with the local lens a part raises its token, with any other it writes it", () => {
  const headings = (lens) => {
    const read = then(initialState, {
      type: "traits",
      traits: { graph: { ...GRAPH, lens }, focus: 7 },
    });
    return tableOf(layersTables(read), "layers").columns.map(({ text }) => text);
  };
  expect(headings("local")).toContain("MLP raises");
  expect(headings("logit")).toContain("MLP writes");
  expect(headings("local")).not.toContain("MLP writes");
});
