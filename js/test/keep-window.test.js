// @vitest-environment jsdom
import "./helpers/dom.js";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { mountStandalone } from "../src/index.js";
import { DEFAULT_KEEP, PRESETS } from "../src/state/keep.js";
import { all, press, texts } from "./helpers/dom.js";
import { block, detail, graph, node, settled, traits } from "./helpers/graph.js";

vi.mock("../src/views/layers/drawing/stage.js", () => ({
  createStage: () => ({ update() {}, destroy() {} }),
}));

function mount(values = {}, settings = {}, data = {}) {
  const el = document.createElement("div");
  document.body.append(el);
  const mounted = mountStandalone(
    el,
    { traits: traits(values), ...data },
    { live: true, ...settings },
  );
  const root = /** @type {HTMLElement} */ (el.firstElementChild);
  return { ...mounted, root, keep: () => mounted.host.get("keep") };
}

const named = (root, name) => root.querySelector(`[aria-label="${name}"]`);

function type(input, value) {
  input.value = value;
  input.dispatchEvent(new Event("input", { bubbles: true }));
}

beforeEach(() => {
  document.body.replaceChildren();
  vi.useFakeTimers();
});
afterEach(() => vi.useRealTimers());

describe("what is kept", () => {
  function open(values, settings) {
    const mounted = mount(values, settings);
    mounted.root.querySelector("[data-role='keep']").click();
    return mounted;
  }

  test("is shown as it is, in the measure's unit", () => {
    const { root } = open({
      measure: "share",
      keep: { neurons: [18, 7], heads: { mass: 0.07 }, threshold: 0.05 },
    });
    expect(named(root, "Neurons: how many of the most positive").value).toBe("18");
    expect(named(root, "Neurons: how many of the most negative").value).toBe("7");
    expect(named(root, "Heads: how many").value).toBe("");
    expect(named(root, "Heads: making up percent of the sum").value).toBe("7");
    expect(named(root, "Every kind: at least").value).toBe("0.05");
    expect(named(root, "Parts of a stream: at least").value).toBe("1");
    expect(texts(root, ".vw-keep-column")).toContain("at least (share)");
    expect(root.querySelector("[data-role='keep']").textContent).toBe("keep as chosen");
  });

  test("changes a while after the last key, all of it at once", () => {
    const { root, keep } = open();
    type(named(root, "Heads: how many"), "4");
    type(named(root, "Neurons: making up percent of the sum"), "90");
    expect(keep()).toEqual({});
    vi.advanceTimersByTime(300);
    expect(keep()).toEqual({
      ...DEFAULT_KEEP,
      heads: 4,
      neurons: { count: 12, threshold: null, mass: 0.9 },
    });
  });

  test("an empty field is no limit", () => {
    const { root, keep } = open();
    type(named(root, "Heads: how many"), "");
    type(named(root, "Parts of a stream: at least"), "");
    vi.advanceTimersByTime(300);
    const none = { count: null, threshold: null, mass: null };
    expect(keep()).toMatchObject({ heads: none, routes: none });
  });

  test.each([
    ["Heads: how many", "2.5", /whole number/],
    ["Neurons: at least", "-1", /0 or more/],
    ["Memories a head: making up percent of the sum", "120", /percentage above 0/],
    ["Memories a head: making up percent of the sum", "0", /percentage above 0/],
    ["Parts of a stream: at least", "101", /percentage/],
  ])("what is wrong is said in place and changes nothing: %s %s", (name, value, words) => {
    const { root, keep } = open();
    type(named(root, name), value);
    vi.advanceTimersByTime(300);
    expect(keep()).toEqual({});
    const shown = all(root, ".vw-keep-error").filter((error) => !error.hidden);
    expect(shown).toHaveLength(1);
    expect(shown[0].textContent).toMatch(words);
    expect(named(root, name).getAttribute("aria-invalid")).toBe("true");
    type(named(root, name), "3");
    vi.advanceTimersByTime(300);
    expect(shown[0].hidden).toBe(true);
    expect(keep()).not.toEqual({});
  });

  test("counts the most positive and negative apart, and together again", () => {
    const { root, keep } = open();
    const pair = named(root, "Neurons: the most positive and the most negative apart");
    pair.click();
    vi.advanceTimersByTime(300);
    expect(keep().neurons).toEqual([6, 6]);
    type(named(root, "Neurons: how many of the most positive"), "9");
    pair.click();
    vi.advanceTimersByTime(300);
    expect(keep().neurons).toBe(15);
  });

  test("has presets, a way back, and closes rest nodes with them", () => {
    const { root, keep, host } = open({ keep: { heads: 3, more: { "L1.mlp.rest": 12 } } });
    const presets = all(root, ".vw-preset");
    expect(presets.map((button) => button.getAttribute("aria-pressed"))).toEqual([
      "false",
      "false",
      "false",
    ]);
    expect(root.querySelector(".vw-keep-foot").textContent).toMatch(/1 rest node is opened/);
    presets[1].click();
    expect(keep()).toEqual(PRESETS["VISIT’s"]);
    expect(presets[1].getAttribute("aria-pressed")).toBe("true");
    expect(named(root, "Ranked by").value).toBe("visit");
    host.set("graph", graph({ revision: 2, model: { ...graph().model, d_mlp: 1536 } }));
    presets[2].click();
    expect(root.querySelector(".vw-keep-note").textContent).toMatch(/draws 1,536 neurons/);
    root.querySelector("[data-role='reset-keep']").click();
    expect(keep()).toEqual(DEFAULT_KEEP);
    expect(root.querySelector("[data-role='reset-keep']").disabled).toBe(true);
  });

  test("says by what the routes' parts are judged", () => {
    const { root, keep } = open();
    const rule = named(root, "Rule");
    rule.value = "edge";
    rule.dispatchEvent(new Event("change", { bubbles: true }));
    expect(keep().routes_by).toBe("edge");
  });

  test("follows what Python sets, but not into the field at hand", () => {
    const { root, host } = open();
    const heads = named(root, "Heads: how many");
    heads.focus();
    host.set("keep", { heads: 7, memories: 5 });
    expect(heads.value).toBe("10");
    expect(named(root, "Memories a head: how many").value).toBe("5");
  });

  test("what was typed just before closing counts", () => {
    const { root, keep } = open();
    type(named(root, "Heads: how many"), "4");
    press(named(root, "Heads: how many"), "Escape");
    expect(root.querySelector("[data-role='keep-window']")).toBeNull();
    expect(keep().heads).toBe(4);
  });

  test("is not for changing without a kernel", () => {
    const { root } = mount({}, { live: false });
    expect(root.querySelector("[data-role='keep']").disabled).toBe(true);
    expect(named(root, "Measure: what the width of a ribbon says").disabled).toBe(false);
  });
});

