import { describe, expect, test } from "vitest";
import { sourceRows } from "../src/shell/panel/other-section.js";
import { patchingRows } from "../src/shell/windows/map-cells.js";
import { alignedTokens, otherNode, partnerOf } from "../src/state/other-side.js";
import { awaitsGraph } from "../src/state/selectors.js";
import { initialState, reduce } from "../src/state/state.js";
import { partingWords, thereWords } from "../src/words/other-side.js";
import { detail, graph, node, traits } from "./helpers/graph.js";

const token = (text, position, id = position) => ({ position, id, text });
const against = (more) => ({
  target: { logit: 1, probability: 0.1, rank: 3 },
  foil: null,
  position: 2,
  prediction: [{ id: 9, text: "␣Paris", probability: 0.9 }],
  streams: {},
  prompt: "another",
  model: "tiny",
  tokens: [token("a", 0), token("b", 1), token("c", 2)],
  pairs: [
    [0, 0],
    [2, 1],
  ],
  parting: "L1.post",
  nodes: [],
  edges: [],
  ...more,
});
const compared = (more) => {
  const own = graph();
  return { ...own, against: against(more) };
};

describe("tokens of two prompts", () => {
  test("stand beside their partners, each in its order", () => {
    const tokens = ["x", "y", "z", "w"].map((text, at) => token(text, at));
    const found = alignedTokens({ tokens, against: against() });
    expect(found.map(({ here, there }) => [here?.text ?? null, there?.text ?? null])).toEqual([
      ["x", "a"],
      ["y", null],
      ["z", "b"],
      ["w", null],
      [null, "c"],
    ]);
    expect(partnerOf(against(), 2)).toBe(1);
    expect(partnerOf(against(), 1)).toBeNull();
  });
});

describe("the same node in the other prompt", () => {
  const start = (told) =>
    reduce(initialState, {
      type: "traits",
      traits: { ...traits({ graph: told }), against: told.against?.prompt ?? null },
    });

  test("is what the graph holds, then what the kernel adds, and of this revision alone", () => {
    const state = start(compared({ nodes: [{ id: "L1.attn", kind: "attention", logit: -2 }] }));
    expect(otherNode(state, "L1.attn")).toMatchObject({ logit: -2, weight: null, top: [] });
    expect(otherNode(state, "L1.mlp")).toBeNull();
    const other = { ...detail("L1.attn"), logit: -3 };
    const reply = { type: "details", details: { "L1.attn": detail("L1.attn") } };
    const known = reduce(state, { ...reply, revision: 1, against: { "L1.attn": other } });
    expect(otherNode(known, "L1.attn").logit).toBe(-3);
    const late = reduce(state, { ...reply, revision: 0, against: { "L1.attn": other } });
    expect(otherNode(late, "L1.attn").logit).toBe(-2);
    const alone = { ...graph({ revision: 2 }), against: undefined };
    const gone = reduce(known, { type: "traits", traits: { graph: alone, against: null } });
    expect(otherNode(gone, "L1.attn")).toBeNull();
    expect(gone.oldDetails).toEqual({});
  });

  test("is waited for while the graph is without it, and can be undone", () => {
    const state = start(graph());
    expect(awaitsGraph(state)).toBe(false);
    const asked = reduce(state, { type: "change", changes: { against: "another" } });
    expect(awaitsGraph(asked)).toBe(true);
    expect(reduce(asked, { type: "undo" }).against).toBeNull();
  });
});

describe("in words", () => {
  const here = { ...node("L1.attn"), kind: "attention", label: "␣a", logit: 2, source: null };
  test.each([
    [{ label: "␣a", logit: -1 }, "there −1.00, difference +3.00"],
    [{ label: "␣b", logit: 2 }, "there ␣b, +2.00, no difference"],
    [{ label: "␣a", logit: null }, null],
  ])("%j", (more, words) => {
    expect(thereWords(here, { ...here, ...more }, compared())).toBe(words);
    expect(thereWords(here, { ...here, ...more }, graph())).toBeNull();
  });

  test("what is of a token alone has no partner", () => {
    const memory = { ...here, kind: "value", source: 1 };
    expect(thereWords(memory, null, compared())).toBe("its token has no partner there");
    expect(thereWords({ ...memory, source: 2 }, null, compared())).toBeNull();
  });

  test.each([
    ["L14.post", "The two part after layer 14"],
    ["L14.mid", "The two part within layer 14"],
    ["embed", "The two part from the start"],
    [null, null],
  ])("where they part: %s", (parting, words) => {
    expect(partingWords(compared({ parting }))).toBe(words);
  });
});

test("what a head reads is told by partners, and what is read there alone comes last", () => {
  const sources = [
    { position: 0, weight: 0.5, logit: 1 },
    { position: 1, weight: 0.2, logit: 0.5 },
  ];
  const other = {
    sources: [
      { position: 2, weight: 0.6, logit: -1 },
      { position: 0, weight: 0.3, logit: 0.1 },
    ],
    attention: [0.3, 0.1, 0.6],
  };
  const told = compared();
  const [first, second] = told.tokens.map(({ text }) => text);
  expect(sourceRows(told, sources, other, null)).toEqual([
    {
      ...{ text: `${first} / a`, here: 0, both: true },
      ...{ weight: 0.5, logit: 1, otherWeight: 0.3, otherLogit: 0.1 },
    },
    {
      ...{ text: `${second} / –`, here: 1, both: false },
      ...{ weight: 0.2, logit: 0.5, otherWeight: null, otherLogit: null },
    },
    {
      ...{ text: "– / c", here: null, both: false },
      ...{ weight: null, logit: null, otherWeight: 0.6, otherLogit: -1 },
    },
  ]);
});

test("a map of patching is told as a part of the way", () => {
  const map = {
    over: "mlps",
    layers: [0, 1],
    columns: [0, 1],
    ids: [
      ["P0.L0.mlp", null],
      ["P0.L1.mlp", "P1.L1.mlp"],
    ],
    predicted: [
      [0.5, null],
      [0.004, -0.2],
    ],
    measured: [
      [0.25, null],
      [-0.001, -1.5],
    ],
  };
  const rows = patchingRows(map, "measured", graph());
  expect(rows.map(({ name }) => name)).toEqual(
    graph()
      .tokens.slice(0, 2)
      .map(({ text }) => text),
  );
  expect(rows[1].cells[0]).toBeNull();
  expect(rows[1].cells[1]).toMatchObject({ node: "L1.mlp", position: 1, tone: "negative" });
  expect(rows[1].cells[1].words).toContain("foretold −20%, measured −150%");
  expect(rows[0].cells[1].words).toContain("foretold 0%, measured 0%");
});
