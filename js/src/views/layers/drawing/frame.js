/** The stage's fixed skeleton: a scroller, one SVG, its groups from back to front, its patterns. */

import { select } from "d3-selection";
import { drawHatch } from "../../shared/hatch.js";
import { BANK, MOUTH_DEPTH } from "../layout/parts.js";

let made = 0;

/** @typedef {import("d3-selection").Selection<SVGGElement, unknown, any, any>} Group */

/** @param {HTMLElement} el */
export function createFrame(el) {
  made += 1;
  const prefix = `vw-${made}-${Math.random().toString(36).slice(2, 7)}`;
  const root = select(el).append("div").attr("class", "vw-scroller");
  const svg = root.append("svg").attr("class", "vw-stage").attr("role", "group");
  const defs = svg.append("defs");
  drawHatch(defs, `${prefix}-hatch`);
  drawMouth(defs, `${prefix}-above`, -1);
  drawMouth(defs, `${prefix}-below`, 1);

  const group = (/** @type {any} */ parent, /** @type {string} */ name) =>
    /** @type {Group} */ (parent.append("g").attr("class", name));
  const stream = group(svg, "vw-stream");
  return {
    root,
    svg,
    hatch: `url(#${prefix}-hatch)`,
    stream,
    panels: group(stream, "vw-panels"),
    reads: group(stream, "vw-reads"),
    cells: group(stream, "vw-cells"),
    prediction: group(stream, "vw-prediction"),
    inside: group(stream, "vw-inside"),
    above: group(stream, "vw-above").attr("mask", `url(#${prefix}-above)`),
    below: group(stream, "vw-below").attr("mask", `url(#${prefix}-below)`),
    riverTexts: group(stream, "vw-river-texts"),
    laneNames: group(stream, "vw-lane-names"),
    areas: group(stream, "vw-areas"),
    sources: group(stream, "vw-sources"),
    nodes: group(stream, "vw-nodes"),
    labels: group(stream, "vw-labels"),
    composed: group(stream, "vw-composed"),
    outliers: group(stream, "vw-outliers"),
    closes: group(stream, "vw-shuts"),
    rank: group(svg, "vw-rank"),
    legend: group(svg, "vw-legend"),
  };
}

/**
 * Tributaries dissolve just inside the bank.
 * @param {any} defs
 * @param {string} id
 * @param {-1 | 1} side
 */
function drawMouth(defs, id, side) {
  const far = 40_000;
  const gradient = defs
    .append("linearGradient")
    .attr("id", `${id}-fade`)
    .attr("gradientUnits", "userSpaceOnUse")
    .attr("x1", 0)
    .attr("x2", 0)
    .attr("y1", side * (BANK + 1))
    .attr("y2", side * (BANK - MOUTH_DEPTH - 2));
  gradient.append("stop").attr("offset", 0).attr("stop-color", "#fff");
  gradient.append("stop").attr("offset", 1).attr("stop-color", "#000");
  const mask = defs
    .append("mask")
    .attr("id", id)
    .attr("maskUnits", "userSpaceOnUse")
    .attr("x", -100)
    .attr("y", side < 0 ? -far : 0)
    .attr("width", far)
    .attr("height", far);
  mask
    .append("rect")
    .attr("x", -100)
    .attr("y", side < 0 ? -far : 0)
    .attr("width", far)
    .attr("height", far)
    .attr("fill", `url(#${id}-fade)`);
}
