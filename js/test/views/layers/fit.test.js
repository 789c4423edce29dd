import { describe, expect, it } from "vitest";
import { headOf } from "../../../src/views/layers/layout/detail.js";
import { layoutScene } from "../../../src/views/layers/layout/scene.js";
import { textWidth } from "../../../src/views/shared/text.js";
import { viewOf } from "./fixtures.js";
import { randomGraph } from "./random.js";

/** What a notebook's cell leaves a view of, under the prompt and the toolbar. */
const HEIGHT = 602;
const SIZES = {
  token: 11.5,
  strong: 12,
  small: 10.5,
  number: 10.5,
  caption: 10.5,
  tag: 9.5,
  rest: 10,
};
const SANS = new Set(["number", "caption", "tag", "rest"]);

const sceneOf = (graph, changes) => layoutScene(viewOf(graph, { height: HEIGHT, ...changes }));

/** Boxes of the words of an open layer's rows. */
function wordsOf({ nodes, panels }) {
  const texts = nodes.flatMap(({ id, x, y, texts: own }) =>
    own.map((text) => ({ ...text, x: x + text.x, y: y + text.y, of: id })),
  );
  const headings = panels.flatMap(({ headings: own, layer }) =>
    own.map((text) => ({ ...text, of: `heading of ${layer}` })),
  );
  return [...texts, ...headings]
    .filter(({ text }) => text !== "")
    .map(({ x, y, text, face, anchor, of }) => {
      const size = SIZES[face];
      const width = textWidth(text, size, SANS.has(face) ? "sans" : "mono") * 0.94;
      const left = anchor === "end" ? x - width : anchor === "middle" ? x - width / 2 : x;
      return { of, text, left, right: left + width, top: y - 0.7 * size, bottom: y + 0.1 * size };
    });
}

const meets = (a, b) =>
  Math.min(a.right, b.right) - Math.max(a.left, b.left) > 0.5 &&
  Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 0.5;

function meetings(boxes) {
  const found = [];
  for (let i = 0; i < boxes.length; i++) {
    for (let j = i + 1; j < boxes.length; j++) {
      if (meets(boxes[i], boxes[j])) {
        found.push(`${boxes[i].of} “${boxes[i].text}” and ${boxes[j].of} “${boxes[j].text}”`);
      }
    }
  }
  return found;
}

const WIDTHS = [400, 480, 600, 760, 1008, 1280, 1440, 1920];
const MODELS = [
  { layers: 2, heads: 4 },
  { layers: 12, heads: 12 },
  { layers: 30, heads: 9 },
  { layers: 32, heads: 32 },
  { layers: 100, heads: 64 },
];

