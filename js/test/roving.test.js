// @vitest-environment jsdom
import { beforeEach, describe, expect, test } from "vitest";
import { h } from "../src/ui/dom.js";
import { createRoving } from "../src/ui/roving.js";

const button = (name, more = {}) => h("button", { "data-role": name, ...more }, name);
const press = (key, more = {}) => {
  const event = new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true, ...more });
  document.activeElement.dispatchEvent(event);
  return event;
};
const stops = (el) => [...el.querySelectorAll("[tabindex='0']")].map(({ dataset }) => dataset.role);
const active = () => document.activeElement.dataset.role;
const settled = () => new Promise((done) => setTimeout(done));

describe("one tab stop", () => {
  let el;
  let roving;
  beforeEach(() => {
    el = h("div", {}, button("a"), button("off", { disabled: true }), button("b"), button("c"));
    document.body.replaceChildren(el);
    roving = createRoving(el);
  });

  test("is the first control, then the one that had the focus last", () => {
    expect(stops(el)).toEqual(["a"]);
    el.querySelector("[data-role='b']").focus();
    expect(stops(el)).toEqual(["b"]);
  });

  test("is left by arrows, which pass over what is disabled and stop at the ends", () => {
    el.querySelector("[data-role='a']").focus();
    expect(press("ArrowRight").defaultPrevented).toBe(true);
    expect(active()).toBe("b");
    press("End");
    press("ArrowDown");
    expect(active()).toBe("c");
    press("Home");
    expect(active()).toBe("a");
    expect(press("ArrowRight", { ctrlKey: true }).defaultPrevented).toBe(false);
    expect(active()).toBe("a");
  });

  test("leaves a list of choices its own arrows", () => {
    el.append(h("select", { "data-role": "list" }, h("option", {}, "one")));
    el.querySelector("select").focus();
    expect(press("ArrowDown").defaultPrevented).toBe(false);
    press("ArrowLeft");
    expect(active()).toBe("c");
  });

  test("is the same control where all are drawn anew, else the one in its place", async () => {
    el.querySelector("[data-role='b']").focus();
    el.replaceChildren(button("b"), button("d"));
    await settled();
    expect(stops(el)).toEqual(["b"]);
    el.replaceChildren(button("e"), button("f"));
    roving.restore();
    expect(active()).toBe("e");
  });

  test("moves on when its control is disabled, and not while it holds the focus", async () => {
    el.querySelector("[data-role='a']").disabled = true;
    await settled();
    expect(stops(el)).toEqual(["b"]);
    roving.prefer(el.querySelector("[data-role='c']"));
    expect(stops(el)).toEqual(["c"]);
    el.querySelector("[data-role='b']").focus();
    roving.prefer(el.querySelector("[data-role='c']"));
    expect(stops(el)).toEqual(["b"]);
  });

  test("has nothing to give back where it is hidden or empty", () => {
    el.hidden = true;
    expect(roving.restore()).toBe(false);
    el.hidden = false;
    el.replaceChildren();
    expect(roving.restore()).toBe(false);
  });
});
