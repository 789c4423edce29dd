import { describe, expect, test, vi } from "vitest";
import { mapRows, nextCell, strongestCell } from "../src/shell/windows/map-cells.js";
import { createController } from "../src/state/controller.js";
import {
  editsOf,
  isEditable,
  withIntervention,
  withoutIntervention,
} from "../src/state/interventions.js";
import { sameValue } from "../src/state/same.js";
import { awaitsGraph, measuredOf, shownMeasure } from "../src/state/selectors.js";
import { initialState, reduce } from "../src/state/state.js";
import { bracketPath, withMeasured } from "../src/views/layers/layout/measured.js";
import { layoutScene } from "../src/views/layers/layout/scene.js";
import { layersTables } from "../src/views/layers/table.js";
import { createStandaloneHost } from "../src/wire/standalone.js";
import { announcements } from "../src/words/announce.js";
import {
  interventionWords,
  measuredWords,
  nameOfPart,
  outcome,
} from "../src/words/interventions.js";
import { nodeFacts, wasWords } from "../src/words/words.js";
import { block, edge, graph, node, traits } from "./helpers/graph.js";
import { overview, viewOf, withBlock } from "./views/layers/fixtures.js";

const OUT = { id: "L1.H0", action: "zero", positions: "focus" };
const HALF = { id: "L1.mlp", action: 0.5, positions: "all" };

/** What the pass said before, of a graph as it is. */
function beforeOf({ nodes, target, prediction }, labels = {}) {
  const streams = nodes
    .filter(({ kind }) => ["residual", "embed"].includes(kind))
    .map((it) => [
      it.id,
      {
        label: labels[it.id] ?? it.label,
        target_rank: it.target_rank,
        target_probability: it.target_probability,
      },
    ]);
  return { target, foil: null, prediction, streams: Object.fromEntries(streams) };
}

describe("a list of interventions", () => {
  test.each([
    ["embed", true],
    ["L3.pre", true],
    ["L3.H4", true],
    ["L3.H4.Q", true],
    ["L3.H4.K12", true],
    ["L3.H4.V0", true],
    ["L3.O123", true],
    ["L3.N9", true],
    ["L3.E1", true],
    ["L3.mix", true],
    ["L3.mlp.bias", true],
    ["L3.N9.key", false],
    ["L3.ln1", false],
    ["L3.mlp.rest", false],
    ["L3.H4.edit", false],
    ["norm", false],
    ["logits.bias", false],
    ["P2.L3.H4.V1", false],
  ])("%s can be edited: %s", (id, can) => {
    expect(isEditable(id)).toBe(can);
  });

  test("has one for a part, the last; others stay as they are, also such that only Python makes", () => {
    const patch = { id: "L0.post", action: "patch", label: "patch 0", positions: "focus" };
    const list = withIntervention([patch, OUT], { ...OUT, action: 2 });
    expect(list).toEqual([patch, { ...OUT, action: 2 }]);
    expect(list[0]).toBe(patch);
    expect(withoutIntervention(list, 0)).toEqual([{ ...OUT, action: 2 }]);
    expect([...editsOf([OUT, HALF, { id: "a", action: 0 }])]).toEqual([
      ["L1.H0", "out"],
      ["L1.mlp", "changed"],
      ["a", "out"],
    ]);
  });

  test("differs by what is done, not by the part alone", () => {
    expect(sameValue([OUT], [{ ...OUT }])).toBe(true);
    expect(sameValue([OUT], [{ ...OUT, action: 0.5 }])).toBe(false);
    expect(sameValue([OUT], [{ ...OUT, positions: "all" }])).toBe(false);
  });
});

