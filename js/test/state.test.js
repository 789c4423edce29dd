import { describe, expect, test } from "vitest";
import { sameValue } from "../src/state/same.js";
import {
  awaitsGraph,
  knownAttention,
  knownNode,
  mergedGraph,
  outgoingPart,
  overallProgress,
  pendingLayers,
} from "../src/state/selectors.js";
import { initialState, reduce } from "../src/state/state.js";
import { block, detail, graph, node, traits } from "./helpers/graph.js";

const run = (state, ...actions) => actions.reduce(reduce, state);
const start = (more) => reduce(initialState, { type: "traits", traits: traits(more) });

describe("the graph", () => {
  test("before the first trace is none", () => {
    expect(start({ graph: {} }).graph).toBeNull();
    expect(mergedGraph(start({ graph: {} }))).toBeNull();
  });

  test("is merged with the blocks of the layers that are open", () => {
    const open = run(start({ expanded: [1] }), { type: "block", block: block(1) });
    const merged = mergedGraph(open);
    expect(merged.nodes.map(({ id }) => id)).toContain("L1.H0");
    expect(merged.layers).toEqual([1]);
    // The block's own word on a node and an edge that the overview has too, once.
    expect(merged.nodes.filter(({ id }) => id === "L1.attn")).toMatchObject([{ label: "␣block" }]);
    expect(merged.edges.filter(({ source }) => source === "L1.attn")).toHaveLength(1);
    const closed = run(open, { type: "change", changes: { expanded: [] } });
    expect(mergedGraph(closed).nodes).toHaveLength(graph().nodes.length);
  });

  test("is the same object while nothing in it changed", () => {
    const open = run(start({ expanded: [1] }), { type: "block", block: block(1) });
    const later = run(open, { type: "change", changes: { selection: ["L1.H0"] } });
    expect(mergedGraph(later)).toBe(mergedGraph(open));
  });

  test("of a new prompt drops what was asked of the old one", () => {
    const old = run(
      start({ expanded: [1, 2] }),
      { type: "block", block: block(1) },
      { type: "block-asked", layer: 2 },
      { type: "details", revision: 1, details: { "L1.H0": detail("L1.H0") } },
      { type: "progress", of: "layer 2", done: 1, total: 2 },
      { type: "silence", silent: true },
    );
    const other = graph({ revision: 2, prompt: "The capital in" });
    const next = run(old, { type: "traits", traits: { graph: other } });
    expect(next).toMatchObject({ asked: [], progress: {}, silent: false });
    expect([next.blocks, next.details, next.oldDetails]).toEqual([{}, {}, {}]);
    expect(pendingLayers(next)).toEqual([1, 2]);
    const late = run(
      next,
      { type: "block", block: block(1, 1) },
      { type: "details", revision: 1, details: { "L1.H0": detail("L1.H0") } },
    );
    expect(late.blocks).toEqual({});
    expect(late.details).toEqual({});
  });

  test("of the same revision keeps it", () => {
    const old = run(start({ expanded: [1] }), { type: "block", block: block(1) });
    const next = run(old, { type: "traits", traits: { graph: graph() } });
    expect(next.blocks[1]).toBeDefined();
  });

  test("that came with a layer's block leaves nothing to wait for", () => {
    expect(pendingLayers(start({ expanded: [1, 2], graph: graph({ layers: [1] }) }))).toEqual([2]);
  });
});

describe("undo", () => {
  test("goes back one change at a time, and forth again", () => {
    const changed = run(
      start(),
      { type: "change", changes: { selection: ["embed"] } },
      { type: "change", changes: { expanded: [1] } },
      { type: "change", changes: { measure: "norm" } },
    );
    const back = run(changed, { type: "undo" }, { type: "undo" });
    expect(back).toMatchObject({ selection: ["embed"], expanded: [], measure: "logit" });
    expect(run(back, { type: "redo" }, { type: "redo" })).toMatchObject({
      expanded: [1],
      measure: "norm",
      future: [],
    });
  });

  test("has nothing to do at the ends", () => {
    const state = start();
    expect(run(state, { type: "undo" })).toBe(state);
    expect(run(state, { type: "redo" })).toBe(state);
  });

  test("forgets the way forth when something else is done", () => {
    const state = run(
      start(),
      { type: "change", changes: { focus: 1 } },
      { type: "undo" },
      { type: "change", changes: { focus: 0 } },
    );
    expect(state.future).toEqual([]);
  });

  test("does not count what changes nothing, nor what the kernel sets", () => {
    const state = run(
      start(),
      { type: "change", changes: { target: { id: 7 } } },
      { type: "traits", traits: { selection: ["L1.attn"] } },
    );
    expect(state.past).toEqual([]);
  });
});

describe("selectors", () => {
  const open = run(start({ expanded: [1] }), { type: "block", block: block(1) });

  test("know a node by its detail where that has come", () => {
    expect(knownNode(open, "L1.H0")).not.toHaveProperty("sources");
    const more = run(open, {
      type: "details",
      revision: 1,
      details: { "L1.H0": detail("L1.H0") },
    });
    expect(knownNode(more, "L1.H0")).toHaveProperty("sources");
    expect(knownNode(open, "L9.H0")).toBeNull();
  });

  test("find the whole that a node is part of", () => {
    expect(outgoingPart(open, "L1.H0")).toMatchObject({ target: "L1.attn", share: 0.41 });
    expect(outgoingPart(open, "embed")).toBeNull();
  });

  test("read a head's attention off its memories", () => {
    const head = node("L1.H0", "head", { head: 0 });
    expect([...knownAttention(open, head)]).toEqual([[1, 0.6]]);
  });

  test("see that another graph has been asked for", () => {
    expect(awaitsGraph(start())).toBe(false);
    expect(awaitsGraph(start({ focus: 1 }))).toBe(true);
    expect(awaitsGraph(start({ target: { id: 8 } }))).toBe(true);
    expect(awaitsGraph(start({ target: null }))).toBe(false);
    expect(awaitsGraph(start({ foil: { id: 8 } }))).toBe(true);
  });

  test("add up progress", () => {
    const state = run(
      start(),
      { type: "progress", of: "layer 1", done: 1, total: 4 },
      { type: "progress", of: "layer 2", done: 2, total: 4 },
    );
    expect(overallProgress(state)).toEqual({ done: 3, total: 8 });
    expect(overallProgress(run(state, { type: "progress-end", of: "layer 1" }))).toEqual({
      done: 2,
      total: 4,
    });
  });
});

test("a failed layer closes, and can be asked for again", () => {
  const state = run(
    start({ expanded: [1] }),
    { type: "block-asked", layer: 1 },
    { type: "block-failed", layer: 1 },
  );
  expect(state).toMatchObject({ expanded: [], asked: [] });
});

test("a problem replaces the earlier one of its key", () => {
  const state = run(
    start(),
    { type: "problem", problem: { key: "a", message: "1" } },
    { type: "problem", problem: { key: "b", message: "2" } },
    { type: "problem", problem: { key: "a", message: "3" } },
  );
  expect(state.problems.map(({ message }) => message)).toEqual(["2", "3"]);
  expect(run(state, { type: "dismiss", key: "b" }).problems).toHaveLength(1);
});

test("values are compared by what they say", () => {
  expect(sameValue([1, 2], [1, 2])).toBe(true);
  expect(sameValue([1, 2], [2, 1])).toBe(false);
  expect(sameValue({ id: 7 }, { id: 7, text: "␣Tokyo" })).toBe(true);
  expect(sameValue(null, { id: 7 })).toBe(false);
});
