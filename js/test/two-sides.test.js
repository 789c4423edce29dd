// @vitest-environment jsdom
import "./helpers/dom.js";
import { beforeEach, describe, expect, test, vi } from "vitest";
import { layoutPrompt, promptFacts } from "../src/shell/figure/prompt-layout.js";
import { promptShapes } from "../src/shell/figure/prompt-shapes.js";
import { tapeFacts } from "../src/shell/figure/tape-layout.js";
import { svgText } from "../src/shell/figure/tree.js";
import { createController } from "../src/state/controller.js";
import { mergedGraph } from "../src/state/selectors.js";
import { initialState, reduce } from "../src/state/state.js";
import { layoutScene } from "../src/views/layers/layout/scene.js";
import { layersTables } from "../src/views/layers/table.js";
import { nextRouteStop } from "../src/views/routes/drawing/keyboard.js";
import { layoutRoutes } from "../src/views/routes/layout/scene.js";
import { routesTables } from "../src/views/routes/table.js";
import { differenceOf, indexGraph, thereValue } from "../src/views/shared/graph.js";
import { createStandaloneHost } from "../src/wire/standalone.js";
import { block, edge, graph, node, traits } from "./helpers/graph.js";
import { madeRoutes } from "./helpers/routes.js";

const bare = ({ id, kind, layer, ...more }, logit) => ({ id, kind, layer, ...more, logit });
/** The other prompt has one token more: “␣old”, which is its token 1. */
const against = (more = {}) => ({
  target: { logit: 1, probability: 0.1, rank: 3 },
  foil: null,
  position: 3,
  prediction: [{ id: 9, text: "␣Paris", probability: 0.9 }],
  streams: {
    "L1.post": { label: "␣Paris", target_rank: 40, target_probability: 0.01, logit: 1 },
  },
  prompt: "The old capital of",
  model: "tiny",
  tokens: ["The", "␣old", "␣capital", "␣of"].map((text, position) => ({
    position,
    id: [0, 60, 1, 2][position],
    text,
  })),
  pairs: [
    [0, 0],
    [1, 2],
    [2, 3],
  ],
  parting: "L1.post",
  nodes: [bare(node("L1.attn", "attention"), -1), bare(node("L1.mlp", "mlp"), 0.5)],
  edges: [
    edge("L1.attn", "L1.mid", "write", { logit: -1, share: -0.2 }),
    edge("L1.mlp", "L1.post", "write", { logit: 0.5, share: 0.1 }),
  ],
  ...more,
});
const side = {
  nodes: [
    { id: "L1.H0", kind: "head", layer: 1, head: 0, logit: -3.18 },
    { id: "L1.H0.V1", kind: "value", layer: 1, head: 0, source: 2, weight: 0.3, logit: -3 },
    { id: "L1.H0.Vb1", kind: "value", layer: 1, head: 0, source: 1, weight: 0.2, logit: -0.5 },
    { id: "L1.H0.Kb1", kind: "key", layer: 1, head: 0, source: 1, weight: 0.2 },
    { id: "L1.H0.rest", kind: "rest", layer: 1, head: 0, rest: { of: "value", count: 2 } },
  ],
  edges: [
    edge("L1.H0", "L1.attn", "part", { logit: -3.18, share: 0.9 }),
    edge("L1.H0.Vb1", "L1.H0", "part", { logit: -0.5 }),
  ],
};
const opened = (more = {}) =>
  reduce(
    {
      ...initialState,
      expanded: [1],
      ...reduce(initialState, {
        type: "traits",
        traits: { ...traits({ graph: graph({ against: against() }) }), expanded: [1], ...more },
      }),
    },
    { type: "block", block: { ...block(1), against: side } },
  );

