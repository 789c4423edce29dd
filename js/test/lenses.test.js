// @vitest-environment jsdom
import "./helpers/dom.js";
import { beforeEach, describe, expect, test } from "vitest";
import widget, { mountStandalone } from "../src/index.js";
import { indexGraph } from "../src/views/shared/graph.js";
import { LENSES, lensFits, parts, readerOf, strength, unitWords } from "../src/words/lenses.js";
import { marksOf } from "../src/words/marks.js";
import { nodeName } from "../src/words/names.js";
import { kindWords } from "../src/words/words.js";
import { all, press, texts } from "./helpers/dom.js";
import { block, detail, fakeModel, graph, node, settled, traits } from "./helpers/graph.js";

const token = (id, score, probability = null) => ({ id, text: `t${id}`, score, probability });

describe("words", () => {
  test("a probability goes before a score, which is told in its unit", () => {
    expect(strength(token(1, 9, 0.5), "logit")).toBe("50.0%");
    expect(strength(token(1, 9.25), "logit")).toBe("9.25");
    expect(strength(token(1, 4.5), "sd")).toBe("4.50 sd");
    // Calibrated, tokens are ordered by another number than their probability.
    expect(strength(token(1, 4.5, 0.001), "sd")).toBe("4.50 sd");
    expect(parts([token(1, 4, 0.001), token(2, 2, 0.9)], "sd")).toEqual([1, 0.5]);
    expect(strength(token(1, -1.5), "nats")).toBe("−1.50");
    expect(strength({ id: 1, text: "t", probability: null })).toBe("");
  });

  test("bars are as long as probabilities; logits count by their exponential", () => {
    expect(parts([token(1, 0, 0.5), token(2, 0, 0.25)], "logit")).toEqual([1, 0.5]);
    expect(parts([token(1, 4), token(2, 2), token(3, -1)], "nats")).toEqual([1, 0.5, 0]);
    const [most, less] = parts([token(1, 5), token(2, 4)], "logit");
    expect([most, less.toFixed(3)]).toEqual([1, "0.368"]);
    expect(parts([], "sd")).toEqual([]);
  });

  test("what is no probability is said, and how to fit what has to be", () => {
    expect(unitWords("logit")).toBeNull();
    expect(unitWords("nats")).toContain("log-probability");
    expect(lensFits("jacobian")).toBe("vw.JacobianLens.fit(model, tokenizer)");
    expect(lensFits("logit")).toBeNull();
  });

  test("a node is told in the words of the lens that read it, not of the graph's alone", () => {
    const readers = ["nats", "sd", "logit", null].map((unit) =>
      ["local", "calibrated", "jacobian", undefined].map((lens) => readerOf({ lens }, { unit })),
    );
    expect(readers).toEqual([
      ["local", "local", "local", "local"],
      ["calibrated", "calibrated", "calibrated", "calibrated"],
      ["logit", "logit", "jacobian", "logit"],
      ["local", "calibrated", "jacobian", "logit"],
    ]);
  });

  test("that the model stops is said only where a lens reads it so", () => {
    const head = node("L3.H1", "head", { head: 1, label: "␣Japan" });
    const stream = node("L3.post", "residual", { label: "␣Tokyo", target_rank: 2 });
    const said = (lens, it) => nodeName(indexGraph(graph({ lens })), it, null, "logit");
    const lenses = ["local", "logit", "calibrated", "jacobian", "tuned"];
    expect(lenses.map((lens) => said(lens, head))).toEqual([
      "Head 1 raises ␣Japan",
      "Head 1 writes ␣Japan",
      "Head 1 writes ␣Japan",
      "Head 1 leads to ␣Japan",
      "Head 1 writes ␣Japan",
    ]);
    expect(said("local", { ...head, unit: "logit" })).toBe("Head 1 writes ␣Japan");
    expect(lenses.map((lens) => said(lens, stream))).toEqual(
      ["would predict", "would predict", "says above all", "leads to", "foretells"].map(
        (verb) => `Stream after layer 3: ${verb} ␣Tokyo, rank of ␣Tokyo 2`,
      ),
    );
    for (const lens of ["jacobian", "tuned"]) {
      const all = JSON.stringify([LENSES[lens], marksOf(LENSES[lens])]);
      expect(all).not.toContain("stopped");
      expect(kindWords(stream, graph({ lens }))).not.toContain("stopped");
    }
  });
});

