import { describe, expect, test } from "vitest";
import { layoutScene } from "../src/views/layers/layout/scene.js";
import { layoutRoutes } from "../src/views/routes/layout/scene.js";
import { indexGraph } from "../src/views/shared/graph.js";
import { seenName } from "../src/words/names.js";
import { fixture, graph, node } from "./helpers/graph.js";

/** What a reader sees and hears, as words: signs and spaces do not count. */
const wordsOf = (text) => text.normalize("NFKD").match(/[\p{L}\p{N}]+/gu) ?? [];
const begins = (name, seen) =>
  expect(wordsOf(name).slice(0, wordsOf(seen).length)).toEqual(wordsOf(seen));

describe("a name begins with what is seen", () => {
  const traced = fixture("graph");
  const block = fixture("expand");
  const merged = {
    ...traced,
    layers: [block.layer],
    nodes: [...traced.nodes, ...block.nodes],
    edges: [...traced.edges, ...block.edges],
  };
  const view = { expanded: [block.layer], pending: [], selection: [], hovered: null, dark: false };

  test.each(["logit", "share", "norm", "proximity"])("in an open layer, by %s", (measure) => {
    for (const width of [700, 1400]) {
      const scene = layoutScene({ ...view, graph: merged, measure, width });
      const written = scene.nodes.filter(({ texts }) => texts.length > 0);
      expect(written.length).toBeGreaterThan(60);
      for (const { name, texts } of written) begins(name, texts.map(({ text }) => text).join(" "));
      for (const { name, text, number } of scene.prediction.rows) begins(name, `${text} ${number}`);
    }
  });

  test("in the routes", () => {
    const scene = layoutRoutes({ routes: fixture("routes"), graph: traced, width: 1100 });
    expect(scene.tokens.length).toBeGreaterThan(3);
    for (const { name, text, number } of scene.tokens) begins(name, `${text} ${number}`);
    const { name, text, note } = scene.prediction;
    begins(name, `${text} ${note}`);
  });

  test("and goes on with what was cut, or left out", () => {
    const index = indexGraph(graph());
    const head = node("L3.H1", "head", { head: 1, label: "␣incomprehensibly" });
    expect(seenName(index, head, -0.5, "logit", ["␣incompre…", "H1", "−0.50"])).toBe(
      "␣incompre… H1 −0.50 logit: what head 1 writes, in full ␣incomprehensibly",
    );
    expect(seenName(index, head, -0.5, "logit", ["␣incomprehensibly", ""])).toBe(
      "␣incomprehensibly: what head 1 writes, −0.50 logit",
    );
  });
});
