import { describe, expect, test } from "vitest";
import { alignTokens } from "../src/shell/pins/align.js";

const token = (id, probability) => ({ id, text: `t${id}`, probability });
const ids = (lines) => lines.map(({ cells }) => cells.map((cell) => cell?.id ?? null));

describe("tokens side by side", () => {
  const lists = [
    [token(1, 0.6), token(2, 0.3), token(3, 0.1)],
    [token(4, 0.5), token(2, 0.2), token(1, 0.1), token(5, 0.05)],
    [token(2, 0.9)],
  ];

  test("common ones stand on one line each, those of most first; below, each list’s own", () => {
    const lines = alignTokens(lists, 10);
    expect(ids(lines)).toEqual([
      [2, 2, 2],
      [1, 1, null],
      [3, 4, null],
      [null, 5, null],
    ]);
    expect(lines.map(({ common }) => common)).toEqual([true, true, false, false]);
    expect(lines[0].cells.map((cell) => cell?.probability)).toEqual([0.3, 0.2, 0.9]);
  });

  test("no more lines than asked for", () => {
    expect(alignTokens(lists, 3)).toHaveLength(3);
    expect(alignTokens([[], []], 3)).toEqual([]);
  });

  test("one alone is its own list", () => {
    expect(ids(alignTokens([lists[1]], 10))).toEqual([[4], [2], [1], [5]]);
  });
});