function mount(values = {}, { live = true, readings = /** @type {any[]} */ ([]) } = {}) {
  const el = document.createElement("div");
  document.body.append(el);
  const set = [];
  const head = {
    ...detail("L1.H0"),
    unit: "nats",
    top: [token(5, 1.5), token(6, 0.75)],
    bottom: [token(7, -2)],
    target_rank: null,
    target_probability: null,
    readings,
  };
  const { controller } = mountStandalone(
    el,
    {
      traits: traits({ lens: "local", lenses: ["local", "logit"], ...values }),
      expand: { 1: block(1) },
      project: { "L1.H0": head },
    },
    { live, onSet: (name, value) => set.push([name, value]) },
  );
  const root = /** @type {HTMLElement} */ (el.firstElementChild);
  return { controller, root, set, select: root.querySelector('[data-role="lens"]') };
}

beforeEach(() => document.body.replaceChildren());

describe("read with", () => {
  test("offers what is at hand, and what can be fitted", () => {
    const { select } = mount();
    expect(select.value).toBe("local");
    const offered = all(select, "option").map(({ value, disabled }) => [value, disabled]);
    expect(Object.fromEntries(offered)).toEqual({
      local: false,
      logit: false,
      jacobian: false,
      calibrated: false,
      tuned: false,
    });
    expect(texts(select, "option")).toEqual([
      "local",
      "logit",
      "Jacobian…",
      "calibrated…",
      "tuned…",
    ]);
  });

  test("goes out as a trait, and is taken back", () => {
    const { select, set, root } = mount();
    select.value = "logit";
    select.dispatchEvent(new Event("change"));
    expect(set).toContainEqual(["lens", "logit"]);
    root.querySelector('[aria-label^="Undo"]').click();
    expect(set.at(-1)).toEqual(["lens", "local"]);
    expect(select.value).toBe("local");
  });

  test("a page without a kernel has the one that it was saved with", () => {
    const { select } = mount({}, { live: false });
    const free = all(select, "option").filter(({ disabled }) => !disabled);
    expect(free.map(({ value }) => value)).toEqual(["local"]);
  });

  test("an old page, which names none, was read with the logit lens", () => {
    const { select } = mount({ lens: undefined, lenses: undefined, graph: graph() });
    expect(select.value).toBe("logit");
  });
});

describe("the panel", () => {
  const reading = { lens: "logit", unit: "logit", top: [token(8, 20), token(9, 19)], bottom: [] };

  test("says what a part raises, by how much, and what others make of it", async () => {
    const { root } = mount({ selection: ["L1.H0"], expanded: [1] }, { readings: [reading] });
    await settled();
    const panel = root.querySelector("aside");
    expect(texts(panel, "h3")).toContain("it raises · local lens");
    expect(texts(panel, ".vw-prob-value").slice(0, 2)).toEqual(["+1.50", "+0.75"]);
    expect(texts(panel, "h3")).not.toContain("the target here");
    expect(texts(panel, '[data-role="readings"] dt')).toEqual(["logit"]);
    expect(texts(panel, '[data-role="readings"] .vw-token')).toEqual(["t8", "t9"]);
  });

  test("keeps what is said least behind one click, whichever lens reads it", async () => {
    const low = { ...reading, bottom: [token(3, -9)] };
    const { root } = mount({ selection: ["L1.H0"], expanded: [1] }, { readings: [low] });
    await settled();
    const [least, ...others] = all(root, "aside details.vw-least");
    expect(others).toEqual([]);
    expect(least.open).toBe(false);
    expect(texts(least, "summary")).toEqual(["it lowers"]);
    expect(texts(least, ".vw-least-tokens .vw-token")).toEqual(["t7"]);
    expect(texts(least, "dt")).toEqual(["logit"]);
    expect(texts(least, "dd .vw-token")).toEqual(["t3"]);
  });

  test("says how to fit the lenses that are not at hand, to be copied", async () => {
    const { root } = mount({ selection: ["L1.H0"], expanded: [1], lenses: ["local", "tuned"] });
    await settled();
    expect(texts(root, '[data-role="fit"] code')).toEqual([
      "vw.JacobianLens.fit(model, tokenizer)",
      "vw.CalibratedLens.fit(model, tokenizer)",
    ]);
    expect(all(root, '[data-role="fit"] button')).toHaveLength(2);
  });

  test("says nothing of it where all are there, and in a page without a kernel", async () => {
    const every = ["local", "logit", "jacobian", "calibrated", "tuned"];
    for (const [lenses, live] of /** @type {[string[], boolean][]} */ ([
      [every, true],
      [["local"], false],
    ])) {
      const { root } = mount({ selection: ["L1.H0"], expanded: [1], lenses }, { live });
      await settled();
      expect(root.querySelector("aside .vw-prob")).not.toBeNull();
      expect(root.querySelector('[data-role="fit"]')).toBeNull();
    }
  });

  test("has no such section where no other lens was asked", async () => {
    const { root } = mount({ selection: ["L1.H0"], expanded: [1] });
    await settled();
    expect(root.querySelector('[data-role="readings"]')).toBeNull();
  });
});

