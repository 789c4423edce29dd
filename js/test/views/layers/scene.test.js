import { describe, expect, it } from "vitest";
import { layoutScene } from "../../../src/views/layers/layout/scene.js";
import { overview, viewOf, withBlock, withLayers } from "./fixtures.js";

const layer = 23;
const closed = () => layoutScene(viewOf(overview()));
const open = (changes = {}) => layoutScene(viewOf(withBlock(), { expanded: [layer], ...changes }));

const boxOf = ({ x, y, box }) => ({
  left: x + box.x,
  right: x + box.x + box.width,
  top: y + box.y,
  bottom: y + box.y + box.height,
});

function overlap(a, b) {
  const slack = 0.01;
  return (
    Math.min(a.right, b.right) - Math.max(a.left, b.left) > slack &&
    Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > slack
  );
}

describe("the closed picture", () => {
  it("shows every layer's writers, and the river from the token to the prediction", () => {
    const scene = closed();
    const ids = new Set(scene.nodes.map(({ id }) => id));
    for (let i = 0; i < 30; i++) {
      expect(ids.has(`L${i}.attn`)).toBe(true);
      expect(ids.has(`L${i}.mlp`)).toBe(true);
    }
    expect(scene.cells[0].id).toBe("embed");
    for (let i = 1; i < scene.cells.length; i++) {
      const before = scene.cells[i - 1];
      expect(scene.cells[i].x).toBeCloseTo(before.x + before.width);
    }
    expect(scene.cells[scene.cells.length - 1].shade).toBe(5);
  });

  it("merges runs of one word, and always shows the last", () => {
    const { riverTexts, cells } = closed();
    expect(riverTexts.length).toBeLessThan(cells.length);
    expect(riverTexts[riverTexts.length - 1].text).toBe("␣Tokyo");
    for (let i = 1; i < riverTexts.length; i++) {
      expect(riverTexts[i].x).toBeGreaterThan(riverTexts[i - 1].x);
    }
  });

  it("names the strongest writers with signed numbers", () => {
    const { labels } = closed();
    const strongest = labels.find(({ id }) => id === "L23.attn");
    expect(strongest.text).toBe("␣Japan");
    expect(strongest.number).toBe("+4.0");
  });

  it("ends its chart of ranks at 1, on top", () => {
    const { rank } = closed();
    expect(rank.end.text).toBe("1");
    expect(rank.end.y).toBe(rank.ticks[0].y);
  });

  it.each([2, 12, 30, 80])("stays inside its own size with %i layers", (count) => {
    for (const width of [480, 1280]) {
      const scene = layoutScene(viewOf(withLayers(count), { width }));
      for (const node of scene.nodes) {
        const { left, right, top, bottom } = boxOf(node);
        expect(left).toBeGreaterThanOrEqual(0);
        expect(right).toBeLessThanOrEqual(scene.width);
        expect(top + scene.axisY).toBeGreaterThanOrEqual(0);
        expect(bottom + scene.axisY).toBeLessThanOrEqual(scene.height);
      }
    }
  });
});

describe("an open layer", () => {
  it("draws every node of its block", () => {
    const scene = open();
    const drawn = new Set([...scene.nodes, ...scene.cells].map(({ id }) => id));
    for (const node of withBlock().nodes) {
      if (node.layer === layer) expect(drawn.has(node.id), node.id).toBe(true);
    }
  });

  it.each([700, 1000, 1280, 1600])("keeps nodes and words apart at %i", (width) => {
    const nodes = open({ width }).nodes.filter((node) => node.layer === layer);
    for (const a of nodes) {
      for (const b of nodes) {
        if (a.id < b.id && overlap(boxOf(a), boxOf(b))) throw new Error(`${a.id} meets ${b.id}`);
      }
    }
  });

  it("orders heads and neurons by what they add", () => {
    const { nodes } = open();
    const size = new Map(withBlock().nodes.map(({ id, logit }) => [id, Math.abs(logit)]));
    for (const kind of ["head", "neuron"]) {
      const rows = nodes.filter((node) => node.kind === kind).sort((a, b) => a.y - b.y);
      for (let i = 1; i < rows.length; i++) {
        expect(size.get(rows[i].id)).toBeLessThanOrEqual(size.get(rows[i - 1].id));
      }
    }
  });

  it("leaves the axis of everything else where it was", () => {
    const before = closed();
    const after = open();
    const at = (scene, id) => scene.nodes.find((node) => node.id === id).y;
    for (const id of ["L2.attn", "L28.mlp"]) expect(at(after, id)).toBe(at(before, id));
  });

  it("says how many were left out", () => {
    const rest = open().nodes.find(({ id }) => id === "L23.mlp.rest");
    expect(rest.texts[0].text).toMatch(/^\+ 1,5\d\d more neurons$/);
    expect(rest.tone).toBe("rest");
  });

  it("derives the tokens that memories come from", () => {
    const texts = open({ width: 1600 }).sources.map(({ title }) => title);
    expect(texts).toContain("␣Japan");
    expect(new Set(texts).size).toBe(texts.length);
  });

  it("keeps the room of a layer that has not arrived", () => {
    const pending = layoutScene(viewOf(overview(), { expanded: [layer], pending: [layer] }));
    expect(pending.panels[0].pending).toBe(true);
    expect(Math.abs(pending.height - open().height)).toBeLessThan(60);
  });

  it("hides words that opened layers would cover", () => {
    const { panels, labels } = open();
    const [panel] = panels;
    for (const { x, width } of labels) {
      expect(x + width / 2 < panel.x || x - width / 2 > panel.x + panel.width).toBe(true);
    }
  });
});

describe("any picture", () => {
  it.each(["logit", "share", "norm", "proximity"])("can be drawn by %s", (measure) => {
    const scene = open({ measure });
    expect(JSON.stringify(scene)).not.toMatch(/NaN|undefined/);
    expect(scene.ribbons.every(({ path }) => !path.includes("NaN"))).toBe(true);
  });

  it("is the same for the same graph", () => {
    expect(open()).toEqual(open());
  });

  it("works without a middle of the stream, as in models with parallel blocks", () => {
    const graph = withBlock();
    graph.nodes = graph.nodes.filter(({ id }) => !id.endsWith(".mid"));
    graph.edges = graph.edges
      .filter(({ source }) => !source.endsWith(".mid"))
      .map((edge) => ({ ...edge, target: edge.target.replace(/\.mid$/, ".post") }));
    const scene = layoutScene(viewOf(graph, { expanded: [layer] }));
    expect(scene.cells.filter((cell) => cell.layer === layer)).toHaveLength(2);
    expect(scene.ribbons.some(({ source }) => source === "L23.attn")).toBe(true);
  });

  it("puts a target outside the first tokens below them", () => {
    const graph = overview();
    graph.target = { id: 7, text: "␣Osaka", logit: 1, probability: 0.0001, rank: 812 };
    const { prediction } = layoutScene(viewOf(graph));
    const row = prediction.rows[prediction.rows.length - 1];
    expect([row.text, row.number, row.role]).toEqual(["␣Osaka", "#812", "target"]);
  });
});
