// @vitest-environment jsdom

import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { gridOf } from "../src/shell/many/grid.js";
import { cutInside, layoutPrompt, weightsOf } from "../src/shell/many/layout.js";
import { createMany } from "../src/shell/many/many.js";
import { createManyBar } from "../src/shell/many/many-bar.js";
import { drawSheet } from "../src/shell/many/sheet.js";
import { createController } from "../src/state/controller.js";
import { inOrder, ORDERS } from "../src/state/prompts.js";
import { awaitsGraph, showsAll } from "../src/state/selectors.js";
import { textWidth } from "../src/views/shared/text.js";
import { createStandaloneHost } from "../src/wire/standalone.js";
import { announcements } from "../src/words/announce.js";
import { headline, promptWords } from "../src/words/prompts.js";
import { press } from "./helpers/dom.js";
import { graph, traits } from "./helpers/graph.js";

const TOKYO = { id: 7, text: "␣Tokyo", probability: 0.85 };
const ROW = {
  text: "The capital of Japan is",
  first: TOKYO,
  target: { id: 7, text: "␣Tokyo" },
  probability: 0.85,
  rank: 1,
  words: [
    [-1, "␣is"],
    [1, "␣city"],
    [3, "␣Tokyo"],
  ],
  settled: 3,
  probabilities: [0, 0, 0.1, 0.4, 0.85],
  ranks: [20_000, 900, 90, 3, 1],
};
const BAD = { text: "", problem: "The prompt is empty: pass at least one token." };
const row = (text, more) => ({ ...ROW, text, ...more });
const ROWS = [
  ROW,
  row("A dog", {
    probability: 0.2,
    settled: 1,
    right: false,
    target: { id: 9, text: "␣barks" },
    rank: 4,
  }),
  BAD,
  row("The capital of France is", {
    probability: 0.9,
    settled: 3,
    ranks: [5, 4, 3, 2, 1],
    right: true,
  }),
];
const PROMPTS = { lens: "local", rows: ROWS };

describe("the order", () => {
  test("is by probability, or by the layer where the stream settles; what is of no use comes last", () => {
    const orders = Object.fromEntries(ORDERS.map((order) => [order, inOrder(PROMPTS, order)]));
    expect(orders).toEqual({
      given: [0, 1, 2, 3],
      likely: [3, 0, 1, 2],
      unlikely: [1, 0, 3, 2],
      early: [1, 3, 0, 2],
      late: [0, 3, 1, 2],
    });
  });
});

describe("words", () => {
  test("tell a reader who sees nothing what a small river shows", () => {
    expect(promptWords(ROW, 0)).toBe(
      "Prompt 0: The capital of Japan is. Says ␣Tokyo, 85.0%; its last word from layer 3 on",
    );
    expect(promptWords(ROWS[1], 1)).toMatch(
      /Says ␣Tokyo, 85\.0%, which is wrong; ␣barks 20\.0%, rank 4; its last word from layer 1 on$/,
    );
    expect(promptWords(BAD, 2)).toBe(
      "Prompt 2: . It cannot be used: The prompt is empty: pass at least one token.",
    );
    expect(promptWords(ROW, 0, false)).toMatch(/\. Not included in this page$/);
    expect(headline(PROMPTS)).toBe("4 prompts, 1 of 2 answered right");
    expect(headline({ rows: [ROW] })).toBe("1 prompt");
  });

  test("say what was opened, and that all are on show again", () => {
    const state = { ...createController(createStandaloneHost({ traits: traits() })).getState() };
    const all = { ...state, prompts: PROMPTS, graph: graph({ opened: 3 }) };
    const open = { ...all, opened: 3 };
    expect(announcements(all, open)).toEqual([
      { topic: "opened", text: "Prompt 3 is open: The capital of France is" },
    ]);
    expect(announcements(open, all)[0].text).toBe("4 prompts on show.");
    expect(announcements(all, { ...open, opened: 1 })).toEqual([]);
  });
});

