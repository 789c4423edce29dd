/** The chart of the target's rank by depth. */

import { settle } from "../../shared/motion.js";

/** @typedef {import("d3-selection").Selection<SVGGElement, unknown, any, any>} Group */

/**
 * @param {Group} group
 * @param {import("../layout/rank.js").RankChart} chart
 * @param {import("../../shared/motion.js").Motion} motion
 */
export function drawRank(group, chart, motion) {
  group.attr("role", "img").attr("aria-label", chart.summary);
  settle(group.datum(chart), motion, { transform: (d) => `translate(0,${d.y})` });

  const ticks = group
    .selectAll("g.vw-rank-tick")
    .data(chart.ticks)
    .join((enter) => {
      const tick = enter.append("g").attr("class", "vw-rank-tick");
      tick.append("line");
      tick.append("text").attr("text-anchor", "end").attr("dy", "0.34em");
      return tick;
    })
    .attr("transform", (d) => `translate(0,${d.y})`);
  ticks.select("line").attr("x1", chart.left).attr("x2", chart.right);
  ticks
    .select("text")
    .attr("x", chart.left - 8)
    .text((d) => d.text);

  const line = (/** @type {string} */ name, /** @type {string[]} */ ...d) => {
    const path = group.selectAll(`path.${name}`).data(d);
    path.exit().remove();
    const entered = path
      .enter()
      .append("path")
      .attr("class", name)
      .attr("d", (value) => value);
    settle(path, motion, { d: (value) => value });
    return entered;
  };
  line("vw-rank-area", chart.area);
  line("vw-rank-line", chart.line);
  line("vw-rank-before", ...chart.before);
  line("vw-rank-there", ...chart.there);

  const ends = group.selectAll("circle.vw-rank-end").data(chart.end ? [chart.end] : []);
  ends.exit().remove();
  const dot = ends.enter().append("circle").attr("class", "vw-rank-end").attr("r", 3);
  settle(dot, { animated: false }, { cx: (d) => d.x, cy: (d) => d.y });
  settle(ends, motion, { cx: (d) => d.x, cy: (d) => d.y });

  const axis = group
    .selectAll("text.vw-rank-axis")
    .data(chart.axis)
    .join("text")
    .attr("class", (d) => `vw-rank-axis${d.strong ? " strong" : ""}`)
    .attr("y", chart.axisY)
    .attr("text-anchor", "middle")
    .text((d) => d.text);
  settle(axis, motion, { x: (d) => d.x });

  /** @type {{name: string, x: number, y: number, text: string, anchor: string}[]} */
  const words = [
    { name: "title", x: chart.left, y: 2, text: chart.title, anchor: "start" },
    {
      name: "axis",
      x: chart.left - 8,
      y: chart.axisY,
      text: chart.left < 40 ? "" : "layer",
      anchor: "end",
    },
  ];
  group
    .selectAll("text.vw-rank-word")
    .data(words)
    .join("text")
    .attr("class", (d) => `vw-rank-word ${d.name}`)
    .attr("x", (d) => d.x)
    .attr("y", (d) => d.y)
    .attr("text-anchor", (d) => d.anchor)
    .text((d) => d.text);
}
