import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { describe, expect, test } from "vitest";

/** The rooms of the front end, each of which may look into those before it. */
const ROOMS = ["", "wire", "state", "words", "ui", "views/shared", "views", "shell"];
/** Each view by itself: what two of them need stands in views/shared. */
const VIEWS = ["views/layers", "views/routes"];

const SRC = new URL("../src", import.meta.url).pathname;
const files = readdirSync(SRC, { recursive: true })
  .map(String)
  .filter((name) => name.endsWith(".js"));

/** @param {string} file */
function roomOf(file) {
  const own = VIEWS.find((view) => file.startsWith(`${view}/`));
  if (own) return own;
  const place = dirname(file) === "." ? "" : dirname(file);
  const within = ROOMS.filter((room) => place === room || place.startsWith(`${room}/`));
  return within.sort((a, b) => b.length - a.length)[0] ?? "";
}

/** @param {string} file */
function importsOf(file) {
  const text = readFileSync(join(SRC, file), "utf8");
  return [...text.matchAll(/^(?:import|export) (?:[^;]*? from )?"(\.[^"]+)"/gms)].map((found) =>
    relative(SRC, join(SRC, dirname(file), found[1])),
  );
}

const rank = (/** @type {string} */ room) =>
  VIEWS.includes(room) ? ROOMS.indexOf("views/shared") + 0.5 : ROOMS.indexOf(room);

describe("rooms", () => {
  // What starts everything looks everywhere.
  test.each(files.filter((file) => file !== "index.js"))("%s looks one way", (file) => {
    const room = roomOf(file);
    for (const other of importsOf(file).map(roomOf)) {
      if (other === room) continue;
      expect(`${room} ← ${other}`).toBe(
        rank(other) < rank(room) ? `${room} ← ${other}` : "one way",
      );
    }
  });

  test("imports are found at all", () => {
    expect(importsOf("views/index.js")).toContain("views/layers/view.js");
    expect(roomOf("views/layers/layout/scene.js")).toBe("views/layers");
  });
});
