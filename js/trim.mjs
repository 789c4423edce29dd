/**
 * D3's selections without the methods that nothing here calls: they hang on one prototype, which
 * keeps a bundler from leaving them out. The tests of the front end run on the same selections.
 */

import { readFile } from "node:fs/promises";

export const SELECTIONS = /d3-selection[\\/]src[\\/]selection[\\/]index\.js$/;

const UNUSED = [
  "selectChild",
  "selectChildren",
  "sort",
  "style",
  "html",
  "lower",
  "insert",
  "clone",
  "on",
  "dispatch",
];

/** @param {string} code Of the file that is called SELECTIONS. */
export function trim(code) {
  return UNUSED.reduce((rest, method) => {
    const entry = new RegExp(`^ *${method}: (\\w+),?\\n`, "m");
    const name = entry.exec(rest)?.[1];
    if (!name) throw new Error(`d3-selection has no method ${method}: js/trim.mjs is out of date`);
    return rest.replace(entry, "").replace(new RegExp(`^import ${name} from .*\\n`, "m"), "");
  }, code);
}

/** @type {import("esbuild").Plugin} */
export const trimSelections = {
  name: "trim-selections",
  setup({ onLoad }) {
    onLoad({ filter: SELECTIONS }, async ({ path }) => ({
      contents: trim(await readFile(path, "utf8")),
    }));
  },
};
