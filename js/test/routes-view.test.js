// @vitest-environment jsdom
import "./helpers/dom.js";
import { beforeEach, describe, expect, it } from "vitest";
import { mountStandalone } from "../src/index.js";
import { all, press } from "./helpers/dom.js";
import { settled, traits } from "./helpers/graph.js";
import { madeRoutes } from "./helpers/routes.js";

const made = madeRoutes({ tokens: 8, layers: 12, seed: 3 });

/** jsdom lays nothing out: give every element a width and tell whoever watches. */
function layOut(width = 1000) {
  Object.defineProperty(HTMLElement.prototype, "clientWidth", {
    configurable: true,
    get: () => width,
  });
  for (const observer of ResizeObserver.all) observer.callback([]);
}

async function mount(values = {}, { live = true, routes = made.routes, handlers = {} } = {}) {
  const el = document.createElement("div");
  document.body.append(el);
  const { graph } = made;
  const data = {
    traits: traits({ graph, focus: graph.position, view: "routes", ...values }),
    routes: { ...routes, revision: graph.revision },
  };
  const mounted = mountStandalone(el, data, { live, handlers });
  layOut();
  await settled();
  const root = /** @type {HTMLElement} */ (el.firstElementChild);
  const view = root.querySelector("[data-role='routes']");
  const find = (selector) => view.querySelector(selector);
  return { ...mounted, root, view, find, panel: root.querySelector("aside") };
}

const click = (target, init = {}) =>
  target.dispatchEvent(new MouseEvent("click", { bubbles: true, ...init }));
const point = (target) => target.dispatchEvent(new Event("pointermove", { bubbles: true }));

beforeEach(() => document.body.replaceChildren());

/** The ribbon of most heads, and its hooks. */
function busiestRibbon(find) {
  const values = made.routes.nodes.filter(({ kind }) => kind === "value");
  const heads = (node) =>
    values.filter(
      ({ layer, position, source }) =>
        layer === node.layer && position === node.position && source === node.source,
    );
  const [best] = values
    .filter(({ source, position }) => source !== position)
    .map(heads)
    .sort((a, b) => b.length - a.length);
  const [{ layer, position, source }] = best;
  const below = layer === 0 ? `P${source}.embed` : `P${source}.L${layer - 1}.post`;
  const element = find(`[data-source="${below}"][data-target="P${position}.L${layer}.mid"]`);
  return { element, heads: best, layer, position };
}

describe("the view switch", () => {
  it("shows one view at a time and says which", async () => {
    const { root, view, host } = await mount();
    const group = root.querySelector("[role='group'][aria-label='View']");
    const [layers, routes] = all(group, "button");
    expect([layers.textContent, routes.textContent]).toEqual(["Layers", "Routes"]);
    expect(routes.getAttribute("aria-pressed")).toBe("true");
    expect(view.hidden).toBe(false);
    expect(root.querySelector("[data-role='stage']").hidden).toBe(true);
    click(layers);
    expect(host.get("view")).toBe("block");
    expect(view.hidden).toBe(true);
    expect(root.querySelector("[data-role='stage']").hidden).toBe(false);
  });
});

describe("the routes on screen", () => {
  it("carry hooks and sentences", async () => {
    const { find } = await mount();
    const node = find("[data-node='P7.L11.post']");
    expect(node.getAttribute("data-kind")).toBe("residual");
    expect(node.getAttribute("data-layer")).toBe("11");
    expect(node.getAttribute("data-position")).toBe("7");
    expect(node.getAttribute("aria-label")).toMatch(/logits pass here$/);
    expect(find("[data-node='P0.embed']").getAttribute("data-kind")).toBe("embed");
    expect(find("[data-node='logits']").getAttribute("aria-label")).toContain("␣Tokyo");
    const { element, layer } = busiestRibbon(find);
    expect(element.getAttribute("data-layer")).toBe(String(layer));
    expect(find("svg").getAttribute("aria-label")).toContain("Kept paths account for");
  });

  it("have one tab stop", async () => {
    const { view } = await mount();
    expect(all(view, "[tabindex='0']")).toHaveLength(1);
    expect(all(view, "[data-nav]:not([tabindex])")).toHaveLength(0);
  });

  it("light the paths that a part is on", async () => {
    const { find, view } = await mount();
    const { element } = busiestRibbon(find);
    point(element);
    expect(find("svg").classList.contains("has-lit")).toBe(true);
    expect(element.classList.contains("lit")).toBe(true);
    expect(all(view, ".vw-route:not(.lit)").length).toBeGreaterThan(0);
    find("svg").dispatchEvent(new Event("pointerleave"));
    expect(find("svg").classList.contains("has-lit")).toBe(false);
  });

  it("say what is under the pointer", async () => {
    const { find, root } = await mount();
    const tips = () => all(root, ".vw-tooltip").filter(({ hidden }) => !hidden);
    const { element, heads } = busiestRibbon(find);
    point(element);
    expect(tips()[0].textContent).toContain("→");
    expect(tips()[0].textContent).toContain(`H${heads[0].head}`);
    point(find("[data-node='P7.L11.post']"));
    expect(tips()[0].textContent).toContain("after layer 11");
  });
});

