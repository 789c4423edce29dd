// @vitest-environment jsdom
import "./helpers/dom.js";
import { beforeEach, describe, expect, test, vi } from "vitest";
import widget, { mountStandalone } from "../src/index.js";
import { all, press, texts } from "./helpers/dom.js";
import {
  audit,
  badAudit,
  block,
  detail,
  fakeModel,
  graph,
  settled,
  traits,
} from "./helpers/graph.js";

/** The stage as the shell sees it: told what to show, tells what is done. */
const stages = vi.hoisted(() => /** @type {any[]} */ ([]));
vi.mock("../src/views/layers/drawing/stage.js", () => ({
  createStage(el, { dispatch }) {
    const stage = { el, dispatch, views: [], destroyed: false, fails: false };
    stages.push(stage);
    return {
      update(view) {
        if (stage.fails) throw new Error("no ink");
        stage.views.push(view);
      },
      destroy: () => {
        stage.destroyed = true;
      },
    };
  },
}));

/** jsdom lays nothing out: give every element a width and tell whoever watches. */
function layOut(width = 1000) {
  Object.defineProperty(HTMLElement.prototype, "clientWidth", {
    configurable: true,
    get: () => width,
  });
  for (const observer of ResizeObserver.all) observer.callback([]);
}

function mount(values = {}, settings = {}) {
  const el = document.createElement("div");
  document.body.append(el);
  const data = {
    traits: traits(values),
    expand: { 1: block(1) },
    project: { "L1.H0": detail("L1.H0"), "L1.attn": detail("L1.attn", { kind: "attention" }) },
  };
  const mounted = mountStandalone(el, data, { live: true, ...settings });
  const root = /** @type {HTMLElement} */ (el.firstElementChild);
  layOut();
  return { ...mounted, el, root, stage: stages.at(-1), panel: root.querySelector("aside") };
}

beforeEach(() => {
  document.body.replaceChildren();
  stages.length = 0;
});

describe("the stage", () => {
  test("is drawn once it has a width, with the view that the state makes", () => {
    const { stage } = mount();
    expect(stage.views).toHaveLength(1);
    expect(stage.views[0]).toMatchObject({
      width: 1000,
      expanded: [],
      pending: [],
      measure: "logit",
      dark: false,
    });
  });

  test("gets the opened layer as pending where its block takes time, then with it", async () => {
    let answer;
    const expand = () =>
      new Promise((done) => {
        answer = () => done(block(1));
      });
    const { stage } = mount({}, { handlers: { expand } });
    stage.dispatch({ type: "toggle-layer", layer: 1 });
    await settled();
    expect(stage.views.at(-1)).toMatchObject({ expanded: [1], pending: [1] });
    answer();
    await settled();
    expect(stage.views.at(-1)).toMatchObject({ expanded: [1], pending: [] });
    expect(stage.views.at(-1).graph.nodes.map(({ id }) => id)).toContain("L1.H0");
  });

  test("gets an opened layer once where its block is at hand", async () => {
    const { stage } = mount();
    const before = stage.views.length;
    stage.dispatch({ type: "toggle-layer", layer: 1 });
    await settled();
    expect(stage.views.slice(before)).toMatchObject([{ expanded: [1], pending: [] }]);
  });

  test("is not drawn anew for what it does not show", () => {
    const { stage, host } = mount();
    host.set("status", { state: "ready", message: "x", max_error: 1e-7, exact: true });
    expect(stage.views).toHaveLength(1);
  });

  test("hears of what it is hovered over; the kernel does not", async () => {
    const project = vi.fn();
    const { stage, root } = mount({}, { handlers: { project } });
    stage.dispatch({ type: "hover", node: "L1.attn", x: 10, y: 10 });
    expect(stage.views.at(-1).hovered).toBe("L1.attn");
    const tooltip = root.querySelector(".vw-tooltip");
    expect(tooltip.hidden).toBe(false);
    expect(tooltip.textContent).toContain("Layer 1 · attention");
    stage.dispatch({ type: "hover", node: null, x: 10, y: 10 });
    expect(tooltip.hidden).toBe(true);
    await settled();
    expect(project).not.toHaveBeenCalled();
  });

  test("has no tooltip over the node that the panel shows", () => {
    const { stage, root } = mount();
    const tooltip = root.querySelector(".vw-tooltip");
    stage.dispatch({ type: "hover", node: "L1.attn", x: 10, y: 10 });
    stage.dispatch({ type: "select", nodes: ["L1.attn"], additive: false });
    expect(tooltip.hidden).toBe(true);
    stage.dispatch({ type: "hover", node: "L1.attn", x: 12, y: 10 });
    expect(tooltip.hidden).toBe(true);
    stage.dispatch({ type: "hover", node: "L1.mlp", x: 12, y: 40 });
    expect(tooltip.hidden).toBe(false);
  });
});

