// @vitest-environment jsdom
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createStage } from "../../../src/views/layers/drawing/stage.js";
import { handMade, handMadeBlock, merge, overview, viewOf, withBlock } from "./fixtures.js";

let el;
let stage;
let actions;

beforeEach(() => {
  el = document.createElement("div");
  document.body.append(el);
  actions = [];
  stage = createStage(el, { dispatch: (action) => actions.push(action) });
});

afterEach(() => {
  stage.destroy();
  el.remove();
});

const find = (selector) => el.querySelector(selector);
const layerButton = (layer) => find(`[data-role="layer"][data-layer="${layer}"]`);
const openView = (changes) => viewOf(withBlock(), { expanded: [23], ...changes });
const press = (target, key) =>
  target.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
const click = (target, init = {}) =>
  target.dispatchEvent(new MouseEvent("click", { bubbles: true, ...init }));

describe("hooks", () => {
  it("marks nodes, ribbons and layers", () => {
    stage.update(viewOf(overview()));
    const node = find('[data-node="L23.attn"]');
    expect(node.getAttribute("data-kind")).toBe("attention");
    expect(node.getAttribute("data-layer")).toBe("23");
    expect(node.getAttribute("aria-label")).toContain("␣Japan");
    expect(find('[data-source="L23.attn"][data-target="L23.mid"]')).not.toBeNull();
    expect(layerButton(23).getAttribute("aria-label")).toMatch(/^Layer 23: /);
    expect(layerButton(23).getAttribute("role")).toBe("button");
    expect(layerButton(23).getAttribute("aria-expanded")).toBe("false");
  });

  it("shows a block when its layer is open, and takes it away when it is closed", () => {
    stage.update(openView());
    expect(find('[data-node="L23.H4"]')).not.toBeNull();
    expect(find('[data-source="L23.H4"][data-target="L23.attn"]')).not.toBeNull();
    expect(find('[data-role="close-layer"]').getAttribute("aria-label")).toBe("Close layer 23");
    stage.update(viewOf(overview()));
    expect(find('[data-node="L23.H4"]')).toBeNull();
  });

  it("draws nothing twice when told the same again", () => {
    stage.update(openView());
    const before = el.innerHTML;
    stage.update(openView());
    expect(el.innerHTML).toBe(before);
  });

  it("waits calmly where a layer is being fetched", () => {
    stage.update(viewOf(overview(), { expanded: [23], pending: [23] }));
    expect(find('.vw-panel[aria-busy="true"]')).not.toBeNull();
    expect(find('[data-role="close-layer"]')).not.toBeNull();
  });

  it("leaves nothing behind", () => {
    stage.update(openView());
    stage.destroy();
    expect(el.childElementCount).toBe(0);
  });
});

describe("actions", () => {
  it("opens, closes and selects by click", () => {
    stage.update(openView());
    click(layerButton(5));
    click(find('[data-role="close-layer"]'));
    click(find('[data-node="L23.H4"]'));
    click(find('[data-node="L23.H5"]'), { shiftKey: true });
    click(find('[data-token="442"]'));
    expect(actions.filter(({ type }) => type !== "hover")).toEqual([
      { type: "toggle-layer", layer: 5 },
      { type: "close-layer", layer: 23 },
      { type: "select", nodes: ["L23.H4"], additive: false },
      { type: "select", nodes: ["L23.H5"], additive: true },
      { type: "set-target", id: 442 },
    ]);
  });

  it("tells what the pointer is over, once", () => {
    stage.update(openView());
    const node = find('[data-node="L23.H4"]');
    const move = () => {
      const event = new MouseEvent("pointermove", { bubbles: true, clientX: 7, clientY: 9 });
      node.dispatchEvent(event);
    };
    move();
    move();
    expect(actions).toEqual([{ type: "hover", node: "L23.H4", x: 7, y: 9 }]);
    expect(find('[data-source="L23.H4"]').classList.contains("lit")).toBe(true);
    expect(find('[data-source="L23.H5"]').classList.contains("lit")).toBe(false);
  });
});

describe("a rest node", () => {
  it("is opened by a double click, wherever the second one falls", () => {
    stage.update(openView());
    click(find('[data-node="L23.mlp.rest"]'), { detail: 1 });
    expect(actions).toEqual([{ type: "select", nodes: ["L23.mlp.rest"], additive: false }]);
    click(find('[data-node="L23.H4"]'), { detail: 2 });
    expect(actions.slice(1)).toEqual([{ type: "open-rest", node: "L23.mlp.rest" }]);
  });

  it("alone does so: other nodes are chosen twice", () => {
    stage.update(openView());
    click(find('[data-node="L23.mlp.rest"]'), { detail: 1 });
    click(find('[data-node="L23.H4"]'), { detail: 1 });
    click(find('[data-node="L23.H4"]'), { detail: 2 });
    expect(actions.map(({ type }) => type)).toEqual(["select", "select", "select"]);
  });
});