describe("what the other prompt alone has", () => {
  test("is in the graph of open layers, without a number of this side; sums are not repeated", () => {
    const { nodes, edges } = mergedGraph(opened());
    const only = nodes.filter((each) => each.only);
    expect(only.map(({ id }) => id)).toEqual(["L1.H0.Vb1", "L1.H0.Kb1"]);
    // Its token is the other prompt’s: below nothing, so that it is none of those here.
    expect(only[0]).toMatchObject({ logit: null, source: -2, weight: 0.2, top: [] });
    const flows = edges.filter(({ source }) => source === "L1.H0.Vb1");
    expect(flows).toEqual([expect.objectContaining({ target: "L1.H0", logit: null, share: null })]);
  });

  test("is drawn, and told apart by more than a colour", () => {
    const scene = layoutScene({
      graph: mergedGraph(opened()),
      expanded: [1],
      pending: [],
      selection: ["L1.H0"],
      measure: "logit",
      width: 1200,
      height: 700,
      layers: null,
    });
    const parts = scene.parts ?? [scene];
    const nodes = scene.nodes ?? parts.flatMap((part) => part.nodes);
    const value = nodes.find(({ id }) => id === "L1.H0.Vb1");
    expect(value.only).toBe(true);
    expect(value.name).toContain("left by ␣old of the other prompt");
    expect(value.name).toContain("only in the other prompt, there −0.50, difference +0.50");
    const ribbons = scene.ribbons ?? parts.flatMap((part) => part.ribbons);
    expect(ribbons.find(({ source }) => source === "L1.H0.Vb1").tone).toBe("there");
    const head = nodes.find(({ id }) => id === "L1.H0");
    const italics = head.texts.filter(({ face }) => face === "there").map(({ text }) => text);
    expect(italics).toContain("−3.18");
    expect(head.name).toContain("there −3.18, difference +5.86");
  });

  test("a detail of it has come once the other side has", () => {
    const id = "L1.H0.Vb1";
    const asked = { ...opened(), detailsAsked: [id] };
    const detail = { ...node(id, "value", { head: 0, source: 1, logit: -0.5 }), share: null };
    const reply = { type: "details", revision: 1, details: {}, against: { [id]: detail } };
    const state = reduce(asked, reply);
    expect(state.detailsAsked).toEqual([]);
    expect(state.details[id]).toMatchObject({ only: "there", logit: null, other: { logit: -0.5 } });
  });
});

test("numbers of there, and differences: what is missing on one side counts as nothing", () => {
  const index = indexGraph(mergedGraph(opened()));
  const value = (id, here, measure = "logit") => {
    const one = index.nodes.get(id);
    return [thereValue(index, one, measure), differenceOf(index, one, here, measure)];
  };
  expect(value("L1.attn", 2.68)).toEqual([-1, 3.68]);
  expect(value("L1.H0", 0.41, "share")).toEqual([0.9, expect.closeTo(-0.49)]);
  expect(value("L1.H0.Vb1", null)).toEqual([-0.5, 0.5]);
  expect(value("L1.mid", null)).toEqual([null, null]);
  expect(thereValue(indexGraph(graph()), node("L1.attn", "attention"), "logit")).toBe(null);
});

describe("tables", () => {
  test("have both values and the difference, and every row a cell a column", () => {
    const { tables } = layersTables(opened());
    for (const { columns, rows } of tables) {
      for (const { cells } of rows) expect(cells).toHaveLength(columns.length);
    }
    const table = (key) => tables.find((each) => each.key === key);
    const layers = table("layers");
    expect(layers.note).toContain("Beside “The old capital of”. The two part after layer 1");
    const row = layers.rows.find(({ key }) => key === "1").cells.map(({ text }) => text);
    expect(row).toEqual(expect.arrayContaining(["−1.00", "+3.68", "␣Paris", "40"]));
    const heads = table("heads 1").rows[0].cells.map(({ text }) => text);
    expect(heads.slice(-3)).toEqual(["+2.68", "−3.18", "+5.86"]);
    const memories = table("memories 1").rows.map(({ cells }) => cells.map(({ text }) => text));
    const alone = memories.find((cells) => cells[1] === "␣old");
    expect(alone.slice(-3)).toEqual(["only there", "−0.50", "+0.50"]);
    expect(alone[2]).toBe("there 1");
    expect(table("next").columns.map(({ text }) => text)).toContain("there");
  });

  test("say which step of a generation is shown", () => {
    const said = {
      ...initialState,
      graph: graph({ step: 1, branch: 0 }),
      generation: {
        begun: 2,
        tokens: [1, 2].map((id) => ({
          ...{ id, text: `␣t${id}`, probability: 0.5, rank: 1, first: null, put: false },
        })),
        interrupted: false,
        branches: [{ of: null, at: null, token: null }],
      },
    };
    const [first] = layersTables(said).tables;
    expect(first.note).toBe("New token 2 of 2 is explained: ␣t2 50.0%, rank 1.");
    const facts = tapeFacts(said);
    expect(facts.words).toBe(first.note);
    expect(facts.tokens.map(({ part }) => part)).toEqual([0.5, 0.5]);
    const elsewhere = { ...said, graph: graph({ step: null, branch: 0 }) };
    expect(tapeFacts(elsewhere).words).toMatch(/^Another prompt than that of/);
    expect(tapeFacts({ ...said, generation: null })).toBe(null);
  });
});