describe("what is followed", () => {
  const several = {
    id: "logsumexp:7,9",
    text: "any of ␣Tokyo, ␣Japan",
    logit: 13.2,
    probability: 0.9,
    rank: 1,
    combine: "logsumexp",
    tokens: [
      { id: 7, text: "␣Tokyo", weight: 1 },
      { id: 9, text: "␣Japan", weight: 1 },
    ],
  };
  const direction = {
    ...several,
    id: "direction:1f:truth",
    text: "truth",
    probability: null,
    rank: null,
    combine: "direction",
    tokens: [],
  };

  /** @param {typeof several | typeof direction} target */
  const shown = (target) => {
    const { id, text, combine } = target;
    const { root } = mount({ target: { id, text, combine }, graph: graph({ target }) });
    return root.querySelector('[data-role="target"]');
  };

  test("may be several tokens, with the probability of any of them", () => {
    const chip = shown(several);
    expect(chip.textContent).toContain("any of ␣Tokyo, ␣Japan");
    expect(chip.title).toBe(
      "The tokens that are followed, as the logit of any of them: 90.0%, rank 1",
    );
    expect(chip.classList.contains("waiting")).toBe(false);
  });

  test("may be a direction, which has no probability", () => {
    const chip = shown(direction);
    expect(chip.textContent).toContain("truth");
    expect(chip.title).toBe("The direction that is followed");
  });
});

describe("the status", () => {
  test("of a kernel that is ready may say something to know, which is no alarm", () => {
    const message = "'South Korea' is not one token. Its first token, ␣South, is followed.";
    const { root } = mount({ status: { state: "ready", message, max_error: 1e-7, exact: true } });
    const note = root.querySelector('[data-problem="status"]');
    expect(note.textContent).toContain(message);
    expect(note.getAttribute("role")).toBe("status");
  });
});

