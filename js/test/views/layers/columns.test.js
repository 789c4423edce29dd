import { describe, expect, it } from "vitest";
import { placeColumns } from "../../../src/views/layers/layout/columns.js";

const elastic = { least: 600, ideal: 1000 };
const place = (layers, width, open = []) =>
  placeColumns({
    layers,
    open: new Map(open.map((layer) => [layer, elastic])),
    width,
    startWidth: 36,
    tailWidth: 60,
  });

describe("columns", () => {
  for (const layers of [2, 12, 30, 80]) {
    for (const width of [480, 700, 1280, 1600]) {
      it(`${layers} layers at ${width}: side by side, wide enough, prediction inside`, () => {
        const { columns, prediction, tail, width: whole } = place(layers, width);
        for (let i = 1; i < columns.length; i++) {
          expect(columns[i].x).toBeCloseTo(columns[i - 1].x + columns[i - 1].width);
        }
        expect(columns[0].width).toBeGreaterThanOrEqual(6);
        expect(prediction.x).toBeGreaterThan(tail.x + tail.width);
        expect(prediction.x + prediction.width).toBeLessThanOrEqual(whole + 0.01);
        if (layers <= 30) expect(whole).toBe(width);
      });
    }
  }

  it("gives an open layer more as there is more to give, up to its ideal", () => {
    const widths = [1000, 1280, 1600, 2400].map((width) => place(30, width, [5]).columns[5].width);
    expect(widths[0]).toBeGreaterThanOrEqual(600);
    expect([...widths].sort((a, b) => a - b)).toEqual(widths);
    expect(widths[3]).toBeLessThanOrEqual(1000);
  });

  it("grows beyond its room rather than squeeze open layers", () => {
    const { columns, width } = place(30, 900, [3, 7]);
    expect(width).toBeGreaterThan(900);
    expect(columns[3].width).toBe(600);
    expect(columns[4].width).toBeGreaterThan(5);
  });
});