describe("what is said of them", () => {
  const shown = graph();

  test.each([
    ["L23.H4", "L23 · head 4"],
    ["L3.H4.Q", "L3 · head 4 · query"],
    ["L3.H4.K1", "L3 · head 4 · memory key of ␣capital"],
    ["L3.H4.V2", "L3 · head 4 · memory value of ␣of"],
    ["L3.O12", "L3 · W_O row 12"],
    ["L3.N919", "L3 · neuron 919"],
    ["L3.attn", "L3 · attention"],
    ["L3.attn.bias", "L3 · attention bias"],
    ["L3.mlp.bias", "L3 · MLP bias"],
    ["L3.post", "L3 · the stream after it"],
    ["embed", "embedding"],
    ["L3.H4.A2", "L3.H4.A2"],
    ["P2.L3.H4", "P2.L3.H4"],
  ])("%s is called %s, drawn or not", (id, name) => {
    expect(nameOfPart(id, shown)).toBe(name);
  });

  test.each([
    [{ action: "zero" }, "knocked out at ␣of"],
    [{ action: 0, positions: "all" }, "knocked out everywhere"],
    [{ action: 0.5, positions: [0, 1] }, "halved at The, ␣capital"],
    [{ action: 2.5 }, "× 2.5 at ␣of"],
    [{ action: "mean", positions: [0, 1, 2, 2] }, "put to its mean at 4 tokens"],
    [{ action: "patch", label: "patch 0" }, "patch 0 at ␣of"],
  ])("%o: %s", (item, words) => {
    expect(interventionWords({ id: "L1.H0", ...item }, shown)).toBe(words);
  });

  test("what became of the prediction, and of each stream", () => {
    expect(outcome(shown)).toBeNull();
    const target = { ...shown.target, probability: 0.12, rank: 4 };
    const before = beforeOf(shown, { "L1.post": "␣Kyoto" });
    const after = { ...shown, target, before };
    expect(outcome(after)).toBe("␣Tokyo was 85.0%, rank 1; now 12.0%, rank 4");
    const post = after.nodes.find(({ id }) => id === "L1.post");
    expect(wasWords(post, after)).toBe("was ␣Kyoto, rank 12");
    expect(nodeFacts(post, after, { share: null, whole: null })).toContain("was ␣Kyoto, rank 12");
    expect(wasWords(post, shown)).toBeNull();
    expect(wasWords({ ...post, id: "L1.pre" }, after)).toBeNull();
    const along = { logit: -1.5, probability: null, rank: null };
    expect(
      outcome({ ...after, target: { ...target, ...along }, before: { ...before, target: along } }),
    ).toBe("␣Tokyo was -1.50; now -1.50");
  });

  test("a new graph is announced with what was", () => {
    const state = reduce(initialState, { type: "traits", traits: traits() });
    const next = { ...graph(), revision: 2, before: beforeOf(graph()), interventions: [OUT] };
    const after = reduce(state, { type: "traits", traits: { graph: next } });
    expect(announcements(state, after)[0].text).toContain(
      "␣Tokyo was 85.0%, rank 1; now 85.0%, rank 1",
    );
  });

  test("effects, foretold and measured", () => {
    const part = { share: null, whole: null };
    const head = node("L1.H0", "head", { head: 0, effect: 2.48 });
    expect(nodeFacts(head, shown, part)).toContain("effect foretold +2.48");
    expect(nodeFacts(head, shown, { ...part, measured: 2.75 })).toContain(
      "effect foretold +2.48, measured +2.75",
    );
    expect(
      nodeFacts(node("L1.H0", "head"), shown, { ...part, measured: 2.75 }).join(),
    ).not.toContain("effect");
    expect(measuredWords({ revision: 1, nodes: {} })).toBe("measuring effects…");
    expect(measuredWords({ revision: 1, nodes: {}, failed: "" })).toBe("");
    expect(measuredWords({ revision: 1, nodes: {}, failed: "No room." })).toBe(
      "effects not measured: No room.",
    );
    const of = { revision: 1, nodes: {}, found: 9, of: 10 };
    expect(measuredWords({ ...of, rho: 0.966 })).toBe("ρ 0.97 · 9 of the 10 strongest foretold");
    expect(measuredWords({ ...of, rho: -0.5 })).toContain("ρ −0.50 · ");
    expect(measuredWords({ ...of, rho: null })).toBe("9 of the 10 strongest foretold");
    expect(measuredWords({ ...of, rho: null, of: 0 })).toBe("");
  });
});