describe("the panel", () => {
  test("is away with nothing selected", () => {
    const { panel, stage, root } = mount();
    expect(panel.hidden).toBe(true);
    stage.dispatch({ type: "select", nodes: ["L1.attn"] });
    expect(panel.hidden).toBe(false);
    expect(root.classList.contains("with-panel")).toBe(true);
    panel.querySelector("[data-role='close-panel']").click();
    expect(panel.hidden).toBe(true);
  });

  test("shows what the graph holds at once, then what the kernel adds", async () => {
    const { panel, stage } = mount({ expanded: [1] });
    await settled();
    stage.dispatch({ type: "select", nodes: ["L1.H0"] });
    expect(panel.querySelector("h2").textContent).toBe("Layer 1 · head 0");
    expect(texts(panel, ".vw-prob .vw-token")).toEqual(["␣Japan", "␣Tokyo"]);
    expect(texts(panel, ".vw-side-facts span")).toEqual([
      "adds +2.68 to ␣Tokyo",
      "41% of attention",
    ]);
    expect(panel.querySelector("ol").getAttribute("aria-busy")).toBe("true");
    expect(panel.querySelector(".vw-sources")).toBeNull();
    expect(texts(panel, ".vw-read:not(.unknown)")).toEqual(["␣capital"]);
    await settled();
    expect(panel.querySelector("ol").getAttribute("aria-busy")).toBeNull();
    expect(texts(panel, ".vw-sources tbody td")).toEqual(["␣capital", "60.0%", "+2.10"]);
    expect(all(panel, ".vw-read.unknown")).toEqual([]);
    expect(panel.querySelector(".vw-read:nth-child(2)").title).toBe("␣capital: 60.0%; why?");
  });

  test("marks the target among the tokens", async () => {
    const { panel, stage } = mount();
    stage.dispatch({ type: "select", nodes: ["L1.attn"] });
    expect(texts(panel, ".vw-prob.target .vw-token")).toEqual(["␣Tokyo"]);
  });

  test("says why it has no more, keeps what it has, and tries again", async () => {
    let broken = true;
    const { panel, stage } = mount(
      {},
      {
        handlers: {
          async project({ revision }) {
            if (broken) throw new Error("The model has moved to another device.");
            return { revision, nodes: { "L1.attn": detail("L1.attn", { kind: "attention" }) } };
          },
        },
      },
    );
    stage.dispatch({ type: "select", nodes: ["L1.attn"] });
    await settled();
    expect(panel.querySelector(".vw-side-note").textContent).toContain("another device");
    expect(texts(panel, ".vw-prob .vw-token")).toContain("␣Japan");
    expect(all(panel, ".vw-prob.free")).toEqual([]);
    broken = false;
    panel.querySelector("[data-role='retry-details']").click();
    await settled();
    expect(panel.querySelector(".vw-side-note")).toBeNull();
  });

  test("adds up parts of one kind, and not a whole with its part", () => {
    const { panel, stage } = mount({
      graph: graph({ layers: [1], nodes: [...graph().nodes, ...block(1).nodes] }),
    });
    stage.dispatch({ type: "select", nodes: ["L1.attn"] });
    stage.dispatch({ type: "select", nodes: ["L1.H0"], additive: true });
    expect(texts(panel, ".vw-selected-name")).toEqual(["L1.attn", "L1.H0"]);
    expect(panel.querySelector(".vw-side-facts")).toBeNull();
    stage.dispatch({ type: "select", nodes: ["L1.attn", "L2.attn"] });
    panel.querySelector(".vw-selected-part").click();
    expect(panel.querySelector("h2").textContent).toBe("Layer 1 · attention");
  });

  test("says what is selected though the graph does not have it", async () => {
    const { panel } = mount({ selection: ["L1.H0.V9"] });
    expect(panel.querySelector("h2").textContent).toBe("L1.H0.V9");
    await settled();
    expect(panel.textContent).toMatch(/not included in this page/);
  });

  test("takes a model's strings as text", () => {
    const nasty = "<img src=x onerror=alert(1)>";
    const nodes = graph().nodes.map((it) =>
      it.id === "L1.attn"
        ? { ...it, label: nasty, top: [{ id: 1, text: nasty, probability: 1 }] }
        : it,
    );
    const { root, stage } = mount({ graph: graph({ nodes }) });
    stage.dispatch({ type: "select", nodes: ["L1.attn"] });
    stage.dispatch({ type: "hover", node: "L1.attn", x: 0, y: 0 });
    expect(root.querySelector("img")).toBeNull();
    expect(root.textContent).toContain(nasty);
  });
});

