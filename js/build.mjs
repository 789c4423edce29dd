/**
 * Bundles the front end into visit_widget/static/widget.js and widget.css.
 *
 * The bundle is committed and the tests rebuild it, so the same source must give the same bytes on
 * every machine: no source map, no banner, no absolute paths.
 */

import { mkdir, readFile } from "node:fs/promises";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import * as esbuild from "esbuild";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const watch = process.argv.includes("--watch");
const outFlag = process.argv.find((arg) => arg.startsWith("--outdir="));
const outdir = outFlag ? outFlag.slice("--outdir=".length) : join(root, "visit_widget", "static");

/** anywidget keeps the bundle in every saved notebook, so it has a budget. */
const BUDGET_BYTES = 280_000;

/** @type {import("esbuild").BuildOptions} */
const options = {
  absWorkingDir: root,
  entryPoints: { widget: "js/src/index.js", "widget-css": "js/src/widget.css" },
  entryNames: "widget",
  outdir,
  bundle: true,
  format: "esm",
  platform: "browser",
  target: "es2022",
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
  await mkdir(outdir, { recursive: true });
  await esbuild.build(options);
  for (const name of ["widget.js", "widget.css"]) {
    const bytes = await readFile(join(outdir, name));
    const kilobytes = (size) => `${(size / 1000).toFixed(1)} kB`;
    const zipped = gzipSync(bytes).length;
    console.log(
      `${relative(root, join(outdir, name))}  ${kilobytes(bytes.length)}  (${kilobytes(zipped)} gzipped)`,
    );
    if (bytes.length > BUDGET_BYTES) {
      console.error(`${name} is over its budget of ${kilobytes(BUDGET_BYTES)}`);
      process.exitCode = 1;
    }
  }
}