describe("the head of a figure", () => {
  const known = { bars: null, guesses: null, isRight: () => false, remainder: "", tape: null };
  const textsOf = (layout) => {
    const palette = new Proxy({}, { get: (_, name) => String(name) });
    const { content } = promptShapes(layout, /** @type {any} */ (palette), "stripes");
    return content.map(svgText).join("\n");
  };

  test("has the other prompt under the first, partner under partner, and says how to read it", () => {
    const facts = promptFacts(graph({ against: against() }), known);
    const layout = layoutPrompt(facts, 600);
    const pairs = layout.cells.map(({ text, other }) => [text, other.text, other.kind]);
    expect(pairs).toEqual([
      ["The", "The", "same"],
      ["–", "␣old", "none"],
      ["␣capital", "␣capital", "same"],
      ["␣of", "␣of", "same"],
    ]);
    expect(layout.tail.says.text).toBe("␣Paris");
    const words = layout.lines.map(({ text }) => text).join(" ");
    expect(words).toContain("There the model says ␣Paris: 90.0%. The two part after layer 1.");
    expect(words).toContain("In italics: the other prompt’s");
    const last = layout.lines.at(-1);
    expect(layout.height).toBeGreaterThanOrEqual(last.y);
    expect(textsOf(layout)).toContain("␣old");
    const alone = layoutPrompt(promptFacts(graph(), known), 600);
    expect(alone.lines).toEqual([]);
    expect(alone.height).toBeLessThan(layout.height);
  });

  test("has the tape in lines within the width, the step on show and what it was", () => {
    const tokens = [...Array(30).keys()].map((at) => ({
      text: `␣word${at}`,
      part: at / 30,
      other: at === 4,
    }));
    const tape = {
      tokens,
      step: 3,
      words: "New token 4 of 30 is explained: ␣word3 10.0%, rank 2.",
    };
    const layout = layoutPrompt(promptFacts(graph(), { ...known, tape }), 400);
    for (const { x, width } of layout.tape.cells) expect(x + width).toBeLessThanOrEqual(400);
    expect(layout.tape.cells.filter(({ chosen }) => chosen)).toEqual([layout.tape.cells[3]]);
    expect(layout.tape.cells.filter(({ later }) => later)).toHaveLength(26);
    expect(layout.height).toBeGreaterThanOrEqual(layout.tape.y + layout.tape.height);
    expect(textsOf(layout)).toContain("New token 4 of 30");
  });
});

