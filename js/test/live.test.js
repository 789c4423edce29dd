// @vitest-environment jsdom
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { createLiveRegion } from "../src/shell/live.js";
import { initialState } from "../src/state/state.js";

describe("the live region", () => {
  const controller = { getState: () => initialState };
  const attach = () => {
    const root = document.createElement("div");
    root.tabIndex = 0;
    document.body.append(root);
    const live = createLiveRegion(root, controller);
    root.append(live.el);
    return { root, ...live };
  };
  let all;
  beforeEach(() => {
    vi.useFakeTimers();
    document.body.replaceChildren();
    all = [attach(), attach()];
  });
  afterEach(() => {
    for (const each of all) each.destroy();
    vi.useRealTimers();
  });
  const words = () => all.map(({ el }) => el.textContent);
  const tell = (topic, text) => {
    for (const each of all) each.add(topic, text);
  };

  test("is polite, waits for calm, and says the last of each topic", () => {
    expect(all[0].el.getAttribute("aria-live")).toBe("polite");
    for (let at = 0; at < 20; at += 1) {
      tell("graph", `graph ${at}`);
      vi.advanceTimersByTime(200);
      expect(words()).toEqual(["", ""]);
    }
    tell("selection", "chosen");
    vi.advanceTimersByTime(400);
    expect(words()).toEqual(["graph 19 chosen", ""]);
  });

  test("is that of the cell that the reader is in", () => {
    all[1].root.focus();
    tell("graph", "new");
    vi.advanceTimersByTime(400);
    expect(words()).toEqual(["", "new"]);
  });

  test("does not repeat itself, but says again what happens again later", () => {
    const seen = [];
    const watch = new MutationObserver((records) => seen.push(...records));
    watch.observe(all[0].el, { childList: true });
    tell("graph", "new");
    vi.advanceTimersByTime(400);
    tell("graph", "new");
    vi.advanceTimersByTime(400);
    seen.push(...watch.takeRecords());
    expect(seen).toHaveLength(1);
    vi.advanceTimersByTime(5_000);
    expect(words()).toEqual(["", ""]);
    tell("graph", "new");
    vi.advanceTimersByTime(400);
    expect(words()).toEqual(["new", ""]);
  });
});