describe("the state", () => {
  const start = () => reduce(initialState, { type: "traits", traits: traits() });

  test("takes interventions back, and does them again", () => {
    const done = reduce(start(), { type: "change", changes: { interventions: [OUT] } });
    expect(awaitsGraph(done)).toBe(true);
    const undone = reduce(done, { type: "undo" });
    expect(undone.interventions).toEqual([]);
    expect(awaitsGraph(undone)).toBe(false);
    expect(reduce(undone, { type: "redo" }).interventions).toEqual([OUT]);
    const changed = reduce(done, {
      type: "change",
      changes: { interventions: [{ ...OUT, action: 2 }] },
    });
    expect(changed.past).toHaveLength(2);
  });

  test("has the graph that it waits for once that says the same", () => {
    const done = reduce(start(), { type: "change", changes: { interventions: [OUT] } });
    const next = { ...graph(), revision: 2, interventions: [{ ...OUT }] };
    expect(awaitsGraph(reduce(done, { type: "traits", traits: { graph: next } }))).toBe(false);
  });

  test("keeps nothing of the pass as it is that is not of the pass that is shown", () => {
    const state = {
      ...start(),
      attribution: { revision: 1 },
      routes: { revision: 1, nodes: [] },
      predictions: { revision: 1 },
    };
    const next = { ...graph(), revision: 2, before: beforeOf(graph()) };
    const after = reduce(state, { type: "traits", traits: { graph: next } });
    expect([after.attribution, after.routes]).toEqual([null, null]);
    expect(after.predictions).not.toBeNull();
  });

  test("shows effects once a graph has some", () => {
    const state = { ...start(), measure: "effect" };
    expect(shownMeasure(state)).toBe("logit");
    const edges = [edge("L1.attn", "L1.mid", "write", { effect: 0 })];
    expect(shownMeasure({ ...state, graph: graph({ edges }) })).toBe("effect");
    expect(shownMeasure({ ...state, measure: "norm" })).toBe("norm");
  });

  test("knows what was measured of this graph alone", () => {
    const effects = { 1: { revision: 1, nodes: { "L1.H0": { predicted: 1, measured: 2 } } } };
    expect(measuredOf({ ...start(), effects }, "L1.H0")).toBe(2);
    expect(measuredOf({ ...start(), effects }, "L1.H1")).toBeNull();
    expect(measuredOf({ ...start(), effects }, "embed")).toBeNull();
    expect(measuredOf({ ...start(), effects, graph: graph({ revision: 2 }) }, "L1.H0")).toBeNull();
  });
});