describe("routes of two prompts", () => {
  const { graph: own, routes: made } = madeRoutes({ tokens: 6, layers: 8, seed: 5 });
  const passing = made.nodes.filter(
    ({ kind, position, source }) => kind === "value" && position !== source,
  );
  const known = passing[0];
  const told = {
    position: 5,
    attribution: {
      tokens: [1, -2, 0, 0, 0, 0.5].map((value, position) => ({ position, value, direct: value })),
      bias: 0,
      opaque: 0,
      rest: 0,
      total: 2,
    },
    nodes: [
      { id: known.id, kind: "value", influence: known.influence / 2, label: "␣x" },
      { id: "P5.L7.H99.Vb1", kind: "value", influence: -0.75, label: "␣y" },
    ],
  };
  const other = against({
    tokens: ["a", "␣old", "b", "c", "d", "e"].map((text, position) => ({
      position,
      id: 50 + position,
      text,
    })),
    pairs: [
      [0, 0],
      [2, 2],
      [3, 3],
      [4, 4],
      [5, 5],
    ],
  });
  const both = { ...own, against: other };
  const routes = { ...made, revision: own.revision, against: told };

  test("have its bars and numbers under the tokens, and say what is not drawn", () => {
    const scene = layoutRoutes({ routes, graph: both, width: 1200 });
    const first = scene.tokens.find(({ position }) => position === 0);
    expect(first.there).toMatchObject({ tone: "positive" });
    expect(first.name).toContain("there +1.00, difference");
    // Its partner is none: that is another thing than nothing.
    expect(scene.tokens.find(({ position }) => position === 1)?.there ?? null).toBe(null);
    const words = scene.account.lines.join(" ");
    expect(words).toContain("Streams and ribbons are this prompt’s");
    expect(words).toContain("One passage of its own is in the table.");
    expect(words).toContain("Its ␣old has no partner here.");
    const ribbon = scene.ribbons.find(
      ({ passage }) =>
        passage.from.position === known.source &&
        passage.to.position === known.position &&
        passage.layer === known.layer &&
        passage.sign === Math.sign(known.influence),
    );
    expect(ribbon.name).toMatch(/, there [+−]\d/);
    const alone = layoutRoutes({ routes: made, graph: own, width: 1200 });
    expect(alone.tokens.every(({ there }) => there === null)).toBe(true);
    expect(alone.account.lines.join(" ")).not.toContain("italics");
  });

  test("have what the other alone carries as outlines of their own", () => {
    const alone = [
      { id: "P5.L7.H8.V3", kind: "value", influence: 0.5, label: "␣z" },
      { id: "P5.L7.H9.V3", kind: "value", influence: 0.75, label: "␣y" },
      { id: "P4.L2.H1.V0", kind: "value", influence: -0.25, label: null },
    ];
    const more = { ...routes, against: { ...told, nodes: [...told.nodes, ...alone] } };
    const scene = layoutRoutes({ routes: more, graph: both, width: 1200 });
    const passages = scene.ribbons.map(({ passage: { layer, from, to, sign } }) =>
      [layer, from.position, to.position, sign].join(" "),
    );
    expect(passages).not.toContain("7 3 5 1");
    expect(passages).not.toContain("2 0 4 -1");
    expect(scene.outlines.map(({ key, tone }) => [key, tone])).toEqual([
      ["there 7 3 5 +", "positive"],
      ["there 2 0 4 −", "negative"],
    ]);
    const [strong] = scene.outlines;
    expect(strong.name).toBe("There alone, layer 7: from c to e, +1.25 logits, heads 9, 8");
    expect(strong.passage.carriers.map(({ node }) => node.id)).toEqual([
      "P5.L7.H9.V3",
      "P5.L7.H8.V3",
    ]);
    // As wide as a ribbon that carries as much, and over no ribbon's run.
    const [widest] = [...scene.ribbons].sort((a, b) => b.width - a.width);
    const scale = widest.width / Math.abs(widest.passage.influence);
    expect(strong.width).toBeCloseTo(1.25 * scale, 5);
    for (const outline of scene.outlines) {
      const beside = [...scene.ribbons, ...scene.outlines].filter(
        ({ key, layer }) => key !== outline.key && layer === outline.layer,
      );
      for (const { lane, width, start, end } of beside) {
        const [left, right] = [start.x, end.x].sort((a, b) => a - b);
        const [from, to] = [outline.start.x, outline.end.x].sort((a, b) => a - b);
        if (right <= from || left >= to) continue;
        expect(Math.abs(lane - outline.lane)).toBeGreaterThan((width + outline.width) / 2);
      }
    }
    const words = scene.account.lines.join(" ");
    expect(words).toContain("One more passage of its own is in the table.");
    const label = scene.labels.find(({ of }) => of === strong.key);
    expect(label).toMatchObject({ only: true, text: "␣y", tag: "H9 +1" });
    // The keyboard comes to them after the ribbons, and from them to where they begin and end.
    const last = scene.ribbons.at(-1);
    expect(nextRouteStop(scene, `ribbon:${last.key}`, "ArrowUp")).toBe(`ribbon:${strong.key}`);
    for (const arrow of ["ArrowLeft", "ArrowRight"]) {
      expect(nextRouteStop(scene, `ribbon:${strong.key}`, arrow)).toMatch(/^node:P[35]\./);
    }
    expect(layoutRoutes({ routes, graph: both, width: 1200 }).outlines).toEqual([]);
  });

  test("tell of a head that carries against there and for here where it is drawn", () => {
    const turned = { id: known.id, kind: "value", influence: -known.influence, label: "␣x" };
    const scene = layoutRoutes({
      routes: { ...routes, against: { ...told, nodes: [turned] } },
      graph: both,
      width: 1200,
    });
    expect(scene.outlines).toEqual([]);
    const ribbon = scene.ribbons.find(({ passage }) =>
      passage.carriers.some(({ node }) => node.id === known.id),
    );
    const [, sign] = /, there ([+−])\d/.exec(ribbon.name);
    expect(sign).toBe(known.influence < 0 ? "+" : "−");
  });

  test("give a token that the other alone reads a column", () => {
    const gone = made.nodes.filter(({ position, source }) => position !== 1 && source !== 1);
    const ids = new Set(gone.map(({ id }) => id));
    const fewer = {
      ...routes,
      nodes: gone,
      edges: made.edges.filter(({ source, target }) => ids.has(source) && ids.has(target)),
      against: {
        ...told,
        nodes: [{ id: "P5.L7.H9.V1", kind: "value", influence: 0.75, label: "␣y" }],
      },
    };
    const paired = { ...own, against: { ...other, pairs: [...other.pairs, [1, 1]] } };
    const bare = layoutRoutes({
      routes: { ...fewer, against: undefined },
      graph: own,
      width: 1200,
    });
    expect(bare.tokens.map(({ position }) => position)).not.toContain(1);
    const scene = layoutRoutes({ routes: fewer, graph: paired, width: 1200 });
    const token = scene.tokens.find(({ position }) => position === 1);
    expect(scene.outlines[0].start.x).toBe(token.x);
  });

  test("are told in tables, with what the other alone carries", () => {
    const state = { ...initialState, graph: both, routes, view: "routes", measure: "logit" };
    const { tables } = routesTables(state);
    for (const { columns, rows } of tables) {
      for (const { cells } of rows) expect(cells).toHaveLength(columns.length);
    }
    const only = tables.find(({ key }) => key === "only there");
    const texts = only.rows.map(({ cells }) => cells.map(({ text }) => text));
    expect(texts).toEqual([
      ["layer 7", "␣old", "there 1", expect.stringContaining("/ e"), "5", "99", "−0.75", "+0.75"],
    ]);
    const tokens = tables.find(({ key }) => key === "tokens").rows[0].cells;
    expect(tokens.slice(-3, -1).map(({ text }) => text)).toEqual(["a", "+1.00"]);
  });
});

