/** The river: its stretches, shaded by the target's rank, and the words that stand in it. */

import { writeToken } from "../../shared/glyphs.js";
import { appear, leave, settle, staying } from "../../shared/motion.js";
import { BANK, RIVER_HEIGHT } from "../layout/parts.js";

/** @typedef {import("../layout/parts.js").SceneCell} SceneCell */
/** @typedef {import("../layout/parts.js").RiverText} RiverText */
/** @typedef {import("d3-selection").Selection<SVGGElement, unknown, any, any>} Group */

const ROUNDING = 6;

/** @param {SceneCell} cell */
function cellPath({ x, width, round }) {
  const [left, right] = [x, x + width + (round === "right" ? 0 : 0.6)];
  const l = round === "left" ? ROUNDING : 0;
  const r = round === "right" ? ROUNDING : 0;
  return (
    `M${left + l},${-BANK}H${right - r}Q${right},${-BANK} ${right},${-BANK + r}` +
    `V${BANK - r}Q${right},${BANK} ${right - r},${BANK}` +
    `H${left + l}Q${left},${BANK} ${left},${BANK - l}V${-BANK + l}Q${left},${-BANK} ${left + l},${-BANK}Z`
  );
}

/**
 * @param {Group} group
 * @param {SceneCell[]} cells
 * @param {number[]} breaks
 * @param {Set<number>} open Layers whose stretches are nodes of their own: a closed one says all.
 * @param {import("../../shared/motion.js").Motion} motion
 */
export function drawCells(group, cells, breaks, open, motion) {
  const isStop = (/** @type {SceneCell} */ { layer }) => layer === null || open.has(layer);
  const paths =
    /** @type {import("d3-selection").Selection<SVGPathElement, SceneCell, any, any>} */ (
      group.selectAll(staying("path.vw-cell"))
    );
  const joined = paths.data(cells, (d) => d.id);
  leave(joined.exit(), { animated: false });
  const entered = joined.enter().append("path").attr("d", cellPath);
  settle(joined, motion, { d: cellPath });
  entered
    .merge(joined)
    .attr("class", function classes(d) {
      const kept = this.classList.contains("selected") ? " selected" : "";
      return `vw-cell shade-${d.shade}${d.edit ? " edited" : ""}${kept}`;
    })
    .attr("data-node", (d) => d.id)
    .attr("data-kind", (d) => d.kind)
    .attr("data-layer", (d) => d.layer)
    .attr("data-nav", (d) => (isStop(d) ? `node:${d.id}` : null))
    .attr("tabindex", (d) => (isStop(d) ? "-1" : null))
    .attr("aria-hidden", (d) => (isStop(d) ? null : "true"))
    .attr("role", "button")
    .attr("aria-label", (d) => d.name);

  const lines = /** @type {import("d3-selection").Selection<SVGLineElement, number, any, any>} */ (
    group.selectAll("line.vw-break")
  );
  const split = lines.data(breaks);
  split.exit().remove();
  const fresh = split.enter().append("line").attr("class", "vw-break");
  fresh.attr("x1", (d) => d).attr("x2", (d) => d);
  fresh.attr("y1", -RIVER_HEIGHT / 2).attr("y2", RIVER_HEIGHT / 2);
  fresh.raise();
  settle(split, motion, { x1: (d) => d, x2: (d) => d });
  lines.raise();
}

/**
 * @param {Group} group
 * @param {Set<string>} selected
 */
export function markCells(group, selected) {
  /** @type {import("d3-selection").Selection<SVGPathElement, SceneCell, any, any>} */ (
    group.selectAll(staying("path.vw-cell"))
  )
    .classed("selected", (d) => selected.has(d.id))
    .attr("aria-pressed", (d) => String(selected.has(d.id)));
}

/**
 * @param {Group} group
 * @param {RiverText[]} texts
 * @param {import("../../shared/motion.js").Motion} motion
 */
export function drawRiverTexts(group, texts, motion) {
  const items = /** @type {import("d3-selection").Selection<SVGGElement, RiverText, any, any>} */ (
    group.selectAll(staying("g.vw-river-text"))
  );
  const place = (/** @type {RiverText} */ { x }) => `translate(${x},0)`;
  const joined = items.data(texts, (d) => d.key);
  leave(joined.exit(), { animated: false });
  const entered = joined.enter().append("g").call(appear, motion).attr("transform", place);
  entered.append("text").attr("class", "vw-river-word");
  entered.append("text").attr("class", "vw-river-caption").attr("y", 12);
  settle(joined, motion, { transform: place });
  const merged = entered.merge(joined);
  merged
    .attr("class", function classes(d) {
      const kept = this.classList.contains("vw-appear") ? " vw-appear" : "";
      return `vw-river-text ink-${d.shade}${d.muted ? " muted" : ""}${kept}`;
    })
    .attr("text-anchor", (d) => d.anchor);
  merged
    .select("text.vw-river-word")
    .attr("y", (d) => (d.caption ? -2 : 4.2) + (d.was || d.there ? 2 : 0))
    .attr("font-size", (d) => d.size)
    .each(function write(d) {
      writeToken(/** @type {SVGTextElement} */ (this), d);
    });
  merged.select("text.vw-river-caption").text((d) => d.caption ?? "");
  for (const kind of /** @type {const} */ (["was", "there"])) {
    merged
      .selectAll(`text.${kind}`)
      .data((d) => (d[kind] ? [d] : []))
      .join("text")
      .attr("class", `vw-river-caption ${kind}`)
      .attr("y", (d) => (d.caption ? -10 : -8))
      .attr("data-label-of", (d) => (kind === "there" && d.of) || null)
      .attr("data-bring", (d) => (kind === "there" && d.of) || null)
      .text((d) => d[kind] ?? "");
  }
}

/** What the parting's mark takes beyond the river's banks. */
const BEYOND = 7;

/**
 * The mark of where two prompts part: a line across the river, that goes two ways at its top.
 * @param {Group} group
 * @param {{x: number, name: string} | null} parting
 * @param {import("../../shared/motion.js").Motion} motion
 */
export function drawParting(group, parting, motion) {
  const marks =
    /** @type {import("d3-selection").Selection<SVGGElement, {x: number, name: string}, any, any>} */ (
      group.selectAll("g.vw-parting")
    );
  const joined = marks.data(parting ? [parting] : []);
  joined.exit().remove();
  const place = (/** @type {{x: number}} */ { x }) => `translate(${x},0)`;
  const entered = joined
    .enter()
    .append("g")
    .attr("class", "vw-parting")
    .attr("role", "img")
    .attr("transform", place);
  entered
    .append("path")
    .attr("d", `M0,${BANK + BEYOND}V${-BANK}L-5,${-BANK - BEYOND}M0,${-BANK}L5,${-BANK - BEYOND}`);
  entered.append("title");
  settle(joined, motion, { transform: place });
  const merged = entered.merge(joined);
  merged.attr("aria-label", (d) => d.name);
  merged.select("title").text((d) => d.name);
  merged.raise();
}
