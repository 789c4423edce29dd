import { describe, expect, it } from "vitest";
import { placeLabels } from "../../../src/views/shared/labels.js";

const room = { lanes: 3, from: 0, to: 600 };
const crowd = Array.from({ length: 8 }, (_, i) => ({
  id: `n${i}`,
  anchor: 200 + i * 17,
  width: 40 + ((i * 13) % 30),
  priority: ((i * 7) % 8) + 1,
}));

describe("label placement", () => {
  it("never lets labels of a lane touch, nor a leader run through a nearer label", () => {
    const placed = placeLabels(crowd, room);
    expect(placed.length).toBeGreaterThan(3);
    for (const a of placed) {
      for (const b of placed) {
        if (a === b) continue;
        if (a.lane === b.lane) expect(a.x + a.width < b.x || b.x + b.width < a.x).toBe(true);
        if (a.lane < b.lane) expect(b.anchor < a.x || b.anchor > a.x + a.width).toBe(true);
      }
    }
  });

  it("keeps every label over its anchor and inside its room", () => {
    for (const { anchor, x, width } of placeLabels(crowd, room)) {
      expect(anchor).toBeGreaterThan(x);
      expect(anchor).toBeLessThan(x + width);
      expect(x).toBeGreaterThanOrEqual(0);
      expect(x + width).toBeLessThanOrEqual(600);
    }
  });

  it("stays out of opened layers", () => {
    const placed = placeLabels(crowd, { ...room, blocked: [[230, 400]] });
    for (const { x, width } of placed) expect(x + width < 230 || x > 400).toBe(true);
  });

  it("finds room for all of three close neighbours", () => {
    const close = [
      { id: "a", anchor: 300, width: 60, priority: 2.7 },
      { id: "b", anchor: 328, width: 52, priority: 5.1 },
      { id: "c", anchor: 356, width: 28, priority: 2.8 },
    ];
    expect(placeLabels(close, room)).toHaveLength(3);
  });

  it("gives the same answer for the same question", () => {
    expect(placeLabels(crowd, room)).toEqual(placeLabels([...crowd].reverse(), room));
  });
});
