import { describe, expect, it } from "vitest";
import { placeColumns } from "../../../src/views/layers/layout/columns.js";

const elastic = { stacked: 180, slim: 400, least: 600, ideal: 1000 };
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
        expect(columns[0].width).toBeGreaterThanOrEqual(1.5);
        expect(prediction.x).toBeGreaterThan(tail.x + tail.width);
        expect(prediction.x + prediction.width).toBeLessThanOrEqual(whole + 0.01);
        expect(whole).toBe(width);
      });
    }
  }

  it("gives an open layer more as there is more to give, up to its ideal", () => {
    const widths = [1040, 1280, 1600, 2400].map((width) => place(30, width, [5]).columns[5].width);
    expect(widths[0]).toBeGreaterThanOrEqual(600);
    expect([...widths].sort((a, b) => a - b)).toEqual(widths);
    expect(widths[3]).toBeLessThanOrEqual(1000);
  });

  it("narrows open layers, then closed ones, and stacks what is open in the end", () => {
    const of = (width, open) => {
      const { columns, width: whole, closedWidth } = place(30, width, open);
      return { whole, closedWidth, width: columns[open[0]].width };
    };
    const narrowed = of(900, [3]);
    expect(narrowed.whole).toBe(900);
    expect(narrowed.width).toBeGreaterThan(400);
    expect(narrowed.width).toBeLessThan(600);
    expect(narrowed.closedWidth).toBeCloseTo(5.4);
    const squeezed = of(760, [3]);
    expect(squeezed.whole).toBe(760);
    expect(squeezed.width).toBeCloseTo(400);
    expect(squeezed.closedWidth).toBeLessThan(5.4);
    const stacked = of(440, [3]);
    expect(stacked.whole).toBe(440);
    expect(stacked.width).toBeLessThan(400);
    expect(stacked.closedWidth).toBeGreaterThan(1);
  });

  it("grows beyond its room rather than squeeze open layers into nothing", () => {
    const { columns, width } = place(30, 440, [3, 7, 9]);
    expect(width).toBeGreaterThan(440);
    expect(columns[3].width).toBe(180);
  });
});