describe("a small river", () => {
  test("has a cell for each shade, the hill over it, and where it settles", () => {
    const river = layoutPrompt(ROW, 0, 250);
    expect(river.cells.map(({ shade }) => shade)).toEqual([0, 2, 3, 4, 5]);
    const long = river.cells.at(-1).x + river.cells.at(-1).width;
    expect(river.cells.reduce((sum, { width }) => sum + width, 0)).toBeCloseTo(long, 5);
    expect(river.settled).toBeCloseTo((long / 5) * 4, 0);
    expect(river.breaks).toHaveLength(2);
    // The hill is as high as the probability.
    const heights = [...river.hill.matchAll(/V([\d.]+)/g)].map(([, y]) => Number(y));
    expect(heights.slice(0, 5)).toEqual([36, 36, 33.9, 27.6, 18.2]);
    const said = river.texts.filter(({ kind }) => /said|sure/.test(kind));
    expect(said.map(({ text }) => text)).toEqual(["␣Tokyo", "85.0%"]);
    for (const { x, text, size } of said) expect(x + textWidth(text, size)).toBeLessThan(251);
  });

  test("tells what is followed beside what is said, and whether that is right", () => {
    const texts = layoutPrompt(ROWS[1], 1, 250).texts;
    expect(texts.find(({ kind }) => kind === "followed").text).toBe("␣barks 20.0%");
    expect(texts.find(({ kind }) => kind === "sure wrong").text).toBe("✗ 85.0%");
  });

  test("of a prompt of no use says why, in lines that fit", () => {
    const { texts, cells } = layoutPrompt(BAD, 2, 180);
    const lines = texts.filter(({ kind }) => kind === "problem");
    expect(cells).toEqual([]);
    expect(lines.map(({ text }) => text).join(" ")).toBe(BAD.problem);
    for (const { text } of lines) expect(textWidth(text, 11, "sans")).toBeLessThanOrEqual(180);
  });

  test("cuts a prompt where other prompts are the same, between words", () => {
    const all = ["Portugal", "Japan", "Peru"].map(
      (name) => `The capital of ${name} is the city of`,
    );
    const weight = weightsOf(all);
    for (const [width, text] of all.flatMap((one) => [215, 230, 245].map((w) => [w, one]))) {
      const line = cutInside(text, width, 12, weight);
      expect(textWidth(line, 12, "sans")).toBeLessThanOrEqual(width);
      expect(line).toContain(text.split(" ")[3]);
      for (const word of line.replace(" … ", " ").split(" "))
        expect(text.split(" ")).toContain(word);
      expect(line.startsWith("The ")).toBe(true);
      expect(line.endsWith(" of")).toBe(true);
    }
    expect(cutInside("short one", 300, 12)).toBe("short one");
    const letters = cutInside("a".repeat(200), 100, 12);
    expect(letters).toMatch(/^a+…$/);
    const long = Array.from({ length: 5000 }, (_, n) => `word${n}`).join(" ");
    expect(cutInside(long, 150, 12)).toMatch(/^word0 .*… .*word4999$/);
  });

  test("stands in a grid as wide as there is room: forty on a screen", () => {
    for (const width of [320, 700, 980, 1310, 1416]) {
      const { columns, inner } = gridOf(width);
      expect(columns * (inner + 18) + (columns - 1) * 5).toBeLessThanOrEqual(width);
    }
    expect(gridOf(1310).columns).toBe(5);
    expect(gridOf(200).columns).toBe(1);
    const svg = drawSheet({ lens: "local", rows: Array(40).fill(ROW) }, "given", 1440);
    expect(svg.querySelectorAll("rect.vw-many-frame")).toHaveLength(40);
    expect(Number(svg.getAttribute("height"))).toBeLessThan(720);
  });
});

