import { expect, test } from "vitest";
import { roomAround } from "../src/ui/follow.js";

const column = { top: -400, bottom: 900 };

test("the content stands in the part of the column that is on screen", () => {
  expect(roomAround(column, { top: 0, bottom: 700 })).toEqual({ above: 400, below: 200 });
  expect(roomAround(column, column)).toEqual({ above: 0, below: 0 });
});

test("and keeps a least height where little of it is", () => {
  const { above, below } = roomAround(column, { top: 850, bottom: 900 });
  expect(1300 - above - below).toBe(260);
  expect(roomAround({ top: 0, bottom: 200 }, { top: 100, bottom: 200 })).toEqual({
    above: 0,
    below: 0,
  });
});