describe("steps that pass by", () => {
  let asked;
  const step = (at, revision) =>
    graph({ step: at, branch: 0, revision, prompt: `p${at}`, position: 2 });
  const start = () => {
    asked = [];
    const late = (method) => (params) => {
      asked.push(`${method} ${params.revision}`);
      return { revision: params.revision, tokens: [], positions: [] };
    };
    const host = createStandaloneHost(
      { traits: traits({ graph: step(0, 1), step: 0, branch: 0 }) },
      {
        live: true,
        handlers: { attribution: late("attribution"), predictions: late("predictions") },
      },
    );
    const controller = createController(host);
    controller.subscribe(() => {});
    const draw = (at, revision) => {
      host.set("step", at);
      host.set("graph", step(at, revision));
    };
    return { controller, host, draw };
  };
  const expected = (...revisions) =>
    revisions.flatMap((revision) => [`predictions ${revision}`, `attribution ${revision}`]);

  beforeEach(() => {
    vi.useFakeTimers();
    return () => vi.useRealTimers();
  });

  test("the first is asked about at once; a later one once it rests", () => {
    const { draw } = start();
    expect(asked).toEqual(expected(1));
    draw(1, 2);
    vi.advanceTimersByTime(200);
    draw(2, 3);
    expect(asked).toEqual(expected(1));
    vi.advanceTimersByTime(500);
    expect(asked).toEqual(expected(1, 3));
  });

  test("while it plays, here or by the kernel, nothing is asked; then of where it stopped", () => {
    const { controller, host, draw } = start();
    controller.dispatch({ type: "set-passing", passing: true });
    for (const [at, revision] of [
      [1, 2],
      [2, 3],
      [3, 4],
    ]) {
      draw(at, revision);
      vi.advanceTimersByTime(1500);
    }
    expect(asked).toEqual(expected(1));
    controller.dispatch({ type: "set-passing", passing: false });
    expect(asked).toEqual(expected(1, 4));
    host.set("playing", true);
    draw(4, 5);
    vi.advanceTimersByTime(1500);
    expect(asked).toEqual(expected(1, 4));
    controller.dispatch({ type: "stop-playing" });
    expect(host.get("playing")).toBe(false);
    vi.advanceTimersByTime(500);
    expect(asked).toEqual(expected(1, 4, 5));
  });
});
