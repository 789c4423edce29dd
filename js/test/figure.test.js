// @vitest-environment jsdom
import "./helpers/dom.js";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { mountStandalone } from "../src/index.js";
import { drawFigure } from "../src/shell/figure/figure.js";
import { stateOf } from "../src/shell/figure/headless.js";
import { layoutPrompt } from "../src/shell/figure/prompt-layout.js";
import { promptShapes } from "../src/shell/figure/prompt-shapes.js";
import { paint, readDrawing } from "../src/shell/figure/read.js";
import { idAt, shape, svgText, usedDefinitions } from "../src/shell/figure/tree.js";
import { textWidth } from "../src/views/shared/text.js";
import { all, press } from "./helpers/dom.js";
import { block, graph, settled, traits } from "./helpers/graph.js";

const xml = (text) => {
  const read = new DOMParser().parseFromString(text, "image/svg+xml");
  expect(read.querySelector("parsererror")).toBeNull();
  return read.documentElement;
};

const svg = (...children) => shape("svg", { xmlns: "http://www.w3.org/2000/svg" }, {}, children);
const words = (said, style = {}) =>
  shape("text", { y: 9 }, { "font-size": "11", ...style }, [said]);

describe("the text of a picture", () => {
  test("says once what many share, and of the others what differs", () => {
    const style = { fill: "#123456", stroke: "none" };
    const rects = [1, 2, 3].map((x) => shape("rect", { x, width: 2, height: 2 }, style));
    const other = shape("rect", { x: 4, width: 2, height: 2 }, { ...style, fill: "#ffffff" });
    const root = xml(
      svgText(svg(shape("g", { transform: "translate(1,2)" }, {}, [...rects, other]))),
    );
    const drawn = all(root, "rect");
    expect(drawn.filter((rect) => rect.hasAttribute("fill"))).toEqual([drawn[3]]);
    expect(root.outerHTML.match(/#123456/g)).toHaveLength(1);
    expect(root.outerHTML).not.toContain("stroke=");
  });

  test("gives every shape the style that it was to have, however they are nested", () => {
    const INITIAL = { fill: "#000000", stroke: "none", "font-size": "none" };
    const names = Object.keys(INITIAL);
    const some = (at) => ({ fill: `#00000${at % 3}`, stroke: at % 2 ? "none" : "#111111" });
    const leaves = [...Array(24).keys()].map((at) =>
      at % 4 ? shape("rect", { x: at + 1, id: `s${at}` }, some(at)) : words(`s${at}`, some(at)),
    );
    const groups = [0, 8, 16].map((at) =>
      shape("g", at ? { opacity: 0.5 } : {}, {}, [
        shape("g", {}, {}, leaves.slice(at, at + 3)),
        ...leaves.slice(at + 3, at + 8),
      ]),
    );
    const root = xml(svgText(svg(...groups)));
    for (const [at, leaf] of leaves.entries()) {
      const drawn = all(root, "rect, text").find(
        (one) => one.id === `s${at}` || one.textContent === `s${at}`,
      );
      for (const name of names.filter((one) => leaf.style[one])) {
        const given = drawn.closest(`[${name}]`)?.getAttribute(name) ?? INITIAL[name];
        expect(`${at} ${name} ${given}`).toBe(`${at} ${name} ${leaf.style[name]}`);
      }
    }
    expect(all(root, "g").every((group) => group.attributes.length > 0)).toBe(true);
  });

  test("keeps two digits, and the digits of colours and names", () => {
    const path = shape("path", { d: "M1.23456,-0.0001L1e-7,200.999", id: "a1.23456" }, {});
    const drawn = xml(svgText(svg(path))).querySelector("path");
    expect(drawn.getAttribute("d")).toBe("M1.23,0L1e-7,201");
    expect(drawn.id).toBe("a1.23456");
  });

  test("is well formed whatever the tokens hold", () => {
    const unwritable = "\u0000\u00010\u0001\u001b\ufffe\ud800";
    const odd = `<&>"' \u202e שלום 漢字 😀`;
    const read = xml(svgText(svg(words(odd + unwritable))));
    expect(read.textContent.trim()).toBe(`${odd}��0����`);
  });

  test("has the same ids for the same picture, others for another", () => {
    const picture = (fill) =>
      svgText(
        svg(
          shape("pattern", { id: idAt(0) }, {}, [shape("rect", { width: 1 }, { fill })]),
          shape("rect", { width: 9 }, { fill: `url(#${idAt(0)})` }),
        ),
      );
    const idIn = (text) => xml(text).querySelector("pattern").id;
    expect(picture("#ffffff")).toBe(picture("#ffffff"));
    expect(idIn(picture("#ffffff"))).not.toBe(idIn(picture("#000000")));
    expect(picture("#ffffff")).toContain(`url(#${idIn(picture("#ffffff"))})`);
  });

  test("keeps the definitions that are referred to, also by one another", () => {
    const [used, through, unused] = [0, 1, 2].map(idAt);
    const all = [
      shape("mask", { id: used }, {}, [shape("rect", {}, { fill: `url(#${through})` })]),
      shape("linearGradient", { id: through }),
      shape("pattern", { id: unused }),
    ];
    const content = shape("g", { mask: `url(#${used})` });
    expect(usedDefinitions(all, content)).toEqual(all.slice(0, 2));
  });
});

describe("colours", () => {
  test.each([
    ["rgb(11, 116, 104)", "#0b7468", 1],
    ["rgba(11, 116, 104, 0.5)", "#0b7468", 0.5],
    ["rgba(0, 0, 0, 0)", "none", 1],
    ["color(srgb 1 0.5 0 / 0.25)", "#ff8000", 0.25],
    ["#FFF", "#ffffff", 1],
    [" #2f5bd7", "#2f5bd7", 1],
    ["none", "none", 1],
  ])("%s is %s at %d", (given, colour, opacity) => {
    expect(paint(given)).toEqual({ colour, opacity });
  });
});

describe("reading a drawing", () => {
  const read = (markup, css = "") => {
    document.body.innerHTML = `<style>${css}</style><svg xmlns="http://www.w3.org/2000/svg">${markup}</svg>`;
    const drawing = readDrawing(document.querySelector("svg"), (one) => getComputedStyle(one));
    return { ...drawing, root: xml(svgText(svg(...drawing.definitions, ...drawing.content))) };
  };

  test("takes colours from style sheets, and no class, hook or name along", () => {
    const { root } = read(
      '<g class="a" role="button" tabindex="0"><rect class="b" data-node="x" aria-label="y" x="1" width="3" height="2"></rect></g>',
      ".b { fill: rgb(1, 2, 3); }",
    );
    const rect = root.querySelector("rect");
    expect(rect.closest("[fill]").getAttribute("fill")).toBe("#010203");
    expect(root.outerHTML).not.toMatch(/class=|data-|aria-|role=|tabindex/);
  });

  test("leaves out what is not seen", () => {
    const { content } = read(
      '<rect class="seen" width="3" height="2"/><rect class="clear" width="3" height="2"/>' +
        '<g class="gone"><rect class="seen" width="3" height="2"/></g><text class="seen"> </text>' +
        '<rect class="seen" width="0" height="2"/><title>no</title><g></g>' +
        '<g class="vw-shut"><rect class="seen" width="3" height="2"/></g>',
      ".seen { fill: rgb(1, 2, 3) } .clear { fill: rgba(0, 0, 0, 0) } .gone { opacity: 0 }",
    );
    expect(content).toHaveLength(1);
  });

  test("patterns keep their users", () => {
    const { root } = read(
      '<defs><pattern id="page-hatch" width="5" height="5"><rect class="ink" width="5" height="5"/></pattern></defs>' +
        '<rect style="fill: url(#page-hatch)" width="3" height="2"/>',
      ".ink { fill: rgb(9, 9, 9) }",
    );
    const { id } = root.querySelector("pattern");
    expect(id).not.toBe("page-hatch");
    expect(root.outerHTML).toContain(`url(#${id})`);
  });

  test("a part of a text that looks like the whole is no part; a faint one has faint ink", () => {
    const { root } = read(
      '<text class="t"><tspan class="faint">␣</tspan><tspan>Tokyo</tspan></text>',
      "text, tspan { fill: rgb(1, 2, 3); font-size: 11px } .faint { opacity: 0.42 }",
    );
    const text = root.querySelector("text");
    expect(text.textContent).toBe("␣Tokyo");
    expect(all(text, "tspan")).toHaveLength(1);
    expect(text.querySelector("tspan").getAttribute("fill-opacity")).toBe("0.42");
  });
});

const facts = (more = {}) => ({
  tokens: ["The", "␣capital", "␣of"],
  focus: 2,
  target: "␣Tokyo",
  foil: null,
  under: null,
  bars: false,
  guesses: false,
  remainder: "",
  other: null,
  tape: null,
  ...more,
});

describe("the prompt", () => {
  test("wraps into lines within the width, in order, and nothing touches", () => {
    const tokens = [...Array(80).keys()].map((at) => "␣word".repeat(1 + (at % 4)));
    const { cells, tail, height } = layoutPrompt(facts({ tokens, focus: 40 }), 400);
    expect(new Set(cells.map(({ y }) => y)).size).toBeGreaterThan(10);
    for (const [at, cell] of cells.entries()) {
      expect(cell.x + cell.width).toBeLessThanOrEqual(400);
      expect(textWidth(cell.text, 13)).toBeLessThanOrEqual(cell.width);
      const next = cells[at + 1] ?? tail;
      const follows = next.y === cell.y ? next.x >= cell.x + cell.width : next.y >= cell.y + 28;
      expect(follows).toBe(true);
    }
    expect(cells.filter(({ focus }) => focus)).toEqual([cells[40]]);
    expect(tail.x + tail.width).toBeLessThanOrEqual(400);
    expect(height).toBeGreaterThanOrEqual(tail.y + 28);
  });

  test("a token wider than the paper is cut", () => {
    const { cells } = layoutPrompt(facts({ tokens: ["x".repeat(300)], focus: 0 }), 120);
    expect(cells[0].width).toBeLessThanOrEqual(120);
    expect(cells[0].text).toMatch(/^x+…$/);
  });

  test("has room for what is under the tokens only where something is", () => {
    const under = [
      { bar: { part: 1, negative: false }, guess: { text: "␣capital", right: true } },
      { bar: { part: 0.5, negative: true }, guess: { text: "␣city", right: false } },
      { bar: { part: 0, negative: false }, guess: null },
    ];
    const both = facts({ under, bars: true, guesses: true, remainder: "rest +1.00" });
    const shown = layoutPrompt(both, 600);
    expect(shown.height).toBeGreaterThan(layoutPrompt(facts(), 600).height);
    expect(shown.cells.map(({ bar }) => bar)).toEqual(under.map(({ bar }) => bar));
    expect(shown.cells[1].guess).toEqual({ text: "␣city", right: false });
    const bare = layoutPrompt({ ...both, bars: false, guesses: false }, 600);
    expect(bare.cells.every(({ bar, guess }) => bar === null && guess === null)).toBe(true);
  });

  test("names what the target is held against", () => {
    const { tail } = layoutPrompt(facts({ foil: "␣Kyoto" }), 600);
    expect(tail.foil.text).toBe("␣Kyoto");
    expect(tail.foil.x).toBeGreaterThan(tail.target.x + tail.target.width);
    expect(tail.foil.x + tail.foil.width).toBeLessThanOrEqual(tail.width);
  });

  test("is drawn a text a token, so that none turns its neighbours around", () => {
    const palette = new Proxy({}, { get: (_, name) => String(name) });
    const tokens = ["שלום", "␣עולם", "漢字", "مرحبا", "end"];
    const layout = layoutPrompt(facts({ tokens, focus: 4 }), 600);
    const { content, definitions } = promptShapes(layout, /** @type {any} */ (palette), "stripes");
    const root = xml(svgText(svg(...definitions, ...content)));
    const said = all(root, "text").map((text) => text.textContent);
    expect(said).toEqual([...tokens, "→", "␣Tokyo"]);
    expect(layout.cells[2].width).toBeGreaterThan(2 * 2 * 0.6 * 13);
  });
});

describe("the figure", () => {
  const data = (more = {}) => ({
    traits: traits({ graph: graph(), ...more }),
    expand: { 1: block(1) },
    attribution: {
      revision: 1,
      tokens: [2, -1, 0].map((value, position) => ({ position, value, direct: value })),
      rest: 3,
      opaque: 0,
      bias: 0,
      total: 4,
    },
  });
  const how = (more = {}) => ({
    home: document.body,
    room: { width: 900, dark: false, reducedMotion: true },
    dark: false,
    marks: { attribution: true, predictions: true },
    ...more,
  });

  beforeEach(() => document.body.replaceChildren());

  test("has the prompt, the graph and its title, and leaves the page as it was", () => {
    const root = xml(drawFigure(stateOf(data()), how()));
    const said = all(root, "text").map((text) => text.textContent);
    expect(said.slice(0, 4)).toEqual(["The", "␣capital", "␣of", "→"]);
    expect(said).toContain("rest +3.00");
    expect(root.querySelector("title").textContent).toBe("The capital of → ␣Tokyo (tiny)");
    expect(document.body.childElementCount).toBe(0);
  });

  test("has no marks that the reader has put away, and none of an earlier graph", () => {
    const off = how({ marks: { attribution: false, predictions: true } });
    expect(drawFigure(stateOf(data()), off)).not.toContain("rest +3.00");
    const state = stateOf(data());
    const old = { ...state, attribution: { ...state.attribution, revision: 0 } };
    expect(drawFigure(old, how())).not.toContain("rest +3.00");
  });

  test("of layers that are open", () => {
    const open = stateOf(data({ expanded: [1] }));
    expect(drawFigure(open, how())).toContain("Layer 1");
    expect(drawFigure(stateOf(data()), how())).not.toContain("Layer 1");
  });

  test("that cannot be drawn yet says what to do, and leaves nothing behind", () => {
    const routes = stateOf(data({ view: "routes" }));
    expect(() => drawFigure(routes, how())).toThrow("Try again when it is on screen");
    expect(document.body.childElementCount).toBe(0);
    expect(() => drawFigure(stateOf({ traits: traits({ graph: {} }) }), how())).toThrow("traced");
  });
});

describe("the menu", () => {
  /** @type {Blob[]} */
  let made = [];
  beforeEach(() => {
    document.body.replaceChildren();
    made = [];
    URL.createObjectURL = (blob) => `blob:${made.push(/** @type {Blob} */ (blob))}`;
    URL.revokeObjectURL = () => {};
    vi.spyOn(HTMLAnchorElement.prototype, "click").mockImplementation(() => {});
    Object.defineProperty(HTMLElement.prototype, "clientWidth", {
      configurable: true,
      get: () => 1000,
    });
  });
  afterEach(() => vi.restoreAllMocks());

  function open() {
    const el = document.createElement("div");
    document.body.append(el);
    mountStandalone(el, { traits: traits({ graph: graph() }), expand: {}, project: {} });
    for (const observer of ResizeObserver.all) observer.callback([]);
    const root = el.querySelector(".visit-widget");
    root.querySelector("[aria-label='Export']").click();
    const item = (text) =>
      all(root, "[role^='menuitem']").find((one) => one.textContent.startsWith(text));
    return { root, item };
  }

  test("makes an SVG of what is on screen", async () => {
    const { root, item } = open();
    const before = root.querySelectorAll("svg.vw-stage").length;
    item("SVG").click();
    await settled();
    expect(made).toHaveLength(1);
    expect(made[0].type).toBe("image/svg+xml");
    expect(root.querySelectorAll("svg.vw-stage")).toHaveLength(before);
  });

  test("has the colours to choose, one at a time", () => {
    const { root, item } = open();
    const checked = () => all(root, "[aria-checked='true']").map((choice) => choice.textContent);
    expect(checked()).toEqual(["as on screen"]);
    item("dark").click();
    expect(checked()).toEqual(["dark"]);
    root.querySelector("[aria-label='Export']").click();
    root.querySelector("[aria-label='Export']").click();
    expect(checked()).toEqual(["dark"]);
  });

  test("is walked by the arrow keys, colours included", () => {
    const { root, item } = open();
    item("JSON").focus();
    press(item("JSON"), "ArrowDown");
    expect(root.ownerDocument.activeElement).toBe(item("as on screen"));
    press(item("as on screen"), "ArrowLeft");
    expect(root.ownerDocument.activeElement).toBe(item("JSON"));
  });
});
