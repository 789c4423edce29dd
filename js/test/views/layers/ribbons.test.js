import { describe, expect, it } from "vitest";
import {
  levelLine,
  ribbonPath,
  stack,
  tributaryLine,
  turningLine,
} from "../../../src/views/layers/layout/ribbons.js";

const points = (path) =>
  path
    .slice(1, -1)
    .split("L")
    .map((pair) => pair.split(",").map(Number));

describe("ribbons", () => {
  it("end flush: upright cuts of the given widths", () => {
    const outline = points(ribbonPath(levelLine([0, 10], [100, 60]), 8, 4));
    const [start, end] = [outline[0], outline[outline.length - 1]];
    expect(start[0]).toBe(0);
    expect(end[0]).toBe(0);
    expect(Math.abs(start[1] - end[1])).toBeCloseTo(8);
    const far = outline.filter(([x]) => x === 100);
    expect(Math.abs(far[0][1] - far[1][1])).toBeCloseTo(4);
  });

  it("keep their width through a bend", () => {
    const line = turningLine([0, 0], [60, 300]);
    const outline = points(ribbonPath(line, 10));
    for (let i = 2; i < line.length - 2; i++) {
      const [a, b] = [outline[i], outline[outline.length - 1 - i]];
      expect(Math.hypot(a[0] - b[0], a[1] - b[1])).toBeCloseTo(10, 1);
    }
  });

  it("turn from level to upright, and from upright into the stream", () => {
    const turn = turningLine([0, 0], [60, 300]);
    expect(turn[turn.length - 1]).toEqual([60, 300]);
    expect(turn.every(([x], i) => i === 0 || x >= turn[i - 1][0])).toBe(true);
    const mouth = tributaryLine([50, -100], -19, { lead: 20, depth: 12 });
    expect(mouth[mouth.length - 1]).toEqual([70, -7]);
  });

  it("stack side by side without a gap", () => {
    const widths = [4, 10, 2];
    const centres = stack(widths, 100);
    expect(centres).toEqual([94, 101, 107]);
  });
});