describe("the prompt", () => {
  test("marks the focus; a click moves it", () => {
    const { root, host } = mount();
    const chips = all(root, ".vw-chips .vw-chip");
    expect(chips.map((chip) => chip.textContent)).toEqual(["The", "␣capital", "␣of"]);
    expect(chips[2].getAttribute("aria-current")).not.toBeNull();
    chips[1].click();
    expect(host.get("focus")).toBe(1);
    // The graph on screen is still the old one.
    expect(chips[1].classList.contains("waiting")).toBe(true);
    host.set("graph", graph({ revision: 2, position: 1 }));
    expect(all(root, ".vw-chips .waiting")).toEqual([]);
  });

  test("is one tab stop, walked with arrows", () => {
    const { root } = mount();
    const chips = all(root, ".vw-chips .vw-chip");
    chips[2].focus();
    press(chips[2], "ArrowLeft");
    expect(document.activeElement).toBe(chips[1]);
    press(chips[1], "Home");
    expect(document.activeElement).toBe(chips[0]);
    expect(chips.filter((chip) => chip.tabIndex === 0)).toEqual([chips[0]]);
  });

  test("is edited in place: Enter traces it, Escape leaves it", () => {
    const retrace = vi.fn(() => ({ revision: 2 }));
    const { root } = mount({}, { handlers: { retrace } });
    const edit = root.querySelector("[data-role='edit-prompt']");
    edit.click();
    let field = root.querySelector("textarea");
    expect(field.value).toBe("The capital of");
    press(field, "Escape");
    expect(root.querySelector("textarea")).toBeNull();
    edit.click();
    field = root.querySelector("textarea");
    field.value = "The capital of Italy";
    press(field, "Enter", { shiftKey: true });
    expect(retrace).not.toHaveBeenCalled();
    press(field, "Enter");
    expect(retrace).toHaveBeenCalledWith({ prompt: "The capital of Italy" }, expect.anything());
  });

  test("of a saved page offers nothing that needs a kernel", () => {
    const { root } = mount({}, { live: false });
    expect(all(root, ".vw-chips button")).toEqual([]);
    expect(root.querySelector("[data-role='edit-prompt']")).toBeNull();
    expect(root.querySelector("[data-role='target']").disabled).toBe(true);
    expect(root.querySelector("[data-role='foil']").hidden).toBe(true);
  });
});

describe("the target", () => {
  test("is chosen among what the model considers", () => {
    const { root, host } = mount();
    const target = root.querySelector("[data-role='target']");
    target.click();
    expect(target.getAttribute("aria-expanded")).toBe("true");
    const choices = all(root, "[role='option']");
    expect(choices.map((choice) => choice.querySelector(".vw-token").textContent)).toEqual([
      "␣Tokyo",
      "␣Kyoto",
    ]);
    choices[1].click();
    expect(host.get("target")).toEqual({ id: 8, text: "␣Kyoto" });
    expect(root.querySelector(".vw-popover")).toBeNull();
  });

  test("is found in the vocabulary, by keyboard alone", async () => {
    vi.useFakeTimers();
    const vocabulary = vi.fn(async () => ({ tokens: [{ id: 30, text: "␣Osaka" }] }));
    const { root, host } = mount({}, { handlers: { vocabulary } });
    root.querySelector("[data-role='target']").click();
    const input = root.querySelector("[role='combobox']");
    expect(document.activeElement).toBe(input);
    for (const text of ["O", "Os", "Osa"]) {
      input.value = text;
      input.dispatchEvent(new Event("input", { bubbles: true }));
      await vi.advanceTimersByTimeAsync(50);
    }
    await vi.advanceTimersByTimeAsync(300);
    vi.useRealTimers();
    expect(vocabulary).toHaveBeenCalledTimes(1);
    expect(vocabulary.mock.calls[0][0]).toEqual({ query: "Osa", limit: 20 });
    press(input, "Enter");
    expect(host.get("target")).toEqual({ id: 30, text: "␣Osaka" });
  });

  test("can be compared, and no longer compared", () => {
    const { root, host } = mount();
    const foil = root.querySelector("[data-role='foil']");
    foil.click();
    all(root, "[role='option']")[1].click();
    expect(host.get("foil")).toEqual({ id: 8, text: "␣Kyoto" });
    foil.click();
    all(root, "[role='option']")[0].click();
    expect(host.get("foil")).toBeNull();
  });
});

