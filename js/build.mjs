/**
 * Bundles the front end into visit_widget/static/widget.js and widget.css.
 *
 * The bundle is committed and the tests rebuild it, so the same source must give the same bytes on
 * every machine: no source map, no banner, no absolute paths.
 */

import { mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { minify } from "@swc/core";
import * as esbuild from "esbuild";
import { arrows } from "./arrows.mjs";
import { namedTexts } from "./strings.mjs";
import { shortSheet, shortTokens } from "./tokens.mjs";
import { trimSelections } from "./trim.mjs";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const watch = process.argv.includes("--watch");
const outFlag = process.argv.find((arg) => arg.startsWith("--outdir="));
const outdir = outFlag ? outFlag.slice("--outdir=".length) : join(root, "visit_widget", "static");

/** anywidget keeps the bundle in every saved notebook, so it has a budget: bytes of both files. */
const BUDGET_BYTES = 300_000;

/** The first that know `:has` and nested rules; all of them are of 2023. */
const BROWSERS = ["es2022", "chrome120", "edge120", "firefox121", "safari17.2"];

/** Long names that never leave the bundle, and stand in no text: written short in it. */
const INNER_NAMES = `
  dispatch getState animated headRight carriers closedWidth neuronKeyX neuronKeyRight barWidth
  barHeight attentionOthers rowHeight labelRoom density searchVocabulary detailsAsked
  detailsMissing auditAsked lateMissing oldDetails reducedMotion bands lateAsked rowRight
  neuronX onProblem valueRight tokenRight neuronKeys neuronKeyLabel postX outflows lowerRoom
  onClose keyNumbers headX upperRoom mlpOthers headLabel midX valueX valueLabel startWidth
  riverTexts widthOf keyRight keyLabel valueNumbers fillIn stackRoom readAudit markWidth
  laneNames neuronLabel axisY strands hovered keyX onChoose againstX markHeight noneLabel slotY`;

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
  mangleProps: watch ? undefined : new RegExp(`^(${INNER_NAMES.trim().split(/\s+/).join("|")})$`),
  sourcemap: watch ? "inline" : false,
  legalComments: "none",
  charset: "utf8",
  plugins: [trimSelections],
  logLevel: "warning",
};

if (watch) {
  const context = await esbuild.context(options);
  await context.watch();
  console.log("watching js/src …");
} else {
  await mkdir(outdir, { recursive: true });
  await esbuild.build(options);
  const read = (/** @type {string} */ name) => readFile(join(outdir, name), "utf8");
  const written = await smaller(await read("widget.js"), await read("widget.css"));
  let total = 0;
  for (const [name, text] of Object.entries(written)) {
    const path = join(outdir, name);
    await writeFile(path, text);
    const bytes = Buffer.byteLength(text);
    total += bytes;
    const zipped = kilobytes(gzipSync(text).length);
    console.log(`${relative(root, path)}  ${kilobytes(bytes)}  (${zipped} gzipped)`);
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

/**
 * What esbuild leaves: a second minifier gets 4 % more out of the same code, and another 1 % once
 * functions are arrows; what is said again and again is said once. No property is renamed.
 *
 * @param {string} script
 * @param {string} sheet
 * @returns {Promise<Record<string, string>>} By file name.
 */
async function smaller(script, sheet) {
  const compress = { ecma: 2022, module: true, passes: 4, unsafe_arrows: true };
  const minified = async (/** @type {string} */ code) =>
    (await minify(code, { module: true, ecma: 2022, compress, mangle: true })).code;
  const code = await namedTexts(await minified(await arrows(await minified(script))));
  const [js, css] = shortTokens([code, shortSheet(sheet)]);
  return { "widget.js": js, "widget.css": css };
}