describe("following a route", () => {
  it("makes a node the focus of the layer view, its layer open", async () => {
    const { find, host } = await mount();
    click(find("[data-node='P0.L4.post']"));
    expect(host.get("focus")).toBe(0);
    expect(host.get("expanded")).toEqual([4]);
    expect(host.get("view")).toBe("block");
  });

  it("opens layer 0 from a token", async () => {
    const { find, host } = await mount();
    click(find("[data-node='P0.embed']"));
    expect([host.get("focus"), host.get("expanded")]).toEqual([0, [0]]);
  });

  it("opens only the focus where no kernel can follow", async () => {
    const { find, host } = await mount({}, { live: false });
    click(find("[data-node='P0.L4.post']"));
    expect(host.get("view")).toBe("routes");
    expect(host.get("selection")).toEqual(["P0.L4.post"]);
    click(find("[data-node='P7.L11.post']"));
    expect(host.get("view")).toBe("block");
  });

  it("lists the heads of a ribbon, each a way to its head", async () => {
    const { find, host, panel } = await mount();
    const { element, heads, layer, position } = busiestRibbon(find);
    click(element);
    expect(new Set(host.get("selection"))).toEqual(new Set(heads.map(({ id }) => id)));
    expect(element.classList.contains("selected")).toBe(true);
    const rows = all(panel, ".vw-carrier");
    expect(rows).toHaveLength(heads.length);
    const strongest = [...heads].sort((a, b) => Math.abs(b.influence) - Math.abs(a.influence))[0];
    expect(rows[0].getAttribute("data-node")).toBe(strongest.id);
    click(rows[0]);
    expect(host.get("view")).toBe("block");
    expect(host.get("focus")).toBe(position);
    expect(host.get("selection")).toEqual([`L${layer}.H${strongest.head}`]);
  });

  it("clears the choice on Escape", async () => {
    const { find, host } = await mount();
    const { element } = busiestRibbon(find);
    click(element);
    press(element, "Escape");
    expect(host.get("selection")).toEqual([]);
  });
});

describe("the keyboard", () => {
  const active = () => document.activeElement;

  it("goes up and down a river, and over a ribbon to its ends", async () => {
    const { find } = await mount();
    find("[data-node='logits']").focus();
    press(active(), "ArrowDown");
    expect(active().getAttribute("data-node")).toMatch(/^P7\.L11/);
    const { element } = busiestRibbon(find);
    const [source, target] = ["data-source", "data-target"].map((name) =>
      element.getAttribute(name),
    );
    element.focus();
    press(active(), "ArrowLeft");
    expect(active().getAttribute("data-node")).toBe(source);
    element.focus();
    press(active(), "ArrowRight");
    expect(active().getAttribute("data-node")).toBe(target);
    press(active(), "ArrowLeft");
    expect(active().getAttribute("data-target")).toBe(target);
    press(active(), "Home");
    expect(active().getAttribute("data-kind")).toBe("embed");
  });

  it("opens with Enter", async () => {
    const { find, host } = await mount();
    const { element } = busiestRibbon(find);
    press(element, "Enter");
    expect(host.get("selection").length).toBeGreaterThan(0);
  });
});

describe("without routes", () => {
  const note = (view) => view.querySelector(".vw-placeholder");

  it("says that it waits", async () => {
    const { view } = await mount({}, { handlers: { routes: () => new Promise(() => {}) } });
    expect(note(view).hidden).toBe(false);
    expect(note(view).textContent).toContain("Following the prediction");
  });

  it("says what went wrong", async () => {
    const handlers = {
      routes() {
        throw new Error("This model has no routes.");
      },
    };
    const { view, root } = await mount({}, { handlers });
    // Above, with the way to try again.
    const said = root.querySelector('[data-problem="routes"]');
    expect(said.textContent).toContain("This model has no routes.");
    expect(note(view).textContent).toBe("There are no routes to show.");
  });

  it("says when nothing is strong enough, and what to do", async () => {
    const nodes = made.routes.nodes.filter(({ kind }) => kind === "logits");
    const routes = { ...made.routes, nodes, edges: [] };
    const keep = { routes: { count: null, threshold: 0.02, mass: null } };
    const { view } = await mount({ keep }, { routes });
    expect(note(view).textContent).toBe(
      "Nothing carries more than 2%. Lower the threshold in What is kept.",
    );
  });
});

describe("a chosen node", () => {
  it("is named by its place and leads to its computation", async () => {
    const { host, panel } = await mount({ selection: ["P0.L4.post"] });
    expect(panel.querySelector("h2").textContent).toBe("The · after layer 4");
    expect(panel.textContent).toMatch(/of the prediction/);
    click(panel.querySelector("[data-role='open-layer']"));
    expect([host.get("view"), host.get("focus"), host.get("expanded")]).toEqual(["block", 0, [4]]);
  });
});