describe("fitting", () => {
  function open(lens = "jacobian") {
    const model = fakeModel(traits({ lens: "local", lenses: ["local", "logit"] }));
    const el = document.createElement("div");
    document.body.append(el);
    const { signal } = new AbortController();
    widget.render({ model: model.proxy(), el, signal });
    const root = /** @type {HTMLElement} */ (el.firstElementChild);
    const select = /** @type {HTMLSelectElement} */ (root.querySelector('[data-role="lens"]'));
    const shown = () => root.querySelector('[data-role="fit-window"]');
    const choose = (value) => {
      select.value = value;
      select.dispatchEvent(new Event("change"));
    };
    const button = () => /** @type {HTMLButtonElement} */ (shown().querySelector(".vw-button"));
    choose(lens);
    const asked = () => model.sent.filter(({ method }) => method === "fit_lens");
    const cancelled = () => model.sent.filter(({ kind }) => kind === "visit-cancel");
    return { model, root, select, shown, choose, button, asked, cancelled };
  }
  const offered = (root) => texts(root, '[data-role="lens"] option');

  test("is offered, not begun, and the choice stays as it was", () => {
    const { model, select, shown, button, asked } = open();
    expect(select.value).toBe("local");
    expect(model.values.lens).toBe("local");
    expect(shown().textContent).toContain("vw.JacobianLens.fit(model, tokenizer)");
    expect(button().textContent).toBe("Fit it");
    expect(asked()).toEqual([]);
  });

  test("says how far it is, with its window or without, and reads with the lens at the end", async () => {
    const { model, root, shown, choose, button, asked } = open();
    button().click();
    const [{ id, params }] = asked();
    expect(params).toEqual({ lens: "jacobian" });
    expect(button().textContent).toBe("Stop");
    model.answer({ kind: "visit-progress", id, done: 2, total: 12 });
    expect(shown().querySelector('[role="status"]').textContent).toBe("Passage 3 of 12…");
    press(shown(), "Escape");
    expect(shown()).toBeNull();
    expect(offered(root)[2]).toBe("Jacobian, fitting 3/12");
    expect(root.querySelector('[data-role="progress"]').classList).toContain("known");
    choose("jacobian");
    expect(button().textContent).toBe("Stop");
    press(shown(), "Escape");
    choose("tuned");
    expect(button().disabled).toBe(true);
    expect(shown().textContent).toContain("The Jacobian lens is being fitted");
    press(shown(), "Escape");
    const lenses = ["local", "logit", "jacobian"];
    model.answer({ kind: "visit-response", id, ok: true, result: { lenses } });
    await settled();
    expect(model.values.lens).toBe("jacobian");
    expect(offered(root)[2]).toBe("Jacobian");
  });

  test("of another lens takes the place of the window that is open", () => {
    const { root, shown, choose } = open();
    choose("tuned");
    expect(all(root, '[data-role="fit-window"]')).toHaveLength(1);
    expect(shown().querySelector("h2").textContent).toBe("Fit the tuned lens");
    choose("tuned");
    expect(shown()).not.toBeNull();
  });

  test("goes on being told when another graph is drawn", () => {
    const { model, root, button, asked } = open();
    button().click();
    model.answer({ kind: "visit-progress", id: asked()[0].id, done: 2, total: 12 });
    model.publish("graph", graph({ revision: 2, lens: "local" }));
    expect(offered(root)[2]).toBe("Jacobian, fitting 3/12");
  });

  test("can be stopped: the kernel is told, and nothing is chosen", async () => {
    const { model, shown, button, asked, cancelled } = open();
    button().click();
    button().click();
    await settled();
    expect(cancelled().map(({ id }) => id)).toEqual([asked()[0].id]);
    expect(button().textContent).toBe("Fit it");
    expect(shown().querySelector('[role="status"]').hidden).toBe(true);
    expect(model.values.lens).toBe("local");
  });

  test("that fails says why, and can be tried again", async () => {
    const { model, shown, button, asked } = open("tuned");
    button().click();
    const error = { type: "VisitError", message: "No derivative can be taken." };
    model.answer({ kind: "visit-response", id: asked()[0].id, ok: false, error });
    await settled();
    expect(shown().querySelector('[role="status"]').textContent).toBe(error.message);
    expect(button().textContent).toBe("Try again");
    button().click();
    expect(asked()).toHaveLength(2);
  });
});
