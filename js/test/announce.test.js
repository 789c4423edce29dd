import { describe, expect, test } from "vitest";
import { initialState, reduce } from "../src/state/state.js";
import { announcements } from "../src/words/announce.js";
import { fixture } from "./helpers/graph.js";
import { handMade, handMadeBlock } from "./views/layers/fixtures.js";

const GRAPH = fixture("graph");
const start = reduce(initialState, { type: "traits", traits: { graph: GRAPH, focus: 7 } });
const then = (state, ...actions) => actions.reduce(reduce, state);
const change = (changes) => ({ type: "change", changes });
const said = (before, after) => announcements(before, after).map(({ text }) => text);
const block = (layer) => ({ ...fixture("expand"), layer, revision: GRAPH.revision });

describe("what is told", () => {
  test("is nothing where nothing changed that is not heard anyway", () => {
    expect(said(start, start)).toEqual([]);
    expect(said(start, then(start, change({ measure: "share", view: "routes" })))).toEqual([]);
    expect(said(start, then(start, { type: "progress", of: "x", done: 1, total: 9 }))).toEqual([]);
  });

  test("is that a graph is new, and what it is of", () => {
    const graph = { ...GRAPH, revision: GRAPH.revision + 1 };
    const after = then(start, { type: "traits", traits: { graph } });
    expect(said(start, after)).toEqual([
      "New graph at ␣of, position 7, for ␣Tokyo: 85.4%, rank 1.",
    ]);
    const direction = { ...graph.target, probability: null, rank: null, text: "along" };
    const foil = { ...graph.target, text: "␣N" };
    const other = { ...graph, target: direction, foil };
    expect(said(start, then(start, { type: "traits", traits: { graph: other } }))).toEqual([
      "New graph at ␣of, position 7, for along over ␣N.",
    ]);
  });

  test("is a layer when it is there, not when it is asked for", () => {
    const asked = then(start, change({ expanded: [23] }), { type: "block-asked", layer: 23 });
    expect(said(start, asked)).toEqual([]);
    const open = then(asked, { type: "block", block: block(23) });
    expect(said(asked, open)).toEqual(["Layer 23 is open: 9 heads, 12 neurons."]);
    expect(said(open, then(open, change({ expanded: [] })))).toEqual(["Layer 23 is closed."]);
  });

  test.each([
    [1, "Layer 1 is open: 1 opaque part, 2 neurons."],
    [2, "Layer 2 is open: 2 neurons."],
  ])("is what layer %i of another kind has", (layer, text) => {
    const hybrid = { ...handMade("attn+mlp", "mix+mlp", "mlp"), revision: 1 };
    const before = then(initialState, { type: "traits", traits: { graph: hybrid } });
    const made = { ...handMadeBlock(hybrid, layer), layer, revision: 1 };
    const after = then(before, change({ expanded: [layer] }), { type: "block", block: made });
    expect(said(before, after)).toEqual([text]);
  });

  test("is what was selected, and what it does", () => {
    const one = then(start, change({ selection: ["L23.attn"] }));
    expect(said(start, one)).toEqual([
      "Selected: Layer 23 · attention, ␣Japan, adds +3.98 to ␣Tokyo.",
    ]);
    const two = then(one, change({ selection: ["L23.attn", "L23.mlp"] }));
    expect(said(one, two)).toEqual(["2 parts are selected."]);
    expect(said(two, then(two, change({ selection: [] })))).toEqual(["Nothing is selected."]);
  });

  test("is an error, once", () => {
    const problem = { key: "expand", message: "The kernel has lost this model." };
    const after = then(start, { type: "problem", problem });
    expect(said(start, after)).toEqual([problem.message]);
    expect(said(after, then(after, change({ measure: "share" })))).toEqual([]);
  });

  test("is that routes have come, and whence they lead", () => {
    const waiting = then(start, change({ view: "routes" }));
    const reply = { ...fixture("routes"), revision: GRAPH.revision };
    const after = then(waiting, { type: "late", name: "routes", reply });
    expect(said(waiting, after)).toEqual([
      expect.stringMatching(/^Routes to ␣Tokyo: from \d positions of 8\.$/),
    ]);
  });
});
