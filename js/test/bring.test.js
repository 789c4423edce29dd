// @vitest-environment jsdom
import "./helpers/dom.js";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { bothSides } from "../src/shell/what-if/both-sides.js";
import { listenToBringing } from "../src/shell/what-if/bring.js";
import { createRuns } from "../src/shell/what-if/runs.js";
import { patchingRows } from "../src/shell/windows/map-cells.js";
import { createController } from "../src/state/controller.js";
import { initialState, reduce } from "../src/state/state.js";
import { h } from "../src/ui/dom.js";
import { createStandaloneHost } from "../src/wire/standalone.js";
import { runFacts, runWords } from "../src/words/runs.js";
import { block, graph, node, settled, traits } from "./helpers/graph.js";

const AGAINST = {
  target: { logit: 1, probability: 0.1, rank: 3 },
  foil: null,
  position: 2,
  prediction: [{ id: 9, text: "␣Paris", probability: 0.9 }],
  streams: {},
  prompt: "another",
  model: "tiny",
  tokens: ["a", "b", "c"].map((text, position) => ({ position, id: 50 + position, text })),
  pairs: [
    [0, 0],
    [1, 1],
    [2, 2],
  ],
  parting: null,
  nodes: [],
  edges: [],
};
const compared = (more = {}) => graph({ against: AGAINST, ...more });
const FROM = (id, positions = "focus") => ({ id, action: "patch", positions, label: "against" });
const said = (logit, text) => ({
  target: { logit, probability: 0.5, rank: 2 },
  foil: null,
  first: { id: 1, text, probability: 0.7 },
});
const run = (id, interventions = [FROM("L1.H0")], more = {}) => ({
  id,
  interventions,
  prompt: graph().prompt,
  against: "another",
  focus: 2,
  step: null,
  branch: null,
  target: { id: 7, text: "␣Tokyo" },
  foil: null,
  before: said(3, "␣Tokyo"),
  after: said(-1, "␣Paris"),
  ...more,
});

let set;
function open(values = {}, handlers = {}) {
  set = [];
  const given = { graph: compared(), against: "another", ...values };
  const host = createStandaloneHost(
    { traits: traits(given) },
    {
      live: true,
      handlers: { expand: ({ layer, revision }) => block(layer, revision), ...handlers },
      onSet: (name, value) => set.push([name, value]),
    },
  );
  return createController(host);
}
const done = () => set.filter(([name]) => name === "interventions").map(([, value]) => value);

describe("bringing a part over", () => {
  test("adds one intervention, the same again takes it back, and undo goes through both", () => {
    const { dispatch, getState } = open();
    dispatch({ type: "bring", node: "L1.H0" });
    dispatch({ type: "bring", node: "L2.pre", position: 1 });
    dispatch({ type: "bring", node: "L1.H0" });
    expect(done()).toEqual([
      [FROM("L1.H0")],
      [FROM("L1.H0"), FROM("L2.pre", [1])],
      [FROM("L2.pre", [1])],
    ]);
    dispatch({ type: "undo" });
    dispatch({ type: "undo" });
    expect(getState().interventions).toEqual([FROM("L1.H0")]);
  });

  test.each([
    [{ against: null }, "L1.H0", /no other prompt/],
    [{}, "logits", /cannot be taken over/],
    [{}, "L1.H0.Vb2", /cannot be taken over/],
  ])("%j: of %s it is said why not", (more, node, why) => {
    const { dispatch, getState } = open({ graph: compared(more), ...more });
    dispatch({ type: "bring", node });
    expect(done()).toEqual([]);
    expect(getState().problems.map(({ message }) => message)).toEqual([expect.stringMatching(why)]);
  });
});

