import { describe, expect, it } from "vitest";
import { connected } from "../../../src/views/layers/drawing/ribbons.js";
import {
  closedGroups,
  gatheredCount,
  together,
} from "../../../src/views/layers/layout/gathered.js";
import { layoutScene } from "../../../src/views/layers/layout/scene.js";
import { viewOf } from "./fixtures.js";
import { randomGraph } from "./random.js";

const sceneOf = (layers, width, view = {}) => {
  const open = view.expanded ?? [];
  return layoutScene(viewOf(randomGraph({ seed: 3, layers, heads: 8, open }), { width, ...view }));
};
const marks = ({ nodes }) =>
  nodes.filter(({ kind, shape }) => ["attention", "mlp"].includes(kind) && shape.width > 0);
const writes = ({ ribbons }) => ribbons.filter(({ kind }) => kind === "write");

describe("closed layers too narrow to be told apart", () => {
  it("have a mark together, as wide apart as can be seen", () => {
    const scene = sceneOf(100, 420);
    const above = marks(scene)
      .filter(({ y }) => y < 0)
      .map(({ x, shape }) => x + shape.x + shape.width / 2);
    expect(above.length).toBeLessThan(60);
    const steps = above.slice(1, -1).map((x, at) => x - above[at]);
    expect(Math.min(...steps)).toBeGreaterThanOrEqual(3 - 1e-6);
    expect(scene.legend.items.find(({ key }) => key === "gathered").text).toMatch(
      /^one mark: \d layers, summed$/,
    );
  });

  it("are each still there to be pointed at, by name", () => {
    const scene = sceneOf(100, 420);
    for (let layer = 0; layer < 100; layer++) {
      for (const part of ["attn", "mlp"]) {
        const node = scene.nodes.find(({ id }) => id === `L${layer}.${part}`);
        expect(node.name).toContain(`ayer ${layer}`);
        expect(node.box.width).toBeGreaterThan(0);
      }
    }
    const held = writes(scene).flatMap(({ of }) => of);
    expect(new Set(held).size).toBe(200);
    expect(held).toHaveLength(200);
  });

  it("leave the river to be seen between its breaks", () => {
    const { breaks } = sceneOf(100, 420);
    const steps = breaks.slice(1).map((x, at) => x - breaks[at]);
    expect(steps.length).toBeGreaterThan(3);
    expect(Math.min(...steps)).toBeGreaterThanOrEqual(6);
  });

  it("light the ribbon that they are in", () => {
    const [first] = writes(sceneOf(100, 420)).filter(({ of }) => of.length > 1);
    const [member] = first.of.filter((id) => id !== first.source);
    expect(connected([first], [member]).ribbons).toEqual(new Set([first.key]));
    expect(connected([first], ["L99.none"]).ribbons.size).toBe(0);
  });

  it("stand alone where there is room", () => {
    const scene = sceneOf(30, 1280);
    expect(marks(scene)).toHaveLength(60);
    expect(writes(scene).every(({ of, source }) => of.length === 1 && of[0] === source)).toBe(true);
    expect(scene.legend.items.some(({ key }) => key === "gathered")).toBe(false);
  });

  it("are not gathered across an open one", () => {
    const columns = Array.from({ length: 9 }, (_, layer) => ({
      layer, x: layer, width: 1.5, open: layer === 3,
    })); // biome-ignore format: a row
    const groups = closedGroups({ closedWidth: 1.5, columns });
    const layersIn = groups.map((group) => group.map(({ layer }) => layer));
    expect(layersIn).toEqual([[0, 1], [2], [4, 5], [6, 7], [8]]);
    expect(gatheredCount({ closedWidth: 3, columns })).toBe(1);
    expect(gatheredCount({ closedWidth: 0.8, columns })).toBe(4);
  });

  it("carry the sum of what adds up, and of what does not the largest", () => {
    expect(together([1, -3, null, 0.5], "logit")).toBe(-1.5);
    expect(together([1, -3, null, 0.5], "share")).toBe(-3);
    expect(together([null, null], "norm")).toBeNull();
  });
});
