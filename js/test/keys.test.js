import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { KEYS, keyLines, keyNames, pressed } from "../src/words/keys.js";

const event = (key, more = {}) =>
  /** @type {any} */ ({
    key,
    ctrlKey: false,
    metaKey: false,
    altKey: false,
    shiftKey: false,
    ...more,
  });

describe("keys", () => {
  test.each([
    ["/", {}, "search"],
    ["/", { shiftKey: true }, "search"],
    ["?", { shiftKey: true }, "help"],
    ["u", {}, "undo"],
    ["U", { shiftKey: true }, "redo"],
    ["z", { metaKey: true }, "undo"],
    ["Z", { ctrlKey: true, shiftKey: true }, "redo"],
    ["y", { ctrlKey: true }, "redo"],
    ["z", {}, null],
    ["u", { ctrlKey: true }, null],
    ["u", { altKey: true }, null],
    ["/", { ctrlKey: true }, null],
  ])("%j with %j is %s", (key, more, name) => {
    expect(pressed(event(key, more), "search", "help", "undo", "redo")).toBe(name);
  });

  test("the space bar is a key with a name", () => {
    expect(pressed(event(" "), "open", "add")).toBe("open");
    expect(pressed(event(" ", { shiftKey: true }), "open", "add")).toBe("add");
    expect(pressed(event("Enter", { metaKey: true }), "open", "add")).toBe("add");
  });

  test("the help has every one of them, once", () => {
    const told = keyLines().flatMap(({ place, on }) => on.map((keys) => `${place}: ${keys}`));
    const all = Object.values(KEYS).flatMap(({ place, on }) =>
      on.map((keys) => `${place}: ${keys}`),
    );
    expect([...told].sort()).toEqual([...all].sort());
    expect(new Set(told).size).toBe(told.length);
    expect(keyNames("Ctrl+Shift+z")).toEqual(["Ctrl", "Shift", "Z"]);
    expect(keyNames("ArrowLeft")).toEqual(["←"]);
  });

  test("no two keys of a place do different things", () => {
    const all = Object.values(KEYS).flatMap(({ place, on }) =>
      on.map((keys) => `${place}: ${keys}`),
    );
    expect(new Set(all).size).toBe(all.length);
  });

  // What no listener asks the table for would not be in the help.
  const SRC = new URL("../src", import.meta.url).pathname;
  const files = readdirSync(SRC, { recursive: true })
    .map(String)
    .filter((name) => name.endsWith(".js") && name !== "words/keys.js");
  const texts = files.map((name) => ({ name, text: readFileSync(join(SRC, name), "utf8") }));

  test("nobody reads a key but from the table", () => {
    const names = "Enter|Escape|Tab|Home|End|Space|Backspace|Delete|Page\\w+";
    const own = new RegExp(`event\\.(key|code)\\b|=== "(${names})"`);
    const wrong = texts.filter(({ text }) => own.test(text));
    expect(wrong.map(({ name }) => name)).toEqual([]);
    expect(own.test('if (event.key === "Enter")')).toBe(true);
  });

  test("every key of the table is listened to", () => {
    const asked = texts.flatMap(({ text }) =>
      [...text.matchAll(/pressed\(event, ([^)]*)\)/g)].flatMap((found) =>
        [...found[1].matchAll(/"(\w+)"/g)].map((name) => name[1]),
      ),
    );
    expect([...new Set(asked)].sort()).toEqual(Object.keys(KEYS).sort());
  });
});
