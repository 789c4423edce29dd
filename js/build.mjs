/**
 * Bundles the front end into visit_widget/static/widget.js and widget.css.
 *
 * The bundle is committed and the tests rebuild it, so the same source must give the same bytes on
 * every machine: no source map, no banner, no absolute paths.
 */

import { mkdir, writeFile } from "node:fs/promises";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import * as esbuild from "esbuild";
import { packed } from "./pack.mjs";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const watch = process.argv.includes("--watch");
const outFlag = process.argv.find((arg) => arg.startsWith("--outdir="));
const outdir = outFlag ? outFlag.slice("--outdir=".length) : join(root, "visit_widget", "static");

/** anywidget keeps the bundle in every saved notebook, so it has a budget: bytes of both files. */
const BUDGET_BYTES = 300_000;

/** What the bundle exports beside the widget itself. */
const NAMES = ["figureFile", "mountStandalone"];

/** The first that know `:has` and nested rules; all of them are of 2023. */
const BROWSERS = ["es2022", "chrome120", "edge120", "firefox121", "safari17.2"];

/** @type {import("esbuild").BuildOptions} */
const options = {
  absWorkingDir: root,
  entryPoints: { widget: "js/src/index.js", "widget-css": "js/src/widget.css" },
  entryNames: "widget",
  outdir,
  bundle: true,
  format: "esm",
  platform: "browser",
  target: BROWSERS,
  minify: !watch,
  sourcemap: watch ? "inline" : false,
  legalComments: "none",
  charset: "utf8",
  logLevel: "warning",
};

if (watch) {
  const context = await esbuild.context(options);
  await context.watch();
  console.log("watching js/src …");
} else {
  const { outputFiles } = await esbuild.build({ ...options, write: false });
  await mkdir(outdir, { recursive: true });
  let total = 0;
  for (const { path, text } of outputFiles) {
    const shipped = path.endsWith(".js") ? packed(text, NAMES) : text;
    await writeFile(path, shipped);
    const bytes = Buffer.byteLength(shipped);
    total += bytes;
    const plain = kilobytes(Buffer.byteLength(text));
    console.log(`${relative(root, path)}  ${kilobytes(bytes)}  (plain ${plain})`);
  }
  if (total > BUDGET_BYTES) {
    console.error(`${kilobytes(total)} are over the budget of ${kilobytes(BUDGET_BYTES)}`);
    process.exitCode = 1;
  }
}

/** @param {number} bytes */
function kilobytes(bytes) {
  return `${(bytes / 1000).toFixed(1)} kB`;
}
