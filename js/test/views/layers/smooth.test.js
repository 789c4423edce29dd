import { describe, expect, it } from "vitest";
import { smooth } from "../../../src/views/layers/layout/smooth.js";

const numbers = (path) => path.match(/-?[\d.]+/g).map(Number);

/** Heights along the curve, a hundred to each stretch. */
function heights(path) {
  const [, y, ...rest] = numbers(path);
  const found = [y];
  for (let at = 0; at < rest.length; at += 6) {
    const before = found[found.length - 1];
    const [first, second, end] = [rest[at + 1], rest[at + 3], rest[at + 5]];
    for (let step = 1; step <= 100; step += 1) {
      const [t, u] = [step / 100, 1 - step / 100];
      found.push(u ** 3 * before + 3 * u * u * t * first + 3 * u * t * t * second + t ** 3 * end);
    }
  }
  return found;
}

describe("a curve of ranks", () => {
  it("passes through every point", () => {
    const path = smooth([
      { x: 0, y: 9 },
      { x: 2, y: 4 },
      { x: 5, y: 7 },
    ]);
    const [x, y, , , , , x1, y1, , , , , x2, y2] = numbers(path);
    expect([x, y, x1, y1, x2, y2]).toEqual([0, 9, 2, 4, 5, 7]);
  });

  it("turns only where the points turn", () => {
    const given = [40, 38, 12, 11, 11, 3, 9, 60, 61].map((y, at) => ({ x: at ** 1.5, y }));
    const drawn = heights(smooth(given));
    given.slice(1).forEach(({ y }, at) => {
      const way = Math.sign(y - given[at].y);
      const stretch = drawn.slice(at * 100, at * 100 + 101);
      stretch.slice(1).forEach((height, step) => {
        expect((height - stretch[step]) * way).toBeGreaterThanOrEqual(-1e-3);
        if (way === 0) expect(height).toBeCloseTo(y, 3);
      });
    });
  });

  it("is straight between two points, a place for one and nothing for none", () => {
    const pair = [
      { x: 0, y: 0 },
      { x: 3, y: 6 },
    ];
    expect(smooth(pair)).toBe("M0,0C1,2,2,4,3,6");
    expect(smooth(pair.slice(0, 1))).toBe("M0,0");
    expect(smooth([])).toBe("");
  });

  it("has one height where two points share a place", () => {
    const path = smooth([
      { x: 0, y: 1 },
      { x: 0, y: 5 },
      { x: 3, y: 1 },
    ]);
    expect(path).not.toMatch(/NaN|Infinity/);
  });
});
