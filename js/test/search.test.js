import { describe, expect, test } from "vitest";
import { findHits } from "../src/state/search.js";
import { initialState, reduce } from "../src/state/state.js";
import { fixture, graph, node, routes, traits } from "./helpers/graph.js";

const recorded = fixture("traits");
const expand = fixture("expand");

/** The recorded demo, with layer 23 open or closed. */
function demo({ open = false, ...more } = {}) {
  const state = reduce(initialState, { type: "traits", traits: { ...recorded, ...more } });
  if (!open) return state;
  const revision = state.graph.revision;
  const block = { ...expand, revision };
  return reduce({ ...state, expanded: [expand.layer] }, { type: "block", block });
}

const keys = (state, query) => findHits(state, query).hits.map(({ key }) => key);
const note = (state, query) => findHits(state, query).note;

describe("in the layers", () => {
  test.each(["", " ", "␣", "\n"])("nothing is searched for by %j", (query) => {
    expect(findHits(demo(), query)).toEqual({ hits: [], note: null });
  });

  test("tokens are found, before nodes", () => {
    const { hits } = findHits(demo(), "japan");
    expect(hits[0]).toMatchObject({ key: "token 3", kind: "token", position: 3, id: null });
    expect(hits.slice(1).every(({ kind }) => kind === "node")).toBe(true);
    expect(hits.length).toBeGreaterThan(1);
  });

  test.each(["Japan", "JAPAN", " japan", "␣japan"])(
    "%j is found however it is written",
    (query) => {
      expect(keys(demo(), query)).toContain("token 3");
      expect(keys(demo(), query)).toContain("L23.attn");
    },
  );

  test("a space is asked for where it is said", () => {
    expect(keys(demo(), "the")).toContain("token 0");
    expect(keys(demo(), " the")).not.toContain("token 0");
    expect(keys(demo(), " the")).toContain("token 5");
  });

  test("by all that a node says, and by nothing that it does not", () => {
    const state = demo({ open: true });
    const says = ({ top, label }) => [label, ...top.map(({ text }) => text)];
    const nodes = [...state.graph.nodes, ...expand.nodes];
    for (const query of ["tokyo", "city", "Orient", "xyzzy"]) {
      const found = keys(state, query).filter((key) => key.includes("."));
      const wanted = nodes
        .filter(({ kind }) => kind !== "embed" && kind !== "norm")
        .filter((each) =>
          says(each).some((text) => text?.toLowerCase().includes(query.toLowerCase())),
        )
        .map(({ id }) => id);
      const seen = (id) => !/^L(?!23\.)\d+\.(pre|mid)$/.test(id);
      expect(found.filter((id) => id !== "norm").sort()).toEqual(
        [...new Set(wanted)].filter((id) => seen(id) && id.includes(".")).sort(),
      );
    }
    expect(keys(state, "xyzzy")).toEqual([]);
    // A runner-up, not the label.
    const lid = expand.nodes.find(({ id }) => id === "L23.H5");
    expect(lid.label.toLowerCase()).not.toContain("japan");
    expect(keys(state, "japan")).toContain("L23.H5");
  });

  test("ids name a node and its parts, and no other that begins alike", () => {
    const state = demo({ open: true });
    expect(keys(state, "L23.H4")[0]).toBe("L23.H4");
    expect(keys(state, "l23.h4")).toEqual(keys(state, "L23.H4"));
    expect(keys(state, "L23.H4").every((id) => /^L23\.H4(\.|$)/.test(id))).toBe(true);
    expect(keys(state, "L2").every((id) => id.startsWith("L2."))).toBe(true);
    expect(keys(state, "L2.at")).toEqual(["L2.attn"]);
    expect(keys(state, "L23.").length).toBeGreaterThan(20);
  });

  test("a part of a closed layer is known by its name alone", () => {
    expect(findHits(demo(), "L23.H4")).toEqual({
      hits: [
        {
          key: "L23.H4",
          kind: "node",
          id: "L23.H4",
          position: null,
          layer: 23,
          opens: true,
          text: "L23.H4",
        },
      ],
      note: "Layer 23 has to be opened for it.",
    });
    expect(keys(demo(), "l29.n815")).toEqual(["L29.N815"]);
    expect(findHits(demo(), "L20.mid").hits).toMatchObject([{ id: "L20.mid", opens: true }]);
    expect(findHits(demo(), "L20.mlp").hits).toMatchObject([{ id: "L20.mlp", opens: false }]);
  });

  test.each([
    ["L30.H1", "There is no layer 30: the last is 29."],
    ["L3.H9", "There is no head 9: the last is 8."],
    ["L3.N1536", "There is no neuron 1536: the last is 1535."],
    ["P3.L10", "P3.L10 is a part of the routes: look for it in that view."],
    ["p3.embed", "P3.embed is a part of the routes: look for it in that view."],
  ])("why there is no %s is said", (query, says) => {
    expect(findHits(demo(), query)).toEqual({ hits: [], note: says });
  });

  test("what pruning has left out of an open layer is said", () => {
    const state = demo({ open: true });
    const drawn = new Set(expand.nodes.map(({ id }) => id));
    expect(drawn.has("L23.N815")).toBe(false);
    expect(findHits(state, "L23.N815")).toEqual({
      hits: [],
      note: "L23.N815 is not drawn apart in layer 23: keep more there to see it.",
    });
  });

  test("nothing is found before there is a graph", () => {
    expect(findHits(initialState, "tokyo")).toEqual({ hits: [], note: null });
  });

  test("accents are the same however they are made", () => {
    const tokens = [{ position: 0, id: 1, text: "caf\u00e9" }];
    const made = graph({
      tokens,
      position: 0,
      nodes: [node("L1.attn", "attention", { label: "x", top: [] })],
    });
    const state = reduce(initialState, { type: "traits", traits: traits({ graph: made }) });
    expect(keys(state, "cafe\u0301")).toEqual(["token 0"]);
  });
});

describe("in the routes", () => {
  const withRoutes = (more = {}) => {
    const state = reduce(initialState, { type: "traits", traits: traits({ view: "routes" }) });
    return { ...reduce(state, { type: "late", name: "routes", reply: routes() }), ...more };
  };

  test("tokens stand for their roots", () => {
    expect(findHits(withRoutes(), "capital").hits).toMatchObject([
      { kind: "token", id: "P1.embed" },
    ]);
  });

  test("ids are found with their position and without it", () => {
    expect(keys(withRoutes(), "P2.L0")).toEqual(["P2.L0.H1.V1", "P2.L0.mid"]);
    expect(keys(withRoutes(), "L0.H1")).toEqual(["P2.L0.H1.V1"]);
    expect(keys(withRoutes(), "P1.embed")).toEqual(["P1.embed"]);
  });

  test("what is on no kept way is said", () => {
    expect(note(withRoutes(), "L3.H1")).toBe(
      "L3.H1 is on no way that is kept: keep more of the routes.",
    );
  });

  test("what is not there yet, or not in this page, is said", () => {
    const bare = { routes: null };
    expect(note(withRoutes(bare), "capital")).toMatch(/on their way/);
    expect(keys(withRoutes(bare), "capital")).toEqual(["token 1"]);
    expect(note(withRoutes({ ...bare, lateMissing: ["routes"] }), "capital")).toMatch(
      /not in this page/,
    );
  });
});
