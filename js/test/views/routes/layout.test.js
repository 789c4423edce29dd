import { describe, expect, it } from "vitest";
import { crossing, riverPath } from "../../../src/views/routes/layout/curve.js";
import { slotsOf } from "../../../src/views/routes/layout/flow.js";
import { overlaps } from "../../../src/views/routes/layout/labels.js";
import { placeLanes } from "../../../src/views/routes/layout/lanes.js";
import { readRoutes } from "../../../src/views/routes/layout/model.js";
import { accountOf } from "../../../src/views/routes/layout/names.js";
import { layoutRoutes } from "../../../src/views/routes/layout/scene.js";
import { createTracer, litBy } from "../../../src/views/routes/layout/trace.js";
import { madeRoutes } from "../../helpers/routes.js";

const made = madeRoutes({ tokens: 8, layers: 12, seed: 3 });
const sceneOf = (more = {}, width = 1200) => layoutRoutes({ ...madeRoutes(more), width });
const scene = layoutRoutes({ ...made, width: 1200 });

const numbersIn = (path) => path.match(/-?\d+(\.\d+)?/g).map(Number);
const pointsOf = (path) => {
  const numbers = numbersIn(path);
  return numbers.flatMap((x, at) => (at % 2 ? [] : [[x, numbers[at + 1]]]));
};
const sum = (values) => values.reduce((a, b) => a + b, 0);

describe("a made-up routes graph", () => {
  it("conserves influence, as the kernel's does", () => {
    const { nodes, edges } = made.routes;
    for (const { id, influence } of nodes) {
      const into = edges.filter(({ target }) => target === id);
      const out = edges.filter(({ source }) => source === id);
      if (into.length) expect(sum(into.map((e) => e.influence))).toBeCloseTo(influence, 8);
      if (out.length) expect(sum(out.map((e) => e.influence))).toBeCloseTo(influence, 8);
    }
  });
});

describe("reading a routes graph", () => {
  const model = readRoutes(made.routes, 12);

  it("sums heads between two columns, for and against apart", () => {
    const values = made.routes.nodes.filter(
      ({ kind, source, position }) => kind === "value" && source !== position,
    );
    const carriers = model.passages.flatMap((passage) => passage.carriers);
    expect(carriers).toHaveLength(values.length);
    for (const { influence, sign, carriers: within } of model.passages) {
      expect(sum(within.map((each) => each.influence))).toBeCloseTo(influence, 8);
      expect(within.every((each) => each.influence * sign > 0)).toBe(true);
    }
  });

  it("leaves nothing of a stream out: strands and ribbons make up what flows out of it", () => {
    for (const stream of model.streams.values()) {
      const up = model.strands.filter(({ from }) => from === stream).map(({ start }) => start);
      const over = model.passages.filter(({ from }) => from === stream);
      const out = [...up, ...over.map(({ influence }) => influence)];
      expect(sum(out)).toBeCloseTo(stream.influence, 8);
    }
  });

  it("reads parallel blocks, which have no middle", () => {
    const { routes } = madeRoutes({ parallel: true, layers: 6, seed: 2 });
    const parallel = readRoutes(routes, 6);
    expect([...parallel.streams.values()].every(({ level }) => level % 2 === 0)).toBe(true);
    expect(parallel.passages.every(({ from, to }) => to.level - from.level === 2)).toBe(true);
  });
});

describe("stacking", () => {
  const whole = { influence: 10, x: 100, scale: 2, flank: -1 };

  it("lays parts side by side, as wide together as the whole", () => {
    const slots = slotsOf(
      [
        { key: "far", influence: 2 },
        { key: "near", influence: 3 },
        { key: "up", influence: 5, elastic: true },
      ],
      whole,
    );
    expect([...slots.values()]).toEqual([
      { x: 92, width: 4 },
      { x: 97, width: 6 },
      { x: 105, width: 10 },
    ]);
  });

  it("gives what was pruned to the river itself", () => {
    const slots = slotsOf(
      [
        { key: "far", influence: 2 },
        { key: "up", influence: 5, elastic: true },
      ],
      whole,
    );
    expect(slots.get("up")?.width).toBe(16);
  });

  it("keeps opposing parts within the whole", () => {
    const slots = slotsOf(
      [
        { key: "against", influence: -4 },
        { key: "up", influence: 14, elastic: true },
      ],
      whole,
    );
    expect(slots.get("up")).toEqual({ x: 100, width: 20 });
    expect(slots.get("against")).toEqual({ x: 94, width: 8 });
  });
});