describe("measuring", () => {
  const carrying = (more = {}) =>
    graph({
      measure: "effect",
      edges: [edge("L1.attn", "L1.mid", "write", { effect: 1 })],
      ...more,
    });
  const reply = ({ layer, revision }) => ({
    layer,
    revision,
    nodes: { [`L${layer}.H0`]: { predicted: 1, measured: 2 } },
    rho: 1,
    found: 1,
    of: 1,
  });

  function setUp(values = {}, effects = reply) {
    vi.useFakeTimers();
    const asked = [];
    const host = createStandaloneHost(
      { traits: traits({ measure: "effect", graph: carrying(), ...values }) },
      {
        live: true,
        handlers: {
          expand: ({ layer, revision }) => block(layer, revision),
          effects(params, options) {
            asked.push({ ...params, signal: options.signal });
            return effects(params, options);
          },
        },
      },
    );
    const controller = createController(host);
    controller.subscribe(() => {});
    return { host, controller, asked, state: () => controller.getState() };
  }
  const later = () => vi.advanceTimersByTimeAsync(1000);

  test("begins when an open layer rests, one layer after the other, and asks once", async () => {
    const { controller, asked, state } = setUp({ expanded: [1, 2] });
    expect(asked).toEqual([]);
    await later();
    await later();
    expect(asked.map(({ layer }) => layer)).toEqual([1, 2]);
    expect(state().effects[1]).toMatchObject({ revision: 1, of: 1 });
    controller.dispatch({ type: "toggle-layer", layer: 1 });
    controller.dispatch({ type: "toggle-layer", layer: 1 });
    await later();
    expect(asked).toHaveLength(2);
    vi.useRealTimers();
  });

  test("is for effects alone, and for layers that are open", async () => {
    const other = setUp({ expanded: [1], measure: "logit" });
    await later();
    expect(other.asked).toEqual([]);
    const closed = setUp();
    await later();
    expect(closed.asked).toEqual([]);
    vi.useRealTimers();
  });

  test.each([
    [
      "its layer is closed",
      (controller) => controller.dispatch({ type: "toggle-layer", layer: 1 }),
    ],
    [
      "another measure is followed",
      (controller) => controller.dispatch({ type: "set-measure", measure: "share" }),
    ],
  ])("is called off when %s", async (_, act) => {
    const { controller, asked, state } = setUp(
      { expanded: [1] },
      (_params, { signal }) =>
        new Promise((_resolve, reject) => {
          signal.addEventListener("abort", () => reject(new Error("void")));
        }),
    );
    await later();
    expect(state().effects[1]).toEqual({ revision: 1, nodes: {} });
    act(controller);
    expect(asked[0].signal.aborted).toBe(true);
    vi.useRealTimers();
  });

  test("that fails is said in the layer, and is no problem of the page", async () => {
    const { state } = setUp({ expanded: [1] }, () => {
      throw new Error("Too long a prompt.");
    });
    await later();
    expect(state().effects[1]).toMatchObject({ failed: "Too long a prompt." });
    expect(state().problems).toEqual([]);
    vi.useRealTimers();
  });

  test("of a graph that was replaced meanwhile is dropped, and done anew", async () => {
    const answers = [];
    const { host, asked, state } = setUp(
      { expanded: [1] },
      (params) => new Promise((resolve) => answers.push(() => resolve(reply(params)))),
    );
    await later();
    host.set("graph", carrying({ revision: 2 }));
    answers[0]();
    await later();
    await later();
    expect(asked.map(({ revision }) => revision)).toEqual([1, 2]);
    expect(state().effects[1]).toEqual({ revision: 2, nodes: {} });
    answers[1]();
    await later();
    expect(state().effects[1]).toMatchObject({ revision: 2, of: 1 });
    vi.useRealTimers();
  });

  test("is told to who does not see it, and stands in the tables", () => {
    const before = reduce(initialState, {
      type: "traits",
      traits: traits({ expanded: [1], measure: "effect", graph: carrying() }),
    });
    const open = reduce(before, { type: "block", block: block(1) });
    const after = reduce(open, {
      type: "effects",
      layer: 1,
      effects: reply({ layer: 1, revision: 1 }),
    });
    expect(announcements(open, after)).toEqual([
      {
        topic: "effects 1",
        text: "Effects of layer 1 are measured: ρ 1.00 · 1 of the 1 strongest foretold.",
      },
    ]);
    const heads = (state) => layersTables(state).tables.find(({ key }) => key === "heads 1");
    expect(heads(open).columns.map(({ text }) => text)).not.toContain("measured");
    expect(heads(after).columns.at(-1).text).toBe("measured");
    expect(heads(after).rows[0].cells.at(-1).text).toBe("+2.00");
  });
});

