import { describe, expect, it } from "vitest";
import { layoutScene } from "../../../src/views/layers/layout/scene.js";
import { handMade, handMadeBlock, merge, viewOf } from "./fixtures.js";

/** Layers that attend, that do not (and are shown as one part), and that have an MLP alone. */
const HYBRID = ["attn+mlp", "mix+mlp", "mlp"];
const SHAPES = {
  hybrid: HYBRID,
  "attention alone": ["attn", "attn"],
  "opaque parts alone": ["mix", "mix"],
  "an opaque part beside attention": ["attn+mix+mlp", "attn+mix+mlp"],
  "MLPs alone": ["mlp", "mlp"],
};

function opened(kinds, layers, changes = {}) {
  const graph = handMade(...kinds);
  const whole = layers.reduce((sum, layer) => merge(sum, handMadeBlock(graph, layer)), graph);
  return layoutScene(viewOf(whole, { expanded: layers, ...changes }));
}
const everyLayer = (kinds) => kinds.map((_, layer) => layer);
const ids = ({ nodes }) => nodes.map(({ id }) => id);
const captions = ({ panels }) => panels.map(({ headings }) => headings.map(({ text }) => text));
const boxOf = ({ x, y, box }) => ({
  left: x + box.x,
  right: x + box.x + box.width,
  top: y + box.y,
  bottom: y + box.y + box.height,
});

describe.each(Object.entries(SHAPES))("a model of %s", (_, kinds) => {
  it.each([480, 700, 1280, 1720])("is drawn closed and open at %i, inside its size", (width) => {
    for (const layers of [[], ...everyLayer(kinds).map((layer) => [layer]), everyLayer(kinds)]) {
      const scene = opened(kinds, layers, { width });
      expect(JSON.stringify(scene)).not.toMatch(/NaN|undefined|null writes|Infinity/);
      for (const node of scene.nodes) {
        const { left, right, top, bottom } = boxOf(node);
        expect(left, node.id).toBeGreaterThanOrEqual(0);
        expect(right, node.id).toBeLessThanOrEqual(scene.width);
        expect(top + scene.axisY, node.id).toBeGreaterThanOrEqual(0);
        expect(bottom + scene.axisY, node.id).toBeLessThanOrEqual(scene.height);
      }
    }
  });

  it("shows every part of an open layer, each once and apart from the others", () => {
    const graph = handMade(...kinds);
    for (const layer of everyLayer(kinds)) {
      const scene = opened(kinds, [layer]);
      const drawn = [...ids(scene), ...scene.cells.map(({ id }) => id)];
      const wanted = [...graph.nodes, ...handMadeBlock(graph, layer).nodes];
      for (const node of wanted.filter((it) => it.layer === layer)) {
        expect(
          drawn.filter((id) => id === node.id),
          node.id,
        ).toHaveLength(1);
      }
      const inside = scene.nodes.filter((node) => node.layer === layer);
      for (const a of inside) {
        for (const b of inside) {
          const [one, two] = [boxOf(a), boxOf(b)];
          const apart =
            a.id === b.id ||
            one.right <= two.left + 0.01 ||
            two.right <= one.left + 0.01 ||
            one.bottom <= two.top + 0.01 ||
            two.bottom <= one.top + 0.01;
          expect(apart, `${a.id} meets ${b.id}`).toBe(true);
        }
      }
    }
  });

  it("lets the river run through without a gap", () => {
    for (const layers of [[], everyLayer(kinds)]) {
      const cells = [...opened(kinds, layers).cells].sort((a, b) => a.x - b.x);
      for (let at = 1; at < cells.length; at++) {
        expect(cells[at].x).toBeCloseTo(cells[at - 1].x + cells[at - 1].width);
      }
    }
  });

  it("keeps calm room for a layer that has not arrived", () => {
    for (const layer of everyLayer(kinds)) {
      const view = viewOf(handMade(...kinds), { expanded: [layer], pending: [layer] });
      const [panel] = layoutScene(view).panels;
      expect(panel.pending).toBe(true);
      expect(panel.width).toBeCloseTo(opened(kinds, [layer]).panels[0].width);
    }
  });

  it("names every layer without a hole", () => {
    for (const { name } of opened(kinds, []).areas) {
      expect(name).toMatch(/^Layer \d: .* writes ␣/);
      expect(name).not.toMatch(/null|undefined/);
    }
  });
});

