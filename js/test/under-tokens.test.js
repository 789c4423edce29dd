// @vitest-environment jsdom
import "./helpers/dom.js";
import { beforeEach, describe, expect, test, vi } from "vitest";
import { mountStandalone } from "../src/index.js";
import {
  attributionWords,
  predictionWords,
  remainder,
  remainderWords,
  tokenBars,
} from "../src/shell/prompt/token-words.js";
import { all, texts } from "./helpers/dom.js";
import { attribution, graph, predictions, settled, traits } from "./helpers/graph.js";

vi.mock("../src/views/layers/drawing/stage.js", () => ({
  createStage: () => ({ update() {}, destroy() {} }),
}));

describe("words", () => {
  const kyoto = { id: 8, text: "␣Kyoto", logit: 6, probability: 0.05, rank: 2 };

  test("say what a token adds, directly and through MLPs", () => {
    const [first, second] = attribution().tokens;
    expect(attributionWords(graph(), first)).toBe(
      "The adds +0.50 to the logit of ␣Tokyo along the kept paths: " +
        "+0.40 directly (through attention and the stream), +0.10 through MLPs.",
    );
    expect(attributionWords(graph({ foil: kyoto }), second)).toMatch(
      /^␣capital takes 1\.50 from the logit of ␣Tokyo over ␣Kyoto along/,
    );
    expect(attributionWords(graph(), { position: 1, value: 0, direct: 0 })).toMatch(/adds nothing/);
    expect(attributionWords(graph({ position: 0 }), second)).toMatch(/comes after the token/);
  });

  test("say what is predicted, and where the real next token stands", () => {
    const [first, , last] = predictions().positions;
    expect(predictionWords(first)).toBe(
      "After it the model says ␣first 20.0% · ␣best 10.0% · ␣capital 5.0%. " +
        "The prompt goes on with ␣capital: rank 3, 5.0%.",
    );
    expect(predictionWords(last)).toMatch(/␣the 2\.0%\.$/);
  });

  test("say what is not accounted for, and that it all adds up", () => {
    expect(remainder(attribution())).toBe("rest +5.80 · biases +0.20");
    expect(remainder(attribution({ opaque: -1 }))).toBe("rest +5.80 · opaque −1.00 · biases +0.20");
    expect(remainder(attribution({ bias: 2e-6 }))).toBe("rest +5.80");
    expect(remainderWords(graph(), attribution()).split("\n")).toEqual([
      "The logit of ␣Tokyo is 9.00:",
      "+3.00 from the prompt’s tokens, along the kept paths",
      "+5.80 from paths that are not followed to a token (rest)",
      "+0.20 from the model’s constants (biases)",
    ]);
  });

  test("bars are parts of the longest, of either sign", () => {
    expect(tokenBars(attribution()).map(({ part }) => part)).toEqual([0.125, 0.375, 1]);
    expect(tokenBars({ tokens: [{ position: 0, value: 0, direct: 0 }] })[0].part).toBe(0);
  });
});

describe("under the prompt", () => {
  beforeEach(() => document.body.replaceChildren());

  function mount(data = {}, settings = {}, values = {}) {
    const el = document.createElement("div");
    document.body.append(el);
    const all = { traits: traits(values), ...data };
    const mounted = mountStandalone(el, all, { live: true, ...settings });
    return { ...mounted, root: /** @type {HTMLElement} */ (el.firstElementChild) };
  }
  const both = { attribution: attribution(), predictions: predictions() };

  test("stand a signed bar and the first guess, a right one with a mark", async () => {
    const { root } = mount(both);
    await settled();
    const bars = all(root, ".vw-token-bar");
    expect(bars.map((bar) => bar.className.split(" ")[1])).toEqual([
      "positive",
      "negative",
      "positive",
    ]);
    expect(bars.map((bar) => bar.style.getPropertyValue("--vw-part"))).toEqual([
      "0.1250",
      "0.3750",
      "1.0000",
    ]);
    expect(texts(root, ".vw-guess")).toEqual(["␣first", "✓␣of", "␣Tokyo"]);
    expect(root.querySelector("[data-role='remainder']").textContent).toMatch(/^rest \+5\.80/);
    const [chip] = all(root, ".vw-chips .vw-chip");
    expect(chip.title.split("\n")).toHaveLength(3);
    expect(chip.title).toMatch(/^Look at what/);
    expect(all(root, ".vw-under")[0].getAttribute("aria-label")).toMatch(/^The adds \+0\.50/);
  });

  test("room is kept before the numbers come, and given up where none can", async () => {
    const waiting = mount({}, { handlers: { attribution: () => new Promise(() => {}) } });
    const prompt = (/** @type {Element} */ root) => root.querySelector(".vw-prompt");
    expect(prompt(waiting.root).style.getPropertyValue("--vw-under")).toBe("23px");
    await settled();
    // Predictions were not included; the attribution may still come.
    expect(prompt(waiting.root).style.getPropertyValue("--vw-under")).toBe("8px");
    const bare = mount();
    await settled();
    expect(prompt(bare.root).classList.contains("with-under")).toBe(false);
    expect(bare.root.querySelector("[data-role='under-tokens']").hidden).toBe(true);
    expect(all(bare.root, "[data-problem]")).toEqual([]);
  });

  test("old numbers stay, dimmed and without words, until the new ones come", async () => {
    let answer = attribution;
    const { root, host } = mount(both, { handlers: { attribution: (params) => answer(params) } });
    await settled();
    answer = () => new Promise(() => {});
    const target = { id: 8, text: "␣Kyoto", logit: 6, probability: 0.05, rank: 2 };
    host.set("graph", graph({ revision: 2, target }));
    const prompt = root.querySelector(".vw-prompt");
    expect(prompt.classList.contains("old-attribution")).toBe(true);
    expect(all(root, ".vw-token-bar.positive")).toHaveLength(2);
    await settled();
    expect(prompt.classList.contains("old-predictions")).toBe(false);
    expect(all(root, ".vw-under")[0].getAttribute("aria-label")).toMatch(/^After it the model/);
  });

  test("a saved page says it in its chips too, once", async () => {
    const { root } = mount(both, { live: false });
    await settled();
    const [chip] = all(root, ".vw-chips .vw-chip");
    expect(chip.title.split("\n").map((line) => line.slice(0, 8))).toEqual([
      "The adds",
      "After it",
    ]);
  });

  test("either can be hidden", async () => {
    const { root } = mount(both);
    await settled();
    root.querySelector("[data-role='under-tokens']").click();
    const [attributionBox, predictionsBox] = all(root, ".vw-checks input");
    attributionBox.click();
    const prompt = root.querySelector(".vw-prompt");
    expect(prompt.className).toMatch(/with-predictions/);
    expect(prompt.className).not.toMatch(/with-attribution/);
    predictionsBox.click();
    expect(prompt.classList.contains("with-under")).toBe(false);
  });
});
