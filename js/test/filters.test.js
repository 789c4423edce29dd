import { describe, expect, test } from "vitest";
import { filterWords } from "../src/shell/search/filter-note.js";
import {
  isOutside,
  layerOfNode,
  withHead,
  withHeadToggled,
  withLayers,
} from "../src/state/filters.js";
import { NO_FILTERS } from "../src/state/state.js";
import { gatheredLayer, gatherHeads } from "../src/views/layers/gather.js";
import { readBlock } from "../src/views/layers/layout/blockContent.js";
import { indexGraph, nodeValue } from "../src/views/shared/graph.js";
import { edge, fixture, graph, node } from "./helpers/graph.js";

describe("filters", () => {
  test("all layers are no filter, in whatever order they are named", () => {
    expect(withLayers(NO_FILTERS, 3, 8, 30).layers).toEqual([3, 8]);
    expect(withLayers(NO_FILTERS, 8, 3, 30).layers).toEqual([3, 8]);
    expect(withLayers({ layers: [3, 8], heads: {} }, 0, 29, 30).layers).toBe(null);
  });

  test("heads are hidden and shown, and the last one stays", () => {
    const some = withHeadToggled(NO_FILTERS, 2, 0, [0, 1, 5]);
    expect(some.heads).toEqual({ 2: [1, 5] });
    const one = withHeadToggled(some, 2, 5, [0, 1, 5]);
    expect(one.heads).toEqual({ 2: [1] });
    expect(withHeadToggled(one, 2, 1, [0, 1, 5])).toBe(one);
    expect(withHeadToggled(some, 2, 0, [0, 1, 5]).heads).toEqual({});
  });

  test("what is to be seen is shown", () => {
    const filters = { layers: null, heads: { 23: [1] } };
    expect(withHead(filters, "L23.H4.V3").heads).toEqual({ 23: [1, 4] });
    for (const id of ["L23.H1", "L23.attn", "L22.H4", "L23.N4", "P1.L23.H4.V1"]) {
      expect(withHead(filters, id)).toBe(filters);
    }
  });

  test("a layer is read off both graphs' ids", () => {
    expect(["L3.H1", "P2.L10.mid", "embed", "P2.embed", null].map(layerOfNode)).toEqual([
      3,
      10,
      null,
      null,
      null,
    ]);
    expect([2, 3, 8, 9].map((layer) => isOutside([3, 8], layer))).toEqual([
      true,
      false,
      false,
      true,
    ]);
    expect(isOutside(null, 4) || isOutside([3, 8], null)).toBe(false);
  });

  test.each([
    [{ layers: [20, 29], heads: {} }, "Layers 0–19 are dimmed. What is hidden stays in every sum."],
    [
      { layers: [1, 28], heads: {} },
      "Layers 0 and 29 are dimmed. What is hidden stays in every sum.",
    ],
    [{ layers: [1, 29], heads: {} }, "Layer 0 is dimmed. What is hidden stays in every sum."],
    [
      { layers: [0, 3], heads: { 2: [1], 10: [0] } },
      "Layers 4–29 are dimmed; some heads of layers 2, 10 are drawn as one. " +
        "What is hidden stays in every sum.",
    ],
    [NO_FILTERS, ""],
  ])("%j is said", (filters, words) => {
    expect(filterWords(filters, 30)).toBe(words);
  });
});

describe("hidden heads", () => {
  const recorded = fixture("graph");
  const block = fixture("expand");
  const whole = {
    ...recorded,
    layers: [block.layer],
    nodes: [
      ...new Map([...recorded.nodes, ...block.nodes].map((each) => [each.id, each])).values(),
    ],
    edges: [...recorded.edges, ...block.edges],
  };
  const gathered = gatherHeads(whole, { 23: [4, 5] });

  test("are one node that brings what they bring, in every measure that adds up", () => {
    const into = (of) => of.edges.filter(({ target }) => target === "L23.attn");
    for (const measure of /** @type {const} */ (["logit", "share"])) {
      const sum = (of) => into(of).reduce((total, each) => total + each[measure], 0);
      expect(sum(gathered)).toBeCloseTo(sum(whole), 9);
      const hidden = into(whole).filter(
        ({ source }) => !into(gathered).some((e) => e.source === source),
      );
      const index = indexGraph(gathered);
      expect(nodeValue(index, index.nodes.get("L23.attn.others"), measure)).toBeCloseTo(
        hidden.reduce((total, each) => total + each[measure], 0),
        9,
      );
    }
    const heads = whole.nodes.filter(({ kind, layer }) => kind === "head" && layer === 23);
    const others = gathered.nodes.find(({ id }) => id === "L23.attn.others");
    expect(others).toMatchObject({ kind: "rest", rest: { of: "head", count: heads.length - 2 } });
  });

  test("are drawn as a row beside bias and rest", () => {
    const content = readBlock(indexGraph(gathered), 23, "logit");
    expect(content.bands.map(({ head }) => head.id).sort()).toEqual(["L23.H4", "L23.H5"]);
    expect(content.attentionOthers.map(({ id }) => id)).toContain("L23.attn.others");
    expect(
      readBlock(indexGraph(whole), 23, "logit").attentionOthers.map(({ id }) => id),
    ).not.toContain("L23.attn.others");
  });

  test("leave no edge without its ends, and touch nothing else", () => {
    const ids = new Set(gathered.nodes.map(({ id }) => id));
    const dangling = gathered.edges.filter(
      ({ source, target }) => !ids.has(source) || !ids.has(target),
    );
    expect(dangling).toEqual([]);
    const gone = whole.nodes.filter(({ id }) => !ids.has(id));
    expect(gone.every(({ id }) => /^L23\.H[^45]/.test(id))).toBe(true);
  });

  test("take their W_O rows along", () => {
    const made = graph({
      nodes: [
        node("L1.attn", "attention"),
        node("L1.H0", "head", { head: 0 }),
        node("L1.H1", "head", { head: 1 }),
        node("L1.O3", "row", { head: 0 }),
        node("L1.O9", "row", { head: 1 }),
      ],
      edges: [
        edge("L1.H0", "L1.attn", "part", { logit: 1, share: 0.1 }),
        edge("L1.O3", "L1.attn", "part", { logit: 2, share: 0.2 }),
        edge("L1.H0", "L1.O3", "split"),
        edge("L1.H1", "L1.attn", "part", { logit: 4, share: 0.4 }),
        edge("L1.O9", "L1.attn", "part", { logit: 8, share: 0.8 }),
      ],
    });
    const result = gatherHeads(made, { 1: [1] });
    expect(result.nodes.map(({ id }) => id)).toEqual([
      "L1.attn",
      "L1.H1",
      "L1.O9",
      "L1.attn.others",
    ]);
    const own = result.edges.find(({ source }) => source === "L1.attn.others");
    expect(own).toMatchObject({ target: "L1.attn", logit: 3, norm: null, proximity: null });
    expect(own.share).toBeCloseTo(0.3, 12);
  });

  test("where none is, the graph is the same", () => {
    expect(gatherHeads(whole, {})).toBe(whole);
    expect(gatherHeads(whole, { 23: [0, 1, 2, 3, 4, 5, 6, 7, 8] })).toBe(whole);
    expect(gatherHeads(recorded, { 23: [4] })).toBe(recorded);
    expect(gatheredLayer("L23.attn.others")).toBe(23);
    expect(gatheredLayer("L23.attn.rest")).toBe(null);
  });
});