describe("an opaque part", () => {
  it("joins the river from above, in attention's place, as a mark of its own", () => {
    const scene = opened(HYBRID, []);
    const at = (id) => scene.nodes.find((node) => node.id === id);
    expect(at("L1.mix").y).toBe(at("L0.attn").y);
    expect(at("L1.mix").shape).toMatchObject({ radius: 0 });
    expect(at("L1.mix").shape.height).toBeGreaterThan(at("L0.attn").shape.height);
    expect(at("L1.mix").tone).toBe("negative");
    const write = scene.ribbons.find(({ source }) => source === "L1.mix");
    expect(write).toMatchObject({ target: "L1.mid", kind: "write", bank: "above" });
    expect(scene.labels.map(({ text }) => text)).toContain("␣mix1");
    expect(scene.areas[1].name).toContain("an opaque part writes ␣mix1");
  });

  it("is explained by the legend, and only where there is one", () => {
    const keys = (scene) => scene.legend.items.map(({ key }) => key);
    expect(keys(opened(HYBRID, []))).toContain("opaque");
    expect(keys(opened(["attn+mlp"], [0]))).not.toContain("opaque");
    const { text } = opened(HYBRID, []).legend.items.find(({ key }) => key === "opaque");
    expect(text).toBe("opaque: a layer that does not attend, shown as one part");
  });

  it("stands where attention would in its open layer, which says what it is", () => {
    const scene = opened(HYBRID, [1]);
    const mix = scene.nodes.find(({ id }) => id === "L1.mix");
    expect(mix.texts.map(({ text }) => text)).toEqual(["␣mix1", "opaque −1.50"]);
    expect(mix.name).toBe(
      "␣mix1 opaque −1.50 logit: what the opaque part of layer 1, " +
        "a layer that does not attend, shown as one part, writes",
    );
    expect(captions(scene)[0]).toContain("opaque: a layer that does not attend, shown as one part");
    expect(scene.cells.find(({ id }) => id === "L1.mid").name).toContain("after the opaque part");
  });

  it("that joins after the middle is not named as if it were before", () => {
    const graph = handMade("attn+mix+mlp");
    graph.edges = graph.edges.map((edge) =>
      edge.source === "L0.mix" ? { ...edge, target: "L0.post" } : edge,
    );
    const scene = layoutScene(viewOf(graph, { expanded: [0] }));
    const write = scene.ribbons.find(({ source }) => source === "L0.mix");
    expect(write.target).toBe("L0.post");
    expect(scene.cells.find(({ id }) => id === "L0.mid").name).toContain("after attention in");
  });

  it("beside attention has a place of its own", () => {
    const scene = opened(SHAPES["an opaque part beside attention"], [0]);
    const [attention, mix] = ["L0.attn", "L0.mix"].map((id) =>
      scene.nodes.find((n) => n.id === id),
    );
    expect(mix.x).toBeGreaterThan(attention.x);
    expect(mix.y).toBe(attention.y);
    expect(scene.areas[0].name).toContain("attention writes ␣attn0");
    expect(scene.areas[0].name).toContain("an opaque part writes ␣mix0");
  });
});

describe("a layer that lacks a part", () => {
  it("says so, and takes no room for it", () => {
    const [mlpOnly] = opened(HYBRID, [2]).panels;
    const [both] = opened(HYBRID, [0]).panels;
    expect(captions(opened(HYBRID, [2]))[0]).toContain("no attention in this layer");
    expect(-mlpOnly.y).toBeLessThan(-both.y);
    expect(captions(opened(["attn", "attn"], [0]))[0]).toContain("no MLP in this layer");
    expect(opened(["mix", "mix"], [0]).panels[0].width).toBeLessThan(both.width);
  });

  it("ends its river where its last part joins", () => {
    const scene = opened(["attn", "attn"], [0]);
    const { x } = scene.nodes.find(({ id }) => id === "L0.attn");
    const post = scene.cells.find(({ id }) => id === "L0.post");
    expect(post.x - x).toBeLessThan(30);
    expect(scene.riverTexts.map(({ caption }) => caption)).toContain("after attention · rank 12");
  });

  it("names its river after what has joined it", () => {
    const words = (kinds) =>
      opened(kinds, [0], { width: 1720 }).riverTexts.map(({ caption }) => caption);
    expect(words(["mix", "mix"])).toContain("after opaque · rank 12");
    expect(words(["mix+mlp"])).toContain("after MLP · rank 12");
  });

  it("names only the lanes that there are", () => {
    const lanes = (kinds) => opened(kinds, []).laneNames.map(({ text }) => text);
    expect(lanes(HYBRID)).toEqual(["attention", "MLP"]);
    expect(lanes(["attn"])).toEqual(["attention"]);
    expect(lanes(["mix", "mix"])).toEqual(["opaque"]);
    expect(lanes(["mlp"])).toEqual(["MLP"]);
  });

  it("has no key for what no open layer shows", () => {
    const keys = opened(["mix", "mix"], [0]).legend.items.map(({ key }) => key);
    expect(keys).not.toContain("memory");
    expect(keys).not.toContain("read");
  });
});
