/** The key under the picture. */

import { select } from "d3-selection";
import { SHADE_SWATCH } from "./legendLayout.js";
import { settle } from "./motion.js";
import { SHADE_RANKS } from "./scales.js";

/** @typedef {import("./legendLayout.js").LegendItem} LegendItem */
/** @typedef {import("d3-selection").Selection<SVGGElement, unknown, any, any>} Group */

/**
 * @param {Group} group
 * @param {import("./legendLayout.js").Legend} legend
 * @param {string} hatch
 * @param {import("./motion.js").Motion} motion
 */
export function drawLegend(group, legend, hatch, motion) {
  group.attr("role", "img").attr("aria-label", legendName(legend.items));
  settle(group.datum(legend), motion, { transform: (d) => `translate(0,${d.y})` });
  const items = group
    .selectAll("g.vw-key")
    .data(legend.items, (d) => /** @type {LegendItem} */ (d).key)
    .join("g")
    .attr("class", "vw-key")
    .attr("transform", (d) => `translate(${d.x},${d.y})`);
  items.each(function draw(item) {
    const key = select(this);
    key.selectAll("*").remove();
    drawMark(key, item, hatch);
    key
      .append("text")
      .attr("x", item.markWidth + 7)
      .attr("y", 9)
      .attr("font-size", legend.size ?? null)
      .text(item.text);
  });
}

/**
 * @param {import("d3-selection").Selection<any, any, any, any>} key
 * @param {LegendItem} item
 * @param {string} hatch
 */
function drawMark(key, { mark, markWidth, markHeight }, hatch) {
  if (mark === "shades") {
    SHADE_RANKS.forEach((rank, shade) => {
      const swatch = key
        .append("rect")
        .attr("class", `vw-cell shade-${shade}`)
        .attr("x", shade * SHADE_SWATCH)
        .attr("width", SHADE_SWATCH)
        .attr("height", 11);
      swatch
        .append("title")
        .text(Number.isFinite(rank) ? `rank up to ${rank}` : "rank over 10,000");
    });
    return;
  }
  if (mark === "strong" || mark === "small") {
    key
      .append("text")
      .attr("class", `vw-text ${mark}`)
      .attr("x", markWidth)
      .attr("y", 9)
      .attr("text-anchor", "end")
      .text("ab");
    return;
  }
  if (mark === "measured") {
    key
      .append("path")
      .attr("class", "vw-measured positive")
      .attr("d", `M${markWidth - 9},1h6m-3,0v9m-3,0h6`);
    return;
  }
  if (mark === "read") {
    key
      .append("path")
      .attr("class", "vw-ribbon key kind-read line neutral")
      .attr("d", `M0,5.5H${markWidth}`);
    return;
  }
  if (mark === "opaque" || mark === "gathered") {
    const [width, height] = mark === "opaque" ? [8, 14] : [5, 9];
    key
      .append("rect")
      .attr("class", "vw-shape key")
      .attr("x", markWidth - width)
      .attr("y", 5.5 - height / 2)
      .attr("width", width)
      .attr("height", height)
      .attr("rx", mark === "opaque" ? 0 : 1.5);
    return;
  }
  const tone = mark === "scale" ? "rest" : mark;
  key
    .append("rect")
    .attr("class", `vw-ribbon key ${tone}`)
    .attr("y", 5.5 - markHeight / 2)
    .attr("width", markWidth)
    .attr("height", markHeight)
    .attr("fill", mark === "negative" ? hatch : null);
  if (mark === "positive" || mark === "negative") {
    key
      .append("rect")
      .attr("class", `vw-shape key ${mark}`)
      .attr("x", 0)
      .attr("y", 1)
      .attr("width", 5)
      .attr("height", 9)
      .attr("rx", 1.5);
  }
}

/** @param {LegendItem[]} items */
const legendName = (items) => `Key: ${items.map(({ text }) => text).join("; ")}`;