describe("the audit", () => {
  const open = (root) => root.querySelector("[data-role='exact']").click();
  const shown = (root) => root.querySelector("[data-role='audit']");
  const cells = (root, selector) => texts(shown(root), selector);

  test("opens from the mark that says how exact the graph is", async () => {
    const { root } = mount({}, { handlers: { audit: () => audit() } });
    const mark = root.querySelector("[data-role='exact']");
    expect(mark.tagName).toBe("BUTTON");
    expect(mark.textContent).toBe("exact to 4e−7");
    expect(mark.getAttribute("aria-label")).toBe("exact to 4e−7. Show the audit");
    open(root);
    expect(mark.getAttribute("aria-expanded")).toBe("true");
    expect(root.querySelector("[role='dialog']").getAttribute("aria-label")).toBe("Audit");
    expect(document.activeElement).toBe(shown(root));
    await settled();
    expect(cells(root, "tbody .vw-audit-identity")).toEqual([
      "attention = Σ heads + bias",
      "MLP = Σ neurons + bias",
      "attention rows = output_attentions",
    ]);
    expect(cells(root, "tbody td:nth-child(2)")).toEqual(["4.8 × 10⁻⁷", "2.5 × 10⁻⁶", "not asked"]);
    expect(all(shown(root), ".vw-audit-bar")).toHaveLength(2);
    expect(shown(root).querySelector("[role='status']").textContent).toMatch(/^Exact to rounding/);
    expect(mark.textContent).toBe("exact to 3e−6");
  });

  test("says what is being done while one waits, and is called off by closing", async () => {
    const asked = vi.fn((_, { signal }) => new Promise(() => signal));
    const { root } = mount({}, { handlers: { audit: asked } });
    await settled();
    open(root);
    expect(shown(root).getAttribute("aria-busy")).toBe("true");
    expect(shown(root).textContent).toMatch(/two fresh passes/);
    expect(root.classList.contains("busy")).toBe(true);
    press(shown(root), "Escape");
    expect(shown(root)).toBeNull();
    expect(document.activeElement).toBe(root.querySelector("[data-role='exact']"));
    expect(asked.mock.calls[0][1].signal.aborted).toBe(true);
    expect(root.classList.contains("busy")).toBe(false);
  });

  test("closes by its button and by the mark, and keeps Tab inside", async () => {
    const { root } = mount({}, { handlers: { audit: () => audit() } });
    open(root);
    await settled();
    const buttons = all(shown(root), "button");
    buttons.at(-1).focus();
    press(buttons.at(-1), "Tab");
    expect(document.activeElement).toBe(buttons[0]);
    press(buttons[0], "Tab", { shiftKey: true });
    expect(document.activeElement).toBe(buttons.at(-1));
    shown(root).querySelector("[aria-label='Close (Escape)']").click();
    expect(shown(root)).toBeNull();
    open(root);
    open(root);
    expect(shown(root)).toBeNull();
    open(root);
    expect(shown(root)).not.toBeNull();
  });

  test("that does not hold is marked by more than a colour", async () => {
    const { root } = mount({}, { handlers: { audit: () => badAudit() } });
    open(root);
    await settled();
    const [over, ...others] = all(shown(root), "tr.over");
    expect(others).toEqual([]);
    expect(over.dataset.identity).toBe("MLP = Σ neurons + bias");
    expect(over.querySelector(".vw-icon")).not.toBeNull();
    expect(over.textContent).toContain("over the tolerance");
    expect(root.querySelector("[data-role='exact']").textContent).toBe("off by 3e−2");
  });

  test("that fails is a sentence in its window alone, and can be tried again", async () => {
    let broken = true;
    const { root } = mount(
      {},
      {
        handlers: {
          async audit() {
            if (broken) throw new Error("The GPU is full; free some memory.");
            return audit();
          },
        },
      },
    );
    open(root);
    await settled();
    expect(shown(root).textContent).toContain("The GPU is full");
    expect(root.querySelector("[role='alert']")).toBeNull();
    broken = false;
    const again = shown(root).querySelector("[data-role='retry-audit']");
    again.focus();
    again.click();
    expect(document.activeElement).toBe(shown(root));
    await settled();
    expect(all(shown(root), "tbody tr")).toHaveLength(3);
  });

  test("can be copied as text", async () => {
    const writeText = vi.fn(async () => {});
    vi.stubGlobal("navigator", { clipboard: { writeText } });
    const { root } = mount({}, { handlers: { audit: () => audit() } });
    open(root);
    await settled();
    shown(root).querySelector("[data-role='copy-audit']").click();
    shown(root).querySelector("[data-role='copy-audit-tsv']").click();
    await settled();
    expect(writeText.mock.calls[0][0]).toMatch(/^\| identity \|/);
    expect(writeText.mock.calls[1][0]).toMatch(/^identity\t/);
    expect(shown(root).querySelector("[data-role='copy-audit']").textContent).toBe("copied");
    vi.unstubAllGlobals();
  });

  test("follows the graph while it is open", async () => {
    const { root, host } = mount(
      {},
      { handlers: { audit: ({ revision }) => (revision === 1 ? audit() : badAudit()) } },
    );
    open(root);
    await settled();
    host.set("graph", graph({ revision: 2, position: 1 }));
    expect(shown(root).getAttribute("aria-busy")).toBe("true");
    await settled();
    expect(shown(root).textContent).toMatch(/Not exact/);
  });

  test("of a saved page that has none says how to get one", async () => {
    const { root } = mount({}, { live: false });
    open(root);
    await settled();
    expect(shown(root).textContent).toContain("save_html(path, audit=True)");
    expect(shown(root).querySelector("[data-role='retry-audit']")).toBeNull();
  });

  test("has no mark before there is a graph", () => {
    const status = { state: "busy", message: "", max_error: null, exact: null };
    const { root } = mount({ graph: {}, status });
    expect(root.querySelector("[data-role='exact']").hidden).toBe(true);
  });
});