describe("many prompts", () => {
  let many;
  let bar;
  let controller;
  let sent;
  let root;

  beforeEach(() => {
    document.body.replaceChildren();
  });
  afterEach(() => {
    many.destroy();
    bar.destroy();
  });

  const opened = (number, revision) => ({
    traits: {
      graph: graph({ opened: number, revision, prompt: ROWS[number].text }),
      prompt: ROWS[number].text,
    },
  });

  function open({ live = true, data = {}, prompts = PROMPTS } = {}) {
    sent = [];
    const first = traits({ graph: graph({ opened: 0 }), prompts, opened: null, expanded: [1] });
    const host = createStandaloneHost(
      { traits: first, ...data },
      { live, onSet: (name, value) => sent.push([name, value]) },
    );
    controller = createController(host);
    many = createMany(controller);
    bar = createManyBar(controller, many.sorted);
    root = document.createElement("div");
    root.className = "visit-widget";
    root.append(bar.el, many.el);
    document.body.append(root);
    const update = (state) => {
      many.update(state, showsAll(state));
      bar.update(state, !showsAll(state));
    };
    controller.subscribe(update);
    update(controller.getState());
    return host;
  }

  const tiles = () => [...many.el.querySelectorAll("[data-prompt]")];
  const order = () => tiles().map((tile) => Number(tile.dataset.prompt));

  test("a click opens one, unless it is of no use", () => {
    open();
    tiles()[2].click();
    expect(sent).toEqual([]);
    expect(tiles()[2].getAttribute("aria-disabled")).toBe("true");
    expect(tiles()[2].title).toContain(BAD.problem);
    tiles()[3].click();
    expect(sent).toEqual([["opened", 3]]);
    expect(awaitsGraph(controller.getState())).toBe(true);
  });

  test("arrows go through the grid, with one tab stop", () => {
    open({ prompts: { lens: "local", rows: Array(11).fill(ROW) } });
    // In jsdom the grid is as wide as is assumed: four in a row.
    tiles()[0].focus();
    const focused = () => Number(document.activeElement.dataset.prompt);
    const went = [
      "ArrowRight",
      "ArrowDown",
      "ArrowDown",
      "ArrowDown",
      "ArrowUp",
      "ArrowLeft",
      "End",
      "Home",
    ].map((key) => {
      press(document.activeElement, key);
      return focused();
    });
    expect(went).toEqual([1, 5, 9, 9, 5, 4, 10, 0]);
    press(tiles()[0], "End");
    press(document.activeElement, "ArrowUp");
    press(document.activeElement, "ArrowRight");
    press(document.activeElement, "ArrowDown");
    expect(focused()).toBe(10);
    expect(tiles().filter((tile) => tile.tabIndex === 0)).toHaveLength(1);
  });

  test("are sorted for everyone who looks, and the focus goes along", () => {
    open();
    tiles()[1].focus();
    const select = many.el.querySelector('[data-role="order"]');
    select.selectedIndex = ORDERS.indexOf("likely");
    select.dispatchEvent(new Event("change"));
    expect(sent).toEqual([["order", "likely"]]);
    expect(order()).toEqual([3, 0, 1, 2]);
    expect(controller.getState().past).toEqual([]);
  });

  test("back from one, it has the focus and nothing of the view was lost", () => {
    const host = open();
    controller.dispatch({ type: "open", prompt: 3 });
    host.set("graph", graph({ opened: 3, revision: 2 }));
    bar.el.querySelector('[data-role="all-prompts"]').focus();
    bar.el.querySelector('[data-role="all-prompts"]').click();
    expect(document.activeElement).toBe(tiles()[3]);
    expect(tiles()[3].getAttribute("aria-current")).toBe("true");
    expect(controller.getState().expanded).toEqual([1]);
    expect(sent.filter(([name]) => name === "opened")).toEqual([
      ["opened", 3],
      ["opened", null],
    ]);
    // No graph is to come, so nothing is waited for.
    expect(awaitsGraph(controller.getState())).toBe(false);
    controller.dispatch({ type: "undo" });
    expect(controller.getState().opened).toBe(3);
  });

  test("from one to the next as they are sorted, past those of no use", () => {
    const host = open();
    controller.dispatch({ type: "open", prompt: 1 });
    host.set("graph", graph({ opened: 1, revision: 2 }));
    const at = (role) => bar.el.querySelector(`[data-role="${role}"]`);
    expect(at("prompt-place").textContent).toBe("prompt 1");
    at("prompt-after").click();
    expect(controller.getState().opened).toBe(3);
    expect(at("prompt-after").disabled).toBe(true);
    at("prompt-before").click();
    expect(controller.getState().opened).toBe(1);
  });

  test("without a kernel those open that the page holds, each with its own answers", async () => {
    const other = { ...opened(3, 7), expand: { 1: { layer: 1, nodes: [], edges: [] } } };
    const host = open({
      live: false,
      data: { many: { 3: other } },
      prompts: { ...PROMPTS, included: [0, 3] },
    });
    tiles()[1].click();
    expect(controller.getState().opened).toBe(null);
    expect(tiles()[1].querySelector(".vw-offscreen").textContent).toMatch(
      /Not included in this page$/,
    );
    tiles()[3].click();
    const { graph: shown, prompt } = controller.getState();
    expect([shown.opened, shown.revision, prompt]).toEqual([3, 7, ROWS[3].text]);
    expect(await host.request("expand", { layer: 1, revision: 7 })).toMatchObject({
      layer: 1,
      revision: 7,
    });
    controller.dispatch({ type: "open", prompt: 0 });
    expect(controller.getState().graph.opened).toBe(0);
    await expect(host.request("expand", { layer: 1, revision: 1 })).rejects.toThrow(/not included/);
  });
});