describe("by dragging", () => {
  let root;
  let stop;
  let there;
  let here;
  let controller;
  let under;

  beforeEach(() => {
    controller = open();
    there = h("button", { "data-bring": "L1.H0" }, "there");
    here = h("div", { "data-part": "L1.H0" }, "here");
    const elsewhere = h("div", { "data-part": "L1.H1" });
    root = h("div", {}, there, here, elsewhere);
    document.body.replaceChildren(root);
    under = { 10: there, 50: here, 90: elsewhere };
    // jsdom lays nothing out.
    document.elementsFromPoint = (x) => [under[x]].filter(Boolean);
    stop = listenToBringing(root, controller);
  });
  afterEach(() => stop());

  const point = (type, target, x) =>
    target.dispatchEvent(
      Object.assign(new MouseEvent(type, { bubbles: true, composed: true, clientX: x, button: 0 })),
    );
  const drag = (to) => {
    point("pointerdown", there, 10);
    point("pointermove", document, to);
  };

  test("onto its place runs it; its place is marked on the way", () => {
    drag(50);
    expect(here.classList.contains("vw-drop")).toBe(true);
    expect(root.querySelector(".vw-ghost").textContent).toBe("the other prompt’s L1 · head 0");
    expect(root.querySelector(".vw-ghost").classList.contains("fits")).toBe(true);
    point("pointerup", document, 50);
    expect(done()).toEqual([[FROM("L1.H0")]]);
    expect(root.querySelector(".vw-ghost, .vw-drop")).toBe(null);
  });

  test("onto another part, or let go with Escape, does nothing; nor does a click", () => {
    drag(90);
    expect(root.querySelector(".vw-ghost").classList.contains("fits")).toBe(false);
    point("pointerup", document, 90);
    drag(50);
    document.dispatchEvent(new KeyboardEvent("keydown", { key: "Escape", bubbles: true }));
    point("pointerup", document, 50);
    point("pointerdown", there, 10);
    point("pointermove", document, 12);
    point("pointerup", document, 12);
    expect(done()).toEqual([]);
  });

  test("what was dragged is not also clicked", () => {
    const clicked = vi.fn();
    here.addEventListener("click", clicked);
    drag(50);
    point("pointerup", document, 50);
    point("click", here, 50);
    expect(clicked).not.toHaveBeenCalled();
  });

  test("a token of there goes to one place alone", () => {
    there.setAttribute("data-bring", "embed");
    there.setAttribute("data-bring-at", "1");
    here.setAttribute("data-part", "embed@1");
    drag(50);
    expect(root.querySelector(".vw-ghost").textContent).toContain("at ␣capital");
    point("pointerup", document, 50);
    expect(done()).toEqual([[FROM("embed", [1])]]);
  });
});

describe("both sides in the panel", () => {
  const here = node("L1.H0", "head", { head: 0, label: "␣a", logit: 2 });
  const other = { ...here, label: "␣b", logit: -1 };

  test("say both values and the difference, and are pressed", () => {
    const controller = open();
    const el = bothSides(here, other, compared(), { list: [], controller });
    expect(el.querySelector("[data-part]").textContent).toBe("here␣a +2.00");
    expect(el.querySelector("[data-bring]").textContent).toBe("there ␣b −1.00");
    expect(el.textContent).toContain("difference +3.00");
    el.querySelector("button").click();
    expect(done()).toEqual([[FROM("L1.H0")]]);
  });

  test("are not of what one side alone has, of wholes of others, or of a saved page", () => {
    const how = { list: [], controller: open() };
    expect(bothSides(here, null, compared(), how)).toBe(null);
    expect(bothSides(here, other, graph(), how)).toBe(null);
    expect(bothSides({ ...here, id: "L1.attn.rest" }, other, compared(), how)).toBe(null);
    expect(bothSides({ ...here, only: "there" }, other, compared(), how)).toBe(null);
    const saved = { ...how, controller: { ...how.controller, live: false } };
    expect(bothSides(here, other, compared(), saved)).toBe(null);
  });
});