describe("keys", () => {
  test("Escape closes the popover, then the panel, then is the page's again", () => {
    const { root, stage, panel, host } = mount();
    const outside = vi.fn();
    document.body.addEventListener("keydown", outside);
    stage.dispatch({ type: "select", nodes: ["L1.attn"] });
    root.querySelector("[data-role='target']").click();
    press(root.querySelector("[role='combobox']"), "Escape");
    expect(root.querySelector(".vw-popover")).toBeNull();
    expect(panel.hidden).toBe(false);
    press(root.querySelector("[data-role='target']"), "Escape");
    expect(host.get("selection")).toEqual([]);
    expect(outside).not.toHaveBeenCalled();
    press(root.querySelector("[data-role='target']"), "Escape");
    expect(outside).toHaveBeenCalled();
    document.body.removeEventListener("keydown", outside);
  });

  test("u and Ctrl-z undo, but not while something is typed", () => {
    const { root, stage, host } = mount();
    stage.dispatch({ type: "select", nodes: ["L1.attn"] });
    stage.dispatch({ type: "select", nodes: ["L1.mlp"] });
    press(root, "u");
    expect(host.get("selection")).toEqual(["L1.attn"]);
    press(root, "u", { shiftKey: true });
    press(root, "z", { ctrlKey: true });
    expect(host.get("selection")).toEqual(["L1.attn"]);
    root.querySelector("[data-role='target']").click();
    press(root.querySelector("[role='combobox']"), "u");
    expect(host.get("selection")).toEqual(["L1.attn"]);
  });
});

test("a failing layer is a sentence above the graph, and can be tried again", async () => {
  let broken = true;
  const { root, stage } = mount(
    {},
    {
      handlers: {
        async expand({ layer, revision }) {
          if (broken) throw new Error("The GPU is full; free some memory.");
          return block(layer, revision);
        },
      },
    },
  );
  stage.dispatch({ type: "toggle-layer", layer: 1 });
  await settled();
  const problem = root.querySelector("[role='alert']");
  expect(problem.textContent).toContain("The GPU is full");
  expect(root.querySelector("[aria-live]").textContent).toContain("The GPU is full");
  broken = false;
  problem.querySelector(".vw-link").click();
  await settled();
  expect(root.querySelector("[role='alert']")).toBeNull();
  expect(stage.views.at(-1)).toMatchObject({ expanded: [1], pending: [] });
});

test("a stage that cannot draw is a sentence; the rest goes on", () => {
  const { root, stage, host } = mount();
  vi.spyOn(console, "error").mockImplementation(() => {});
  stage.fails = true;
  host.set("measure", "norm");
  expect(root.querySelector("[role='alert']").textContent).toMatch(/could not be drawn: no ink/);
  stage.dispatch({ type: "select", nodes: ["L1.attn"] });
  expect(root.querySelector("h2").textContent).toBe("Layer 1 · attention");
});

