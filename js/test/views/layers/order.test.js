import { describe, expect, it } from "vitest";
import { crossings, placesOf, sweep, untangle } from "../../../src/views/layers/layout/order.js";

const left = placesOf(["a", "b", "c"]);
const links = [
  { source: "a", target: "z", weight: 3 },
  { source: "b", target: "y", weight: 1 },
  { source: "c", target: "x", weight: 2 },
];

describe("order", () => {
  it("weighs a crossing by the thinner ribbon", () => {
    expect(crossings(left, placesOf(["x", "y", "z"]), links)).toBe(1 + 2 + 1);
    expect(crossings(left, placesOf(["z", "y", "x"]), links)).toBe(0);
  });

  it("untangles within groups and leaves groups where they are", () => {
    expect(untangle([["x", "y", "z"]], left, links)).toEqual([["z", "y", "x"]]);
    expect(untangle([["x"], ["y", "z"]], left, links)).toEqual([["x"], ["z", "y"]]);
  });

  it("keeps the order it was given where nothing pulls", () => {
    expect(sweep([["p", "q"]], left, [])).toEqual([["p", "q"]]);
  });
});