describe("runs", () => {
  test("are told by what was done, and by what was said before and after", () => {
    expect(runWords(run(1), compared())).toBe("L1 · head 0 patched from the other at ␣of");
    expect(runFacts(run(1))).toBe(
      "says ␣Tokyo 70.0% → ␣Paris 70.0% · ␣Tokyo 50.0%, rank 2 → 50.0%, rank 2",
    );
    const over = { ...run(1), foil: { id: 9, text: "␣Paris" } };
    over.before = { ...over.before, foil: { logit: 1, probability: 0.1, rank: 3 } };
    over.after = { ...over.after, foil: { logit: 1, probability: 0.1, rank: 3 } };
    expect(runFacts(over)).toMatch(/␣Tokyo over ␣Paris \+2\.00 → −2\.00$/);
    expect(runWords(run(1, undefined, { prompt: "elsewhere" }), compared())).toMatch(
      /^in “elsewhere”: L1\.H0 patched from the other$/,
    );
  });

  test("taken out come back by undo, beside those that came meanwhile, and go again", () => {
    const all = [run(1), run(2), run(3)];
    let state = reduce({ ...initialState, runs: all }, { type: "runs-removed", ids: [1, 2] });
    expect(state.runs.map(({ id }) => id)).toEqual([3]);
    state = reduce(state, { type: "traits", traits: { runs: [...state.runs, run(4)] } });
    state = reduce(state, { type: "undo" });
    expect(state.runs.map(({ id }) => id)).toEqual([1, 2, 3, 4]);
    state = reduce(state, { type: "redo" });
    expect(state.runs.map(({ id }) => id)).toEqual([3, 4]);
    expect(state).not.toHaveProperty("removed");
  });

  test("of interventions taken back the list stays, and it is shared with the kernel", () => {
    const { dispatch, getState } = open({ runs: [run(1), run(2)] });
    dispatch({ type: "bring", node: "L1.H0" });
    dispatch({ type: "undo" });
    expect(getState().runs).toHaveLength(2);
    dispatch({ type: "remove-runs", ids: [1] });
    expect(set.at(-1)).toEqual(["runs", [run(2)]]);
  });

  test("are opened again with all that they were of", async () => {
    const asked = [];
    const controller = open(
      {},
      {
        retrace: ({ prompt }) => {
          asked.push(prompt);
          return { revision: 2 };
        },
      },
    );
    controller.dispatch({ type: "open-run", run: run(1, [FROM("L2.H1")], { focus: 1 }) });
    await settled();
    expect([asked, done().at(-1), controller.getState().focus]).toEqual([[], [FROM("L2.H1")], 1]);
    controller.dispatch({ type: "open-run", run: run(1, undefined, { prompt: "elsewhere" }) });
    await settled();
    expect(asked).toEqual(["elsewhere"]);
  });

  test("are a list, the latest first; the one on screen is marked", () => {
    const runs = [run(1), run(2, [FROM("L2.H1")])];
    const controller = open({ runs, interventions: [FROM("L1.H0")] });
    let content;
    const popovers = {
      show(_anchor, el) {
        content = el;
        document.body.replaceChildren(el);
      },
    };
    const list = createRuns(controller, /** @type {any} */ (popovers));
    list.update(controller.getState());
    expect(list.open.textContent).toBe("2 runs");
    list.open.click();
    const rows = [...content.querySelectorAll("[data-run]")];
    expect(rows.map((row) => row.dataset.run)).toEqual(["2", "1"]);
    expect(rows.map((row) => row.classList.contains("shown"))).toEqual([false, true]);
    content.querySelector('[data-role="remove-run-2"]').click();
    list.update(controller.getState());
    expect(content.querySelectorAll("[data-run]")).toHaveLength(1);
  });
});

test("a map of parts is one of a token, or of the one that matters most to each head", () => {
  const map = {
    over: "parts",
    layers: [0],
    columns: [0, 1],
    sources: [0, 2],
    ids: [
      [
        ["L0.H0.V0", "L0.H0.V2"],
        ["L0.H1.V0", null],
      ],
    ],
    predicted: [
      [
        [0.1, 0.2],
        [0.3, null],
      ],
    ],
    measured: [
      [
        [0.1, -0.4],
        [0.2, null],
      ],
    ],
  };
  const cells = (source) =>
    patchingRows(map, "measured", graph(), source).map(({ name, cells: [cell] }) => [
      name,
      cell?.id ?? null,
      cell?.value ?? null,
    ]);
  expect(cells(null)).toEqual([
    ["H0", "L0.H0.V2", -0.4],
    ["H1", "L0.H1.V0", 0.2],
  ]);
  expect(cells(2)).toEqual([
    ["H0", "L0.H0.V2", -0.4],
    ["H1", null, null],
  ]);
});