test("before the first trace there is a sentence, and no stage", () => {
  const status = { state: "busy", message: "", max_error: null, exact: null };
  const { root, stage, host } = mount({ graph: {}, status });
  expect(root.querySelector(".vw-placeholder").textContent).toBe("Tracing the prompt…");
  expect(stage.views).toEqual([]);
  host.set("graph", graph());
  expect(root.querySelector(".vw-placeholder").hidden).toBe(true);
  expect(stage.views).toHaveLength(1);
});

describe("in a notebook", () => {
  function open(model) {
    const el = document.createElement("div");
    const control = new AbortController();
    const cleanup = widget.render({ model: model.proxy(), el, signal: control.signal });
    layOut(1000);
    return { el, control, cleanup, stage: stages.at(-1), root: el.firstElementChild };
  }

  test("two views agree, but for what the pointer is over", async () => {
    const model = fakeModel();
    widget.initialize({ model: model.proxy(), signal: new AbortController().signal });
    const one = open(model);
    const two = open(model);
    one.stage.dispatch({ type: "select", nodes: ["L1.attn"] });
    one.stage.dispatch({ type: "hover", node: "L1.mlp", x: 0, y: 0 });
    expect(two.root.querySelector("h2").textContent).toBe("Layer 1 · attention");
    expect(two.stage.views.at(-1)).toMatchObject({ selection: ["L1.attn"], hovered: null });
    // One widget, one question.
    expect(model.sent.filter(({ method }) => method === "project")).toHaveLength(1);
    two.root.querySelector("[data-role='measure']").value = "norm";
    two.root.querySelector("[data-role='measure']").dispatchEvent(new Event("change"));
    expect(one.stage.views.at(-1).measure).toBe("norm");
    expect(model.values.measure).toBe("norm");
  });

  test("two views read one audit; it goes on while one of them does", async () => {
    const model = fakeModel();
    const one = open(model);
    const two = open(model);
    const asked = () => model.sent.filter(({ method }) => method === "audit");
    const cancels = () => model.sent.filter(({ kind }) => kind === "visit-cancel");
    for (const { root } of [one, two]) root.querySelector("[data-role='exact']").click();
    expect(asked()).toHaveLength(1);
    press(one.root.querySelector("[data-role='audit']"), "Escape");
    expect(cancels()).toEqual([]);
    const [{ id }] = asked();
    model.answer({ kind: "visit-response", id, ok: true, result: audit() });
    await settled();
    expect(all(two.root, "[data-role='audit'] tbody tr")).toHaveLength(3);
    for (const { root } of [one, two]) {
      expect(root.querySelector("[data-role='exact']").textContent).toBe("exact to 3e−6");
    }
  });

  test("a view that goes calls its audit off; a kernel that is gone is a sentence", async () => {
    const model = fakeModel();
    const { root, cleanup } = open(model);
    root.querySelector("[data-role='exact']").click();
    const [{ id }] = model.sent.filter(({ method }) => method === "audit");
    cleanup();
    expect(model.sent).toContainEqual({ kind: "visit-cancel", id });
    model.dead = true;
    const other = open(model);
    other.root.querySelector("[data-role='exact']").click();
    await settled();
    const shown = other.root.querySelector("[data-role='audit']");
    expect(shown.textContent).toMatch(/The kernel cannot be reached.*Run the cell again/);
  });

  test("a closed view leaves nothing behind; the other stays", () => {
    const model = fakeModel();
    const initialised = new AbortController();
    widget.initialize({ model: model.proxy(), signal: initialised.signal });
    const one = open(model);
    const two = open(model);
    one.control.abort();
    one.cleanup();
    expect(one.el.childElementCount).toBe(0);
    expect(one.stage.destroyed).toBe(true);
    model.publish("selection", ["L1.attn"]);
    expect(two.stage.views.at(-1).selection).toEqual(["L1.attn"]);
    two.cleanup();
    initialised.abort();
    expect(model.listenerCount()).toBe(0);
  });

  test("what Python selects is shown", () => {
    const model = fakeModel();
    const { root, stage } = open(model);
    model.publish("selection", ["L1.mlp"]);
    expect(root.querySelector("h2").textContent).toBe("Layer 1 · MLP");
    expect(stage.views.at(-1).selection).toEqual(["L1.mlp"]);
  });
});