describe("the panel of a rest node", () => {
  const id = "L1.attn.rest";
  const rest = node(id, "rest", { label: null, rest: { of: "head", count: 8 } });
  const withRest = (layer, revision) => {
    const { nodes, ...more } = block(layer, revision);
    return { ...more, nodes: [...nodes, rest] };
  };

  async function choose(keep, settings = {}) {
    vi.useRealTimers();
    const mounted = mount({ expanded: [1], selection: [id], keep }, settings, {
      expand: { 1: withRest(1) },
      project: { [id]: detail(id, rest) },
    });
    await settled();
    return { ...mounted, role: (name) => mounted.root.querySelector(`[data-role='${name}']`) };
  }

  test("shows more of it, and fewer again", async () => {
    const { root, role, keep } = await choose({});
    expect(root.querySelector("h2").textContent).toBe("Layer 1 · 8 more heads");
    expect(root.querySelector(".vw-side-facts").textContent).toMatch(/41%.* of attention/);
    // Ten at a time, but there are only eight.
    expect(role("open-rest").textContent).toBe("Show the next 8");
    expect(role("close-rest")).toBeNull();
    role("open-rest").click();
    expect(keep().more).toEqual({ [id]: 10 });
    role("close-rest").click();
    expect(keep().more).toEqual({});
    expect(role("close-rest")).toBeNull();
  });

  test("offers neither without a kernel", async () => {
    const { role } = await choose({ more: { [id]: 6 } }, { live: false });
    expect(role("open-rest")).toBeNull();
    expect(role("close-rest")).toBeNull();
  });
});