describe("the picture", () => {
  const LAYER = 23;
  const edited = (interventions, more = {}) => {
    const shown = withBlock();
    return { ...shown, interventions, before: beforeOf(shown), ...more };
  };
  const sceneOf = (shown, more = {}) => layoutScene(viewOf(shown, { expanded: [LAYER], ...more }));

  test("marks what something is done to, and nothing else", () => {
    const scene = sceneOf(
      edited([
        { id: "L23.H4", action: "zero" },
        { id: "L20.mlp", action: 0.5 },
        { id: "L22.post", action: "mean" },
      ]),
    );
    const marked = [...scene.nodes, ...scene.cells].flatMap(({ id, edit }) =>
      edit ? [[id, edit]] : [],
    );
    expect(new Map(marked)).toEqual(
      new Map([
        ["L23.H4", "out"],
        ["L20.mlp", "changed"],
        ["L22.post", "changed"],
      ]),
    );
    expect(scene.nodes.find(({ id }) => id === "L23.H4").name).toMatch(/, knocked out$/);
    const parts = scene.parts.flatMap(({ nodes }) => nodes.filter(({ edit }) => edit));
    expect(parts).toHaveLength(2);
  });

  test("without interventions is the picture that it was", () => {
    const plain = layoutScene(viewOf(withBlock(), { expanded: [LAYER] }));
    const none = sceneOf({ ...withBlock(), interventions: [], before: null });
    expect(JSON.stringify(none)).toBe(JSON.stringify(plain));
    expect(plain.rank.before).toEqual([]);
    expect(plain.prediction.rows.every(({ was }) => was === null)).toBe(true);
  });

  test("shows what an intervention left of a head, and of attention, as grey rows", () => {
    const shown = edited([{ id: "L23.H4", action: "zero" }]);
    for (const whole of ["L23.H4", "L23.attn"]) {
      shown.nodes.push({
        ...shown.nodes.find(({ id }) => id === "L23.H4"),
        id: `${whole}.edit`,
        kind: "edit",
      });
      shown.edges.push(edge(`${whole}.edit`, whole, "part", { logit: -2 }));
    }
    const scene = sceneOf(shown, { interest: ["L23.H4"] });
    for (const id of ["L23.H4.edit", "L23.attn.edit"]) {
      const row = scene.nodes.find((it) => it.id === id);
      expect(row.texts[0].text).toBe("edited");
      expect(row.tone).toBe("rest");
      expect(scene.ribbons.some(({ source }) => source === id)).toBe(true);
    }
    const ys = scene.nodes
      .filter(({ id }) => /^L23\.H4\.(V\d+|rest|edit)$/.test(id))
      .map(({ y }) => y);
    expect(new Set(ys).size).toBe(ys.length);
  });

  test("says nothing for what is zero, whatever a lens reads there", () => {
    const shown = edited([{ id: "L23.H4", action: "zero" }]);
    shown.nodes = shown.nodes.map((it) =>
      ["L23.H4", "L23.mlp"].includes(it.id) ? { ...it, norm: 0, label: "ac" } : it,
    );
    const scene = sceneOf(shown);
    for (const id of ["L23.H4", "L23.mlp"]) {
      const { texts } = scene.nodes.find((it) => it.id === id);
      expect(texts[0]).toMatchObject({ text: "nothing", face: "rest" });
    }
  });

  test("has both predictions, both ranks, and what stood in the river", () => {
    const shown = edited([{ id: "L23.H4", action: "zero" }]);
    shown.before = beforeOf(shown, { "L29.post": "␣Kyoto", "L23.post": "␣Osaka" });
    for (const stream of Object.values(shown.before.streams)) stream.target_rank = 5000;
    shown.before.prediction = [{ ...shown.prediction[1], probability: 0.4 }];
    shown.before.target = { logit: 1, probability: 0.2, rank: 3 };
    const scene = sceneOf(shown);
    const [first, second, third] = scene.prediction.rows;
    expect(first.was.text).toBe("20%");
    expect(second.was.text).toBe("40%");
    expect(second.was.bar).toBeGreaterThan(second.bar);
    expect(second.name).toContain(" 40% probable now, and before: ");
    expect(third.was).toBeNull();
    expect(scene.rank.before).toEqual([expect.stringMatching(/^M/)]);
    expect(scene.rank.before).not.toEqual([scene.rank.line]);
    expect(scene.rank.title).toContain("dashed: as it was");
    expect(scene.rank.summary).toContain("where it was 3");
    const wasIn = ({ riverTexts }) => riverTexts.flatMap((text) => text.was || []);
    expect(wasIn(scene)).toEqual([expect.stringMatching(/^␣O/)]);
    expect(wasIn(layoutScene(viewOf(shown, { width: 2400 })))).toEqual(["␣Osaka", "␣Kyoto"]);
  });

  test("has a bracket for what was measured, as long as its ribbon would be wide", () => {
    const row = { kind: "head", box: { x: -3, y: -9, width: 103, height: 18 }, name: "head 4" };
    expect(withMeasured(row, null, 10)).toBe(row);
    const { measured, name } = withMeasured(row, -2, 10);
    expect(measured).toEqual({ x: 100, y: 0, size: 20, tone: "negative", across: false });
    expect(name).toBe("head 4, measured −2.00");
    expect(bracketPath(measured)).toBe("M97,-10h6m-3,0v20m-3,0h6");
    const whole = withMeasured({ ...row, kind: "mlp" }, 1, 10).measured;
    expect(whole).toMatchObject({ across: true, size: 10, tone: "positive" });
    expect(bracketPath(whole)).toBe("M-5,-19v6m0,-3h10m0,-3v6");
    expect(withMeasured(row, 0.001, 10).measured.size).toBeGreaterThan(2);
    expect(withMeasured(row, 1000, 10).measured.size).toBeLessThan(100);
  });

  test("says beside the layer's name how well effects were foretold, and has the mark in its key", () => {
    const effects = {
      [LAYER]: {
        revision: 1,
        layer: LAYER,
        nodes: { "L23.H4": { predicted: 2, measured: 2.75 } },
        rho: 0.9,
        found: 1,
        of: 1,
      },
    };
    const scene = sceneOf(withBlock(), { measure: "effect", effects });
    const texts = scene.panels[0].headings.map(({ text }) => text);
    expect(texts).toContain("ρ 0.90 · 1 of the 1 strongest foretold");
    const marked = scene.nodes.filter(({ measured }) => measured).map(({ id }) => id);
    expect(marked).toEqual(["L23.H4"]);
    expect(scene.legend.items.map(({ key }) => key)).toContain("measured");
    const plain = sceneOf(withBlock(), { measure: "effect" });
    expect(plain.legend.items.map(({ key }) => key)).not.toContain("measured");
    expect(plain.legend.items[0].text).toBe("without it, less ␣Tokyo");
  });
});

