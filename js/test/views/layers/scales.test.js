import { describe, expect, it } from "vitest";
import { commonScale, rankPlace, shadeOf, signOf } from "../../../src/views/shared/scales.js";
import { formatValue, percent, probability } from "../../../src/words/figures.js";

describe("numbers", () => {
  it.each([
    [2.679, "logit", "+2.68"],
    [-0.586, "logit", "−0.59"],
    [0.0001, "logit", "0.00"],
    [-12.34, "logit", "−12.3"],
    [0.414, "share", "41%"],
    [-0.031, "share", "−3.1%"],
    [-0.00001, "share", "0.0%"],
    [3.21, "norm", "3.21"],
    [null, "logit", ""],
  ])("%s as %s reads %s", (value, measure, text) => {
    expect(formatValue(value, measure)).toBe(text);
  });

  it("rounds labels of the overview more coarsely", () => {
    expect(formatValue(3.98, "logit", { coarse: true })).toBe("+4.0");
  });

  it("shows probabilities without false zeros or ones", () => {
    expect([0.8539, 0.003, 0.9999, 1].map(probability)).toEqual(["85%", "<1%", ">99%", "100%"]);
    expect(percent(0.55)).toBe("55%");
  });

  it("has a sign only where the measure has one", () => {
    expect(signOf(-1, "logit")).toBe("negative");
    expect(signOf(1, "share")).toBe("positive");
    expect(signOf(1, "norm")).toBe("unsigned");
    expect(signOf(null, "logit")).toBe("none");
  });
});

describe("scales", () => {
  it("shades by rank in six steps", () => {
    expect([null, 40000, 10000, 999, 100, 10, 1].map(shadeOf)).toEqual([0, 0, 1, 2, 3, 4, 5]);
  });

  it("gives every group its room", () => {
    expect(
      commonScale([
        { values: [2, -4], room: 20 },
        { values: [10], room: 30 },
      ]),
    ).toBe(3);
    expect(commonScale([{ values: [null, 0], room: 20 }])).toBe(0);
  });

  it("places ranks on a log scale with 1 on top", () => {
    expect(rankPlace(1, 10000)).toBe(0);
    expect(rankPlace(100, 10000)).toBeCloseTo(0.5);
    expect(rankPlace(20000, 10000)).toBe(1);
  });
});