describe("curves", () => {
  const shape = {
    from: { x: 100, y: 500 },
    to: { x: 400, y: 440 },
    lane: 470,
    width: 10,
    startWidth: 10,
    endWidth: 6,
  };

  it("start and end upright, as wide as their slots", () => {
    const points = pointsOf(crossing(shape));
    expect(points[0]).toEqual([95, 500]);
    expect(points.at(-1)).toEqual([105, 500]);
    const top = points.filter(([, y]) => y === 440).map(([x]) => x);
    expect(Math.min(...top)).toBe(397);
    expect(Math.max(...top)).toBe(403);
  });

  it("are as wide on the way as they say", () => {
    const points = pointsOf(crossing(shape));
    const level = points.filter(([x]) => x > 130 && x < 375).map(([, y]) => y);
    expect(Math.max(...level) - Math.min(...level)).toBeCloseTo(10, 1);
  });

  it("of rivers pass all their cross sections", () => {
    const path = riverPath([
      { slot: { x: 50, width: 4 }, y: 100 },
      { slot: { x: 50, width: 20 }, y: 60 },
    ]);
    const xs = pointsOf(path).map(([x]) => x);
    expect(Math.min(...xs)).toBe(40);
    expect(Math.max(...xs)).toBe(60);
  });
});

describe("lanes", () => {
  it("keep ribbons that run side by side apart", () => {
    const { ribbons } = scene;
    for (const a of ribbons) {
      for (const b of ribbons) {
        if (a === b || a.layer !== b.layer) continue;
        const beside = a.start.x + 14 < b.end.x - 14 && b.start.x + 14 < a.end.x - 14;
        if (!beside) continue;
        expect(Math.abs(a.lane - b.lane)).toBeGreaterThan((a.width + b.width) / 2);
      }
    }
  });

  it("run what comes from further left higher, so that ribbons into one stream never cross", () => {
    const model = readRoutes(made.routes, 12);
    const lanes = placeLanes(model, 3);
    for (const a of model.passages) {
      for (const b of model.passages) {
        if (a.to !== b.to || a.from.position >= b.from.position) continue;
        const { from } = lanes.get(a.from.level);
        expect(from.get(a.key)).toBeLessThan(from.get(b.key));
      }
    }
  });
});