describe("the map of effects", () => {
  const map = {
    over: "sublayers",
    layers: [0, 1, 2],
    columns: ["attn", "mlp"],
    ids: [
      ["L0.attn", "L0.mlp"],
      [null, "L1.mlp"],
      ["L2.attn", "L2.mlp"],
    ],
    predicted: [
      [1, 2],
      [null, -4],
      [0, null],
    ],
    measured: [
      [1, -1],
      [null, 1],
      [0.25, 0],
    ],
  };
  const cellsOf = (which) => mapRows(map, which, overview()).map(({ cells }) => cells);

  test("has a row a column of the reply, and a cell a layer", () => {
    const rows = mapRows(map, "predicted", overview());
    expect(rows.map(({ name, cells }) => [name, cells.length])).toEqual([
      ["attn", 3],
      ["mlp", 3],
    ]);
    expect(rows[0].cells[1]).toBeNull();
    expect(rows[1].cells[1]).toMatchObject({ id: "L1.mlp", value: -4, tone: "negative", part: 1 });
    expect(rows[0].cells[0].part).toBeCloseTo(0.5);
    expect(rows[0].cells[0].words).toBe("L0 · attention: foretold +1.00, measured +1.00");
    expect(rows[1].cells[2].words).toBe("L2 · MLP: measured 0");
  });

  test("begins at the strongest", () => {
    expect(strongestCell(cellsOf("predicted"))).toEqual([1, 1]);
    expect(strongestCell(cellsOf("measured"))).toEqual([0, 0]);
    expect(strongestCell([])).toEqual([0, 0]);
  });

  test.each([
    [[0, 0], "east", [0, 2]],
    [[0, 2], "west", [0, 0]],
    [[0, 2], "east", [0, 2]],
    [[1, 1], "upper", [1, 1]],
    [[1, 0], "upper", [0, 0]],
    [[0, 0], "lower", [1, 0]],
    [[1, 1], "start", [1, 0]],
    [[0, 0], "end", [0, 2]],
    [[0, 0], "choose", [0, 0]],
  ])("from %o, %s leads to %o", (from, key, to) => {
    expect(nextCell(cellsOf("measured"), from, key)).toEqual(to);
  });
});