describe("an open layer", () => {
  for (const { layers, heads } of MODELS) {
    for (const width of WIDTHS) {
      it(`of ${layers} layers and ${heads} heads fits ${width} px`, () => {
        for (const seed of [1, 2]) {
          const open = [Math.floor((layers - 1) * (seed === 1 ? 0.7 : 1))];
          const graph = randomGraph({ seed, layers, heads, open });
          const scene = sceneOf(graph, { width, expanded: open });
          expect(scene.width).toBeLessThanOrEqual(width);
          if (width >= 760) expect(scene.height).toBeLessThanOrEqual(HEIGHT);
          expect(meetings(wordsOf(scene))).toEqual([]);
          const [panel] = scene.panels;
          if (panel.scale) {
            // The button that closes the layer takes 28 px, 6 px from the edge.
            const end = panel.scale.x + 27 + textWidth(panel.scale.text, 11, "sans");
            expect(end).toBeLessThanOrEqual(panel.x + panel.width - 36);
          }
          for (const { left, right, of } of wordsOf(scene).filter(({ of }) =>
            of.startsWith(`L${open[0]}.`),
          )) {
            expect(left, of).toBeGreaterThanOrEqual(panel.x);
            expect(right, of).toBeLessThanOrEqual(panel.x + panel.width);
          }
        }
      });
    }
  }

  it("has room for another at 1,280 px", () => {
    for (const heads of [9, 32]) {
      const graph = randomGraph({ seed: 3, layers: 30, heads, open: [12, 23] });
      const scene = sceneOf(graph, { width: 1280, height: 641, expanded: [12, 23] });
      expect(scene.width).toBeLessThanOrEqual(1280);
      expect(scene.height).toBeLessThanOrEqual(641);
      expect(meetings(wordsOf(scene))).toEqual([]);
    }
  });

  it("says what neurons look for also where two stand beside each other at 1,008 px", () => {
    const graph = randomGraph({ seed: 3, layers: 30, heads: 9, open: [12, 23] });
    const scene = sceneOf(graph, { width: 1008, height: 641, expanded: [12, 23] });
    for (const layer of [12, 23]) {
      const own = (kind) =>
        scene.nodes.filter((node) => node.kind === kind && node.layer === layer);
      expect(own("neuron").length).toBeGreaterThan(0);
      expect(own("neuron_key").map(({ id }) => id)).toEqual(
        own("neuron").map(({ id }) => `${id}.key`),
      );
      const words = own("neuron_key").flatMap(({ texts }) => texts.map(({ text }) => text));
      expect(words.filter((text) => text !== "").length).toBe(own("neuron_key").length);
    }
    expect(scene.width).toBeLessThanOrEqual(1008);
    expect(meetings(wordsOf(scene))).toEqual([]);
  });

  it("shows the strongest heads unfolded, and all of them where there is room", () => {
    const graph = randomGraph({ seed: 4, layers: 30, heads: 32, open: [9] });
    const queries = ({ nodes }) => nodes.filter(({ kind }) => kind === "query").length;
    const low = sceneOf(graph, { width: 1008, expanded: [9] });
    expect(queries(low)).toBeGreaterThanOrEqual(2);
    expect(queries(low)).toBeLessThan(10);
    expect(low.folded.size).toBe(10 - queries(low));
    expect(queries(sceneOf(graph, { width: 1008, height: 2000, expanded: [9] }))).toBe(10);
    expect(queries(layoutScene(viewOf(graph, { width: 1008, expanded: [9] })))).toBe(10);
  });

  it("has its key say what type means where that takes no line more", () => {
    const graph = randomGraph({ seed: 4, layers: 30, heads: 9, open: [9] });
    const keyOf = (width, expanded) => sceneOf(graph, { width, expanded }).legend;
    const marks = ({ items }) => items.map(({ mark }) => mark);
    expect(marks(keyOf(1440, [9]))).toEqual(expect.arrayContaining(["strong", "small"]));
    expect(marks(keyOf(1440, []))).not.toContain("strong");
    const narrow = keyOf(1008, [9]);
    expect(marks(narrow)).not.toContain("strong");
    expect(new Set(narrow.items.map(({ y }) => y)).size).toBe(1);
  });

  it("is the same picture for the same graph", () => {
    const graph = randomGraph({ seed: 5, layers: 12, heads: 12, open: [4] });
    const view = { width: 1008, expanded: [4] };
    expect(sceneOf(graph, view)).toEqual(sceneOf(structuredClone(graph), view));
  });
});

describe("a head that the reader turns to", () => {
  for (const seed of [1, 2, 3, 4, 5, 6, 7, 8]) {
    it(`unfolds under the pointer, and nothing else moves but its like (${seed})`, () => {
      const graph = randomGraph({ seed, layers: 12, heads: 16, open: [5] });
      const view = { width: 1008, expanded: [5] };
      let interest = [];
      let scene = sceneOf(graph, { ...view, interest });
      const headsOf = ({ nodes }) => nodes.filter(({ kind }) => kind === "head");
      const order = headsOf(scene).map(({ id }) => id);
      for (const id of [...scene.folded]) {
        const before = headsOf(scene).find((node) => node.id === id);
        interest = [id, ...interest];
        const next = sceneOf(graph, { ...view, interest });
        expect(next.folded.has(id)).toBe(false);
        expect(next.axisY).toBe(scene.axisY);
        expect(next.height).toBe(scene.height);
        expect(headsOf(next).map((node) => node.id)).toEqual(order);
        // What was pointed at, wherever in its row, still belongs to it.
        const own = next.nodes.filter((node) => headOf(node.id) === id);
        const top = Math.min(...own.map(({ y, box }) => y + box.y));
        const bottom = Math.max(...own.map(({ y, box }) => y + box.y + box.height));
        expect(top).toBeLessThanOrEqual(before.y + 0.01);
        expect(bottom).toBeGreaterThanOrEqual(before.y - 0.01);
        expect(next.folded.size).toBe(scene.folded.size);
        scene = next;
      }
    });
  }

  it("that is unfolded already takes no other's place", () => {
    const graph = randomGraph({ seed: 9, layers: 12, heads: 16, open: [5] });
    const scene = sceneOf(graph, { width: 1008, expanded: [5] });
    const [strongest] = scene.nodes.filter(({ kind }) => kind === "query");
    const interest = [headOf(strongest.id)];
    expect(sceneOf(graph, { width: 1008, expanded: [5], interest }).folded).toEqual(scene.folded);
  });

  it("is found in the ids of what belongs to it", () => {
    expect(headOf("L3.H4")).toBe("L3.H4");
    expect(headOf("L3.H4.V2")).toBe("L3.H4");
    expect(headOf("L3.H4.rest")).toBe("L3.H4");
    expect(headOf("L3.attn")).toBe(null);
    expect(headOf(null)).toBe(null);
  });
});