describe("the scene", () => {
  it("is the same every time", () => {
    const { model: _, ...once } = layoutRoutes({ ...made, width: 1200 });
    const { model: __, ...again } = layoutRoutes({ ...made, width: 1200 });
    expect(JSON.stringify(again)).toBe(JSON.stringify(once));
  });

  for (const [name, more, width] of [
    ["a short prompt", { tokens: 8, layers: 30, seed: 4 }, 1200],
    ["a narrow view", { tokens: 8, layers: 30, seed: 4 }, 460],
    ["a long prompt", { tokens: 512, layers: 12, seed: 5 }, 1200],
    ["parts that often oppose", { tokens: 8, layers: 12, against: 0.6, seed: 6 }, 700],
    ["a foil that leads", { total: -4, layers: 12, seed: 8 }, 900],
    ["parallel blocks", { parallel: true, layers: 12, seed: 2 }, 900],
    ["nothing at all", { total: 0, threshold: 1, layers: 4 }, 900],
    ["shares", { measure: "share", total: 1, layers: 12 }, 900],
    ["lengths", { measure: "norm", total: 1, layers: 12, against: 0 }, 900],
  ]) {
    it(`stays within its bounds: ${name}`, () => {
      const drawn = sceneOf(more, width);
      expect(drawn.width).toBeGreaterThanOrEqual(width);
      for (const { path } of [...drawn.ribbons, ...drawn.stretches]) {
        expect(path).not.toContain("NaN");
        for (const [x, y] of pointsOf(path)) {
          expect(x).toBeGreaterThanOrEqual(0);
          expect(x).toBeLessThanOrEqual(drawn.width);
          expect(y).toBeGreaterThanOrEqual(0);
          expect(y).toBeLessThanOrEqual(drawn.height);
        }
      }
      for (const { y } of drawn.axis) expect(y).toBeLessThan(drawn.height);
    });

    it(`lays no label on another: ${name}`, () => {
      const { labels } = sceneOf(more, width);
      labels.forEach(({ box }, at) => {
        for (const other of labels.slice(at + 1)) expect(overlaps(box, other.box)).toBe(false);
      });
    });

    it(`sets columns apart, folds between them: ${name}`, () => {
      const { tokens, folds } = sceneOf(more, width);
      const all = [...tokens, ...folds].map(({ x }) => x).sort((a, b) => a - b);
      for (const [at, x] of all.slice(1).entries()) expect(x - all[at]).toBeGreaterThan(12);
    });
  }

  it("stacks the ends of ribbons that speak alike without overlap", () => {
    for (const end of /** @type {const} */ (["start", "end"])) {
      const node = end === "start" ? "source" : "target";
      const alike = scene.ribbons.filter(({ passage }) => passage.sign > 0);
      const stacks = [...new Set(alike.map((ribbon) => ribbon[node]))].map((id) =>
        alike.filter((ribbon) => ribbon[node] === id),
      );
      for (const ribbons of stacks) {
        const slots = ribbons
          .filter(({ passage }) => passage[end === "start" ? "from" : "to"].influence > 0)
          .map((ribbon) => ribbon[end])
          .sort((a, b) => a.x - b.x);
        for (const [at, { x, width }] of slots.slice(1).entries()) {
          const before = slots[at];
          // Hairlines are drawn wider than they are.
          const hair = Math.max(0, 1 - before.width) + Math.max(0, 1 - width) + 1;
          expect(x - width / 2 + hair).toBeGreaterThanOrEqual(before.x + before.width / 2);
        }
      }
    }
  });

  it("draws a river as wide as its influence", () => {
    const { model, ribbons } = scene;
    const scale = ribbons.find(({ width }) => width > 2);
    const perUnit = scale.width / Math.abs(scale.passage.influence);
    const last = model.streams.get("P7.L11.post");
    const river = scene.stretches.find(({ target }) => target === "logits");
    const xs = pointsOf(river.path)
      .filter(([, y]) => y > 47)
      .map(([x]) => x);
    const wide = Math.max(...xs) - Math.min(...xs);
    expect(wide).toBeGreaterThan(0.8 * Math.abs(last.influence) * perUnit);
  });

  it("folds the positions that nothing passes through", () => {
    const { tokens, folds, model } = sceneOf({ tokens: 512, layers: 12, seed: 5 });
    expect(tokens.map(({ position }) => position)).toEqual([...model.columns.keys()]);
    const folded = sum(folds.map(({ name }) => Number(/^\d+/.exec(name)?.[0] ?? 1)));
    expect(folded + tokens.length).toBe(512);
  });

  it("says what it leaves out", () => {
    const { routes } = made;
    const text = accountOf(routes, 0.01);
    expect(text).toMatch(
      /^Kept paths account for .* of 13\.0 logits; pruned .* in parts under 1%, biases 0\.26\.$/,
    );
  });

  it("names every part in a sentence", () => {
    const ribbon = scene.ribbons[0];
    expect(ribbon.name).toMatch(/^Layer \d+: from .* at position \d to .* logits, heads? [\d, ]+$/);
    expect(scene.stops[0].name).toMatch(/position \d, after .*layer \d+.* logits pass here$/);
    expect(scene.prediction.name).toContain("␣Tokyo");
  });
});

describe("tracing a path", () => {
  it("lights the river that a mark lies on, from end to end", () => {
    const trace = createTracer(made.routes.edges);
    for (const mark of scene.marks.filter(({ kind }) => kind === "mlp")) {
      const lit = litBy(scene, trace(mark.nodes));
      const beside = scene.stretches.filter(({ path }) => {
        const points = pointsOf(path);
        const ys = points.map(([, y]) => y);
        const near = points.some(([x]) => Math.abs(x - mark.x) < 30);
        return near && Math.min(...ys) < mark.y && Math.max(...ys) > mark.y;
      });
      expect(beside.length).toBeGreaterThan(0);
      for (const { key } of beside) expect(lit.has(key)).toBe(true);
    }
  });

  it("goes down to the tokens and up to the prediction, and nowhere else", () => {
    const trace = createTracer(made.routes.edges);
    const strongest = [...scene.ribbons].sort((a, b) => b.width - a.width)[0];
    const ids = strongest.passage.carriers.map(({ node }) => node.id);
    const { up, down } = trace(ids);
    expect(up.has("logits")).toBe(true);
    expect(up.has(strongest.target)).toBe(true);
    expect(down.has(strongest.source)).toBe(true);
    expect(down.has(strongest.target)).toBe(false);
    const lit = litBy(scene, { up, down });
    expect(lit.has(strongest.key)).toBe(true);
    const above = scene.ribbons.filter(({ source }) => source === "P0.embed");
    for (const { key, passage } of above) {
      const on = passage.carriers.some(({ node }) => up.has(node.id) || down.has(node.id));
      expect(lit.has(key)).toBe(on);
    }
  });
});
