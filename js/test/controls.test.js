// @vitest-environment jsdom
import "./helpers/dom.js";
import { beforeEach, describe, expect, test } from "vitest";
import { mountStandalone } from "../src/index.js";
import { createController } from "../src/state/controller.js";
import { createStandaloneHost } from "../src/wire/standalone.js";
import { all, press, texts } from "./helpers/dom.js";
import { block, detail, graph, settled, traits } from "./helpers/graph.js";

function setUp(values = {}, { project, ...more } = {}) {
  const asked = [];
  const set = [];
  const answer = ({ nodes, revision, lenient }) => ({
    revision,
    nodes: Object.fromEntries(nodes.map((id) => [id, detail(id)])),
    ...(lenient ? { missing: {} } : {}),
  });
  const host = createStandaloneHost(
    { traits: traits(values) },
    {
      live: true,
      handlers: {
        expand: ({ layer, revision }) => block(layer, revision),
        project(params) {
          asked.push(params);
          return (project ?? answer)(params);
        },
        ...more,
      },
      onSet: (name, value) => set.push([name, value]),
    },
  );
  const controller = createController(host);
  controller.subscribe(() => {});
  return { host, controller, asked, set, state: () => controller.getState() };
}

describe("pins", () => {
  test("are a trait, asked for leniently, undone and redone", async () => {
    const { controller, asked, set, state } = setUp();
    controller.dispatch({ type: "pin", node: "L1.attn" });
    expect(set).toEqual([["pins", ["L1.attn"]]]);
    expect(asked).toEqual([{ nodes: ["L1.attn"], revision: 1, lenient: true }]);
    await settled();
    expect(state().details["L1.attn"]).toBeDefined();
    controller.dispatch({ type: "undo" });
    expect(state().pins).toEqual([]);
    controller.dispatch({ type: "redo" });
    expect(state().pins).toEqual(["L1.attn"]);
    controller.dispatch({ type: "unpin", node: "L1.attn" });
    expect(state().pins).toEqual([]);
  });

  test("are four at most, each once", () => {
    const { controller, state } = setUp();
    for (const node of ["a", "b", "b", "c", "d", "e"]) controller.dispatch({ type: "pin", node });
    expect(state().pins).toEqual(["a", "b", "c", "d"]);
  });

  test("a selected node is asked for as before", () => {
    const { controller, asked } = setUp();
    controller.dispatch({ type: "select", nodes: ["L1.attn"] });
    expect(asked).toEqual([{ nodes: ["L1.attn"], revision: 1 }]);
  });

  test("outlast a new graph, and are asked for anew; the answer to the old question is void", async () => {
    /** @type {((value: any) => void)[]} */
    const answers = [];
    const project = () => new Promise((resolve) => answers.push(resolve));
    const { host, asked, state } = setUp({ pins: ["L1.attn"] }, { project });
    expect(asked.map(({ revision }) => revision)).toEqual([1]);
    host.set("graph", graph({ revision: 2, position: 1 }));
    expect(state().pins).toEqual(["L1.attn"]);
    expect(asked.map(({ revision }) => revision)).toEqual([1, 2]);
    answers[0]({
      revision: 1,
      nodes: { "L1.attn": detail("L1.attn", { label: "old" }) },
      missing: {},
    });
    await settled();
    expect(state().details).toEqual({});
    answers[1]({
      revision: 2,
      nodes: { "L1.attn": detail("L1.attn", { label: "new" }) },
      missing: {},
    });
    await settled();
    expect(state().details["L1.attn"].label).toBe("new");
  });

  test("what a graph does not have of them is known, and not asked for again", async () => {
    const missing = { "L1.H7": "Node 'L1.H7' is not drawn." };
    const project = ({ revision }) => ({ revision, nodes: {}, missing });
    const { host, controller, asked, state } = setUp({ pins: ["L1.H7"] }, { project });
    await settled();
    expect(state().detailsMissing).toEqual(missing);
    controller.dispatch({ type: "toggle-layer", layer: 1 });
    await settled();
    expect(asked).toHaveLength(1);
    host.set("graph", graph({ revision: 2 }));
    expect(asked).toHaveLength(2);
    expect(state().detailsMissing).toEqual({});
  });
});

describe("going to what was found", () => {
  test("opens its layer, shows its head and selects it, in one step", async () => {
    const filters = { layers: null, heads: { 1: [1] } };
    const { controller, state } = setUp({ filters });
    controller.dispatch({ type: "reveal", node: "L1.H0", layer: 1 });
    expect(state()).toMatchObject({
      expanded: [1],
      selection: ["L1.H0"],
      filters: { layers: null, heads: { 1: [0, 1] } },
    });
    controller.dispatch({ type: "undo" });
    expect(state()).toMatchObject({ expanded: [], selection: [], filters });
  });
});

describe("traits that arrive with a graph", () => {
  test("belong to it, in whatever order they are told", () => {
    const { host, state } = setUp({ expanded: [], selection: [] });
    const told = traits({
      graph: graph({ revision: 2 }),
      expanded: [1],
      selection: ["L1.H0"],
      pins: ["L1.mlp"],
    });
    // As a browser does: all are set, then each is told of; here the graph first.
    const { set } = host;
    const values = { ...told };
    const get = host.get;
    host.get = (name) => values[name] ?? get(name);
    set("graph", values.graph);
    expect(state()).toMatchObject({ expanded: [1], selection: ["L1.H0"], pins: ["L1.mlp"] });
  });

  test("how the shell is set up is a trait and no step", () => {
    const { controller, set, state } = setUp();
    controller.dispatch({ type: "set-display", display: { under: ["predictions"] } });
    expect(set).toEqual([
      ["display", { under: ["predictions"], least: false, unfolded: false, search: null }],
    ]);
    expect(state().past).toEqual([]);
    controller.dispatch({ type: "set-display", display: { under: ["predictions"] } });
    expect(set).toHaveLength(1);
  });
});

