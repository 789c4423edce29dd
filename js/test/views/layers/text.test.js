import { describe, expect, it } from "vitest";
import { fitText, textWidth, visible } from "../../../src/views/shared/text.js";

describe("text widths", () => {
  it("counts full-width characters twice and combining marks not at all", () => {
    expect(textWidth("日本", 10)).toBeCloseTo(2 * textWidth("ab", 10));
    expect(textWidth("e\u0301", 10)).toBeCloseTo(textWidth("e", 10));
  });

  it("leaves what fits alone and cuts the rest with an ellipsis that fits", () => {
    expect(fitText("␣Tokyo", 100, 12)).toBe("␣Tokyo");
    const cut = fitText("internationalisation", 60, 12);
    expect(cut.endsWith("…")).toBe(true);
    expect(textWidth(cut, 12)).toBeLessThanOrEqual(60);
  });

  it("never splits a surrogate pair, and gives up rather than show a lone mark", () => {
    expect(fitText("😀😀😀😀", 40, 12)).toMatch(/^(😀)+…$/u);
    expect(fitText("␣Tokyo", 14, 12)).toBe("");
  });

  it("spells out blanks that no one could see", () => {
    expect(visible("\u00a0")).toBe("\\xa0");
    expect(visible("a\u2003b")).toBe("a\\u2003b");
  });
});
