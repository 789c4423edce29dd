/** The prediction's bars, each a button that makes its token the target. */

import { keepApart, writeToken } from "../../shared/glyphs.js";
import { appear, leave, settle, staying } from "../../shared/motion.js";

/** @typedef {import("../layout/prediction.js").PredictionRow} PredictionRow */
/** @typedef {import("d3-selection").Selection<SVGGElement, unknown, any, any>} Group */

/**
 * @param {Group} group
 * @param {import("../layout/prediction.js").Prediction} prediction
 * @param {import("../../shared/motion.js").Motion} motion
 */
export function drawPrediction(group, prediction, motion) {
  const flows = group
    .selectAll("path.vw-outflow")
    .data(prediction.ribbons, (d) => /** @type {any} */ (d).key);
  flows.exit().remove();
  const fresh = flows
    .enter()
    .append("path")
    .attr("d", (d) => d.path);
  settle(flows, motion, { d: (d) => d.path });
  fresh.merge(/** @type {any} */ (flows)).attr("class", (d) => `vw-outflow ${d.role}`);

  const heading = group.selectAll("text.vw-prediction-heading").data([prediction.heading]);
  const newHeading = heading.enter().append("text").attr("class", "vw-prediction-heading");
  settle(newHeading, { animated: false }, { x: (d) => d.x, y: (d) => d.y });
  settle(heading, motion, { x: (d) => d.x, y: (d) => d.y });
  newHeading.text((d) => d.text);
  drawRows(group, prediction.rows, motion);
}

/**
 * @param {Group} group
 * @param {PredictionRow[]} rows
 * @param {import("../../shared/motion.js").Motion} motion
 */
function drawRows(group, rows, motion) {
  const items =
    /** @type {import("d3-selection").Selection<SVGGElement, PredictionRow, any, any>} */ (
      group.selectAll(staying("g.vw-token-row"))
    );
  const place = (/** @type {PredictionRow} */ { x, y }) => `translate(${x},${y})`;
  const joined = items.data(rows, (d) => d.id);
  leave(joined.exit(), { animated: false });
  const entered = joined.enter().append("g").call(appear, motion).attr("transform", place);
  entered.append("rect").attr("class", "vw-halo").attr("rx", 4);
  entered.append("rect").attr("class", "vw-bar").attr("rx", 3);
  entered.append("text").attr("class", "vw-text token");
  entered.append("text").attr("class", "vw-text number").attr("text-anchor", "end");
  settle(joined, motion, { transform: place });
  const merged = entered.merge(joined);
  merged
    .attr("class", (d) => `vw-token-row ${d.role}`)
    .attr("data-role", "prediction")
    .attr("data-token", (d) => d.id)
    .attr("data-nav", (d) => `token:${d.id}`)
    .attr("role", "button")
    .attr("aria-label", (d) => d.name);
  merged
    .select("rect.vw-halo")
    .attr("width", (d) => d.width)
    .attr("height", (d) => d.height);
  merged.select("rect.vw-bar").attr("height", (d) => d.height);
  settle(merged.select("rect.vw-bar"), motion, { width: (d) => d.bar });
  merged
    .select("text.token")
    .attr("x", 12)
    .attr("y", (d) => d.height / 2 + 4)
    .each(function write(d) {
      writeToken(/** @type {SVGTextElement} */ (this), d);
    });
  merged
    .select("text.number")
    .attr("x", (d) => d.width - 7)
    .attr("y", (d) => d.height / 2 + (d.was || d.there ? -1 : 4))
    .text((d) => d.number);
  const others = (
    /** @type {"was" | "there"} */ kind,
    /** @type {"rect" | "text"} */ tag,
    /** @type {(row: PredictionRow) => boolean} */ has = (row) => row[kind] !== null,
  ) =>
    merged
      .selectAll(`${tag}.${kind}`)
      .data((d) => (has(d) ? [d] : []))
      .join(tag)
      .attr("class", kind);
  others("was", "rect")
    .attr("y", 0.5)
    .attr("rx", 3)
    .attr("height", (d) => d.height - 1)
    .attr("width", (d) => d.was?.bar ?? 0);
  // As thin as what is beside the matter, under the bar of the prompt that is shown.
  others("there", "rect")
    .attr("y", (d) => d.height - 3)
    .attr("rx", 1)
    .attr("height", 3)
    .attr("width", (d) => d.there?.bar ?? 0);
  for (const kind of /** @type {const} */ (["was", "there"])) {
    // There is room for one more number: for what was, where something is done.
    others(kind, "text", (d) => d[kind] !== null && (kind === "was" || d.was === null))
      .attr("text-anchor", "end")
      .attr("x", (d) => d.width - 7)
      .attr("y", (d) => d.height / 2 + 9)
      .text((d) => (d.number && d[kind]?.text) || "");
  }
  merged.each(keepApart);
}