describe("on the page", () => {
  function mount(values = {}, data = {}) {
    Object.defineProperty(HTMLElement.prototype, "clientWidth", {
      configurable: true,
      get: () => 1000,
    });
    const el = document.createElement("div");
    document.body.append(el);
    const mounted = mountStandalone(el, {
      traits: traits(values),
      expand: { 1: block(1) },
      project: {
        "L1.H0": detail("L1.H0"),
        "L1.attn": detail("L1.attn", { kind: "attention", head: null, attention: null }),
      },
      ...data,
    });
    for (const observer of /** @type {any} */ (ResizeObserver).all) observer.callback([]);
    const root = /** @type {HTMLElement} */ (el.firstElementChild);
    const find = (selector) => /** @type {any} */ (root.querySelector(selector));
    return { ...mounted, root, find };
  }

  beforeEach(() => document.body.replaceChildren());

  test("a pinned node stands in a table, its tokens beside those it shares", async () => {
    const { root, find } = mount({ selection: ["L1.H0"] });
    await settled();
    find('[data-role="pin"]').click();
    expect(find('[data-role="pin"]').getAttribute("aria-pressed")).toBe("true");
    await settled();
    const pins = find('[data-role="pins"]');
    expect(pins.hidden).toBe(false);
    expect(texts(pins, "thead b")).toEqual(["Layer 1 · head 0"]);
    expect(pins.textContent).toContain("adds +2.68 to ␣Tokyo");
    expect(pins.textContent).toContain("␣capital 60.0%");
    expect(all(pins, "tr.common")).toHaveLength(0);
    root.querySelector('[data-role="pins"]');
    find('[aria-label="Unpin L1.H0"]').click();
    expect(pins.hidden).toBe(true);
  });

  test("pins that a saved page has not are said, and the others are there", async () => {
    const { find } = mount({ pins: ["L1.H0", "L1.attn", "L0.H5"] });
    await settled();
    const pins = find('[data-role="pins"]');
    expect(texts(pins, "thead b")).toEqual(["Layer 1 · head 0", "Layer 1 · attention", "L0.H5"]);
    expect(texts(pins, ".vw-pin-missing")[0]).toMatch(/^This part was not included in this page/);
    // Both say the same two tokens.
    expect(all(pins, "tr.common")).toHaveLength(2);
  });

  test("the help opens by its key and closes by it, and not while one types", () => {
    const { root, find } = mount();
    press(root, "?", { shiftKey: true });
    expect(find('[data-role="help"]')).not.toBeNull();
    press(find('[data-role="help"]'), "?", { shiftKey: true });
    expect(find('[data-role="help"]')).toBeNull();
    press(root, "/");
    press(find(".vw-search-input"), "?", { shiftKey: true });
    expect(find('[data-role="help"]')).toBeNull();
  });

  test("the search counts, walks both ways, and goes as it came", async () => {
    const { root, find } = mount();
    press(root, "/");
    const input = find(".vw-search-input");
    const count = () => find('[data-role="search-count"]').textContent;
    expect(document.activeElement).toBe(input);
    input.value = "japan";
    input.dispatchEvent(new Event("input", { bubbles: true }));
    const total = Number(/\d+/.exec(count())?.[0]);
    expect(count()).toBe(`${total} found`);
    press(input, "Enter");
    expect(count()).toBe(`1 of ${total}`);
    press(input, "Enter", { shiftKey: true });
    expect(count()).toBe(`${total} of ${total}`);
    press(input, "Escape");
    expect(find('[data-role="search"]').hidden).toBe(true);
    expect(root.querySelector(".found")).toBeNull();
  });

  test("what is looked for, and what was gone to, is kept with the page", async () => {
    const { find, host } = mount();
    await settled();
    find('[data-role="open-search"]').click();
    const input = find(".vw-search-input");
    input.value = "L1";
    input.dispatchEvent(new window.Event("input", { bubbles: true }));
    press(input, "Enter");
    await settled();
    const { search } = host.get("display");
    expect(search.query).toBe("L1");
    const again = mount({ display: host.get("display"), expanded: host.get("expanded") });
    await settled();
    expect(again.find('[data-role="search"]').hidden).toBe(false);
    expect(again.find(".vw-search-input").value).toBe("L1");
    const count = '[data-role="search-count"]';
    expect(again.find(count).textContent).toBe(find(count).textContent);
    expect(find(count).textContent).toMatch(/^1 of /);
    expect(search.hit).toMatch(/^L1/);
    press(input, "Escape");
    expect(host.get("display").search).toBeNull();
  });

  test("a search that the kernel sets is on screen", async () => {
    const { find, host } = mount();
    await settled();
    host.set("display", { ...host.get("display"), search: { query: "L1", hit: null } });
    expect(find('[data-role="search"]').hidden).toBe(false);
    expect(find('[data-role="search-count"]').textContent).toMatch(/found$/);
    host.set("display", { ...host.get("display"), search: null });
    expect(find('[data-role="search"]').hidden).toBe(true);
    expect(find(".vw-stage").querySelector(".found")).toBeNull();
  });

  test("what the panel and the prompt show is kept with the page", async () => {
    const { find, host } = mount({
      selection: ["L1.H0"],
      display: { under: [], least: true, unfolded: false },
    });
    await settled();
    expect(find("details.vw-least").open).toBe(true);
    expect(find(".vw-prompt").classList.contains("with-under")).toBe(false);
    find("details.vw-least").open = false;
    await settled();
    expect(host.get("display").least).toBe(false);
  });
});
