import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { createTurns } from "../../../src/views/layers/drawing/turns.js";

const closed = { key: "closed" };
const open = (layer) => ({ key: `L${layer}`, panel: { x: layer * 300, width: 300 } });
const all = [closed, ...[0, 1, 2, 3, 4, 5, 6, 7].map(open)];

let drawn;
let told;
let turns;

beforeEach(() => {
  vi.useFakeTimers();
  drawn = [];
  told = 0;
  turns = createTurns(() => {
    told += 1;
  });
});
afterEach(() => vi.useRealTimers());

const start = (parts = all) =>
  turns.start(parts, (now) => drawn.push(parts.filter(now).map(({ key }) => key)));

describe("whose turn it is", () => {
  it("draws what is in sight at once, and all else later, each once", () => {
    turns.look({ from: 0, to: 600 });
    start();
    expect(drawn).toEqual([["closed", "L0", "L1", "L2"]]);
    expect(told).toBe(0);
    vi.runAllTimers();
    expect(drawn.flat().sort()).toEqual(all.map(({ key }) => key).sort());
    expect(told).toBe(1);
  });

  it("draws everything at once where all is wanted, and where there is little", () => {
    turns.look(null);
    start();
    expect(drawn).toEqual([all.map(({ key }) => key)]);
    turns.look({ from: 0, to: 10 });
    start(all.slice(0, 4));
    expect(drawn[1]).toEqual(["closed", "L0", "L1", "L2"]);
    vi.runAllTimers();
    expect(told).toBe(0);
  });

  it("moves what leaves sight at once: it would stand where something else does", () => {
    turns.look({ from: 0, to: 600 });
    start();
    vi.runAllTimers();
    drawn = [];
    const moved = all.map((part) =>
      part.key === "L1" ? { ...part, panel: { x: 9000, width: 300 } } : part,
    );
    turns.start(moved, (now) => drawn.push(moved.filter(now).map(({ key }) => key)));
    expect(drawn[0]).toContain("L1");
    expect(drawn[0]).not.toContain("L6");
  });

  it("draws all of it when asked to, and nothing after it was stopped", () => {
    turns.look({ from: 0, to: 600 });
    start();
    turns.finish();
    expect(drawn[1]).toEqual(["L3", "L4", "L5", "L6", "L7"]);
    expect(told).toBe(1);
    start();
    turns.stop();
    vi.runAllTimers();
    expect(drawn).toHaveLength(3);
  });
});
