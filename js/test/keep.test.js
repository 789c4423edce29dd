import { expect, test } from "vitest";
import {
  DEFAULT_KEEP,
  limitsOf,
  mostOf,
  PRESETS,
  restStep,
  sameKeep,
  wholeKeep,
  withRestClosed,
  withRestOpened,
} from "../src/state/keep.js";

test("limits are read from each form", () => {
  expect(limitsOf({}, "heads")).toEqual({ count: 10, threshold: null, mass: null });
  expect(limitsOf({ neurons: [18, 7] }, "neurons").count).toEqual([18, 7]);
  expect(limitsOf({ heads: { mass: 0.9 } }, "heads")).toEqual({
    count: null,
    threshold: null,
    mass: 0.9,
  });
  expect(limitsOf({}, "routes").threshold).toBe(0.01);
  expect(mostOf({ neurons: [18, 7] }, "neurons")).toBe(25);
  expect(mostOf({ heads: { mass: 0.9 } }, "heads")).toBe(Number.POSITIVE_INFINITY);
});

test("is written whole, and a count alone as a count", () => {
  expect(wholeKeep({})).toEqual(DEFAULT_KEEP);
  expect(wholeKeep({ heads: { count: 4 }, rows: [1, 2] })).toEqual({
    ...DEFAULT_KEEP,
    heads: 4,
    rows: [1, 2],
  });
  expect(wholeKeep({ heads: {} }).heads).toEqual({ count: null, threshold: null, mass: null });
});

test("is the same in whatever form, to the digits that travel", () => {
  expect(sameKeep({}, { heads: { count: 10 }, more: {} })).toBe(true);
  expect(sameKeep({ threshold: 1 / 3 }, { threshold: 0.333333 })).toBe(true);
  expect(sameKeep({ neurons: [6, 6] }, { neurons: 12 })).toBe(false);
  expect(sameKeep({}, { more: { "L1.mlp.rest": 6 } })).toBe(false);
  expect(sameKeep(PRESETS.Default, PRESETS.Everything)).toBe(false);
});

test("a rest node opens by as many as its kind draws, within bounds", () => {
  expect(restStep({}, "L3.mlp.rest")).toBe(12);
  expect(restStep({}, "L3.attn.rest")).toBe(10);
  expect(restStep({}, "L3.H4.rest")).toBe(6);
  expect(restStep({ neurons: [18, 7] }, "L3.mlp.rest")).toBe(24);
  expect(restStep({ neurons: { mass: 0.9 } }, "L3.mlp.rest")).toBe(24);
  expect(restStep({}, "P3.L3.mid.rest")).toBeNull();
});

test("opening and closing says all that is kept", () => {
  const once = withRestOpened({ heads: 3 }, "L3.mlp.rest");
  expect(once).toEqual({ ...DEFAULT_KEEP, heads: 3, more: { "L3.mlp.rest": 12 } });
  expect(withRestOpened(once, "L3.mlp.rest").more).toEqual({ "L3.mlp.rest": 24 });
  expect(withRestClosed(once, "L3.mlp.rest")).toEqual({ ...DEFAULT_KEEP, heads: 3 });
  expect(withRestOpened(once, "P1.L3.mid.rest")).toBe(once);
});
