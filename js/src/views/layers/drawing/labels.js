/** The strongest writers' words, with leaders to who wrote them. */

import { writeToken } from "../../shared/glyphs.js";
import { appear, leave, settle, staying } from "../../shared/motion.js";

/** @typedef {import("../layout/overview.js").WriterLabel} WriterLabel */
/** @typedef {import("d3-selection").Selection<SVGGElement, unknown, any, any>} Group */

/**
 * @param {Group} group
 * @param {WriterLabel[]} labels
 * @param {import("../../shared/motion.js").Motion} motion
 */
export function drawWriterLabels(group, labels, motion) {
  const items =
    /** @type {import("d3-selection").Selection<SVGGElement, WriterLabel, any, any>} */ (
      group.selectAll(staying("g.vw-writer"))
    );
  const place = (/** @type {WriterLabel} */ { x, y }) => `translate(${x},${y})`;
  const joined = items.data(labels, (d) => d.id);
  leave(joined.exit(), motion);
  const entered = joined.enter().append("g").call(appear, motion).attr("transform", place);
  entered.append("line").attr("class", "vw-leader");
  entered.append("rect").attr("class", "vw-halo");
  entered.append("text").attr("class", "vw-text strong");
  entered.append("text").attr("class", "vw-text number").attr("y", 14);
  settle(joined, motion, { transform: place });

  const merged = entered.merge(joined);
  merged
    .attr("class", function classes() {
      return this.classList.contains("vw-appear") ? "vw-writer vw-appear" : "vw-writer";
    })
    .attr("data-label-of", (d) => d.id)
    .attr("text-anchor", "middle")
    .attr("aria-hidden", "true");
  merged
    .select("rect.vw-halo")
    .attr("x", (d) => -d.width / 2 - 4)
    .attr("y", -13)
    .attr("width", (d) => d.width + 8)
    .attr("height", 31)
    .attr("rx", 4);
  merged.select("text.strong").each(function write(d) {
    writeToken(/** @type {SVGTextElement} */ (this), d);
  });
  merged
    .select("text.number")
    .attr("class", (d) => `vw-text number tone-${d.tone}`)
    .text((d) => d.number);
  const ends = {
    x1: (/** @type {WriterLabel} */ d) => d.leader.x - d.x,
    x2: (/** @type {WriterLabel} */ d) => d.leader.x - d.x,
    y1: (/** @type {WriterLabel} */ d) => d.leader.from - d.y,
    y2: (/** @type {WriterLabel} */ d) => d.leader.to - d.y,
  };
  settle(merged.select("line.vw-leader"), { animated: false }, ends);
}