describe("layers of other kinds", () => {
  const hybrid = handMade("attn+mlp", "mix+mlp", "mlp");
  const move = (target, clientY) =>
    target.dispatchEvent(new MouseEvent("pointermove", { bubbles: true, clientX: 7, clientY }));

  it("are pointed at by what they have", () => {
    stage.update(viewOf(hybrid));
    move(layerButton(1), 1);
    move(layerButton(2), 1);
    move(layerButton(2), 1e4);
    const seen = actions.filter(({ type }) => type === "hover").map(({ node }) => node);
    expect(seen).toEqual(["L1.mix", null, "L2.mlp"]);
  });

  it("are walked with arrows, and what they have is selected", () => {
    stage.update(viewOf(hybrid));
    layerButton(1).focus();
    press(document.activeElement, "ArrowUp");
    expect(document.activeElement.getAttribute("data-node")).toBe("L1.mix");
    press(document.activeElement, "Enter");
    expect(actions.at(-1)).toEqual({ type: "select", nodes: ["L1.mix"], additive: false });
  });

  it("are drawn again when they close", () => {
    stage.update(viewOf(merge(hybrid, handMadeBlock(hybrid, 1)), { expanded: [1] }));
    expect(find('[data-node="L1.mix"]').getAttribute("data-kind")).toBe("opaque");
    stage.update(viewOf(hybrid));
    expect(find('[data-source="L1.mix"][data-target="L1.mid"]')).not.toBeNull();
    expect(find(".vw-legend").getAttribute("aria-label")).toContain(
      "opaque: a layer that does not",
    );
  });
});

describe("selection and hover from outside", () => {
  it("outlines what is selected and lights what is hovered", () => {
    stage.update(openView({ selection: ["L23.H4"], hovered: "L23.N1508" }));
    const head = find('[data-node="L23.H4"]');
    expect(head.classList.contains("selected")).toBe(true);
    expect(head.getAttribute("aria-pressed")).toBe("true");
    expect(find('[data-source="L23.N1508"]').classList.contains("lit")).toBe(true);
  });
});

describe("keyboard", () => {
  const active = () => document.activeElement.getAttribute("data-nav");

  it("has one tab stop and walks from there", () => {
    stage.update(openView());
    const stops = el.querySelectorAll('[tabindex="0"]');
    expect(stops).toHaveLength(1);
    stops[0].focus();
    press(document.activeElement, "ArrowRight");
    expect(active()).toBe("layer:1");
    press(document.activeElement, "ArrowUp");
    expect(active()).toBe("node:L1.attn");
    press(document.activeElement, "ArrowDown");
    expect(active()).toBe("layer:1");
    press(document.activeElement, "End");
    expect(active()).toBe("layer:29");
    expect(el.querySelectorAll('[tabindex="0"]')).toHaveLength(1);
  });

  it("opens with Enter and closes with Escape, keeping the focus", () => {
    stage.update(openView());
    const node = find('[data-node="L23.H4"]');
    node.focus();
    press(node, "Enter");
    press(node, "Escape");
    expect(active()).toBe("layer:23");
    press(document.activeElement, "Enter");
    expect(actions.map(({ type }) => type)).toEqual(["select", "close-layer", "toggle-layer"]);
  });
});

describe("motion", () => {
  it("keeps what comes back while its old self still fades", async () => {
    const moving = { reducedMotion: false };
    stage.update(openView(moving));
    stage.update(viewOf(overview(), moving));
    expect(find('[data-node="L23.H4"]')).toBeNull();
    stage.update(openView(moving));
    await new Promise((resolve) => setTimeout(resolve, 250));
    expect(el.querySelectorAll('[data-node="L23.H4"]')).toHaveLength(1);
    expect(el.querySelectorAll('[data-node="L23.attn"]')).toHaveLength(1);
    expect(el.querySelectorAll(".vw-leave")).toHaveLength(0);
  });

  it("glides to the same picture as it would draw at once", async () => {
    stage.update(viewOf(overview(), { reducedMotion: false }));
    stage.update(openView({ reducedMotion: false }));
    await new Promise((resolve) => setTimeout(resolve, 600));
    const other = document.createElement("div");
    const still = createStage(other, { dispatch: () => {} });
    still.update(openView());
    const shape = (root) =>
      [...root.querySelectorAll("[data-node], .vw-ribbon[data-source]")]
        .map((element) =>
          ["data-node", "data-source", "data-target", "transform", "d"]
            .map((name) => element.getAttribute(name))
            .join(" "),
        )
        .sort();
    expect(shape(el)).toEqual(shape(other));
    still.destroy();
  });
});
