import { describe, expect, test } from "vitest";
import { layerToReveal, scrollFor } from "../../../src/views/layers/drawing/scroll.js";

const panel = (layer, x) => ({ layer, x, width: 500 });
const scene = (width, ...panels) => ({ width, panels });

describe("the layer to reveal", () => {
  const wide = scene(1200, panel(3, 100), panel(9, 650));

  test("is none while everything fits", () => {
    const how = { room: 1300, roomBefore: 1400, at: 9 };
    expect(layerToReveal(scene(1200), wide, how)).toBeNull();
  });

  test("is the one that has just opened", () => {
    const before = scene(900, panel(3, 100));
    const how = { room: 800, roomBefore: 800, at: 3 };
    expect(layerToReveal(before, wide, how)?.layer).toBe(9);
  });

  test("is the one selected in, when the room shrinks", () => {
    const how = { room: 650, roomBefore: 940, at: 9 };
    expect(layerToReveal(wide, wide, how)?.layer).toBe(9);
  });

  test("is none when the room grows: what is in sight stays there", () => {
    const how = { room: 940, roomBefore: 650, at: 9 };
    expect(layerToReveal(wide, wide, how)).toBeNull();
  });
});

describe("the scrolling", () => {
  test("is the least that shows all of a panel", () => {
    expect(scrollFor({ x: 650, width: 500 }, 0, 700)).toBe(650 + 500 + 24 - 700);
    expect(scrollFor({ x: 100, width: 300 }, 0, 700)).toBe(0);
    expect(scrollFor({ x: 100, width: 300 }, 400, 700)).toBe(76);
  });
});
