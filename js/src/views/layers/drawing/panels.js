/** Open layers' grounds, their headings and close buttons, and the calm wait for what is fetched. */

import { drawTexts } from "../../shared/glyphs.js";
import { appear, leave, settle, staying } from "../../shared/motion.js";
import { BESIDE_NAME, NAME_LINE } from "../layout/parts.js";

/** @typedef {import("../layout/block.js").Panel} Panel */
/** @typedef {import("d3-selection").Selection<SVGGElement, unknown, any, any>} Group */

/**
 * @param {Group} group
 * @param {Panel[]} panels
 * @param {import("../../shared/motion.js").Motion} motion
 */
export function drawPanels(group, panels, motion) {
  const items = /** @type {import("d3-selection").Selection<SVGGElement, Panel, any, any>} */ (
    group.selectAll(staying("g.vw-panel"))
  );
  const joined = items.data(panels, (d) => d.layer);
  leave(joined.exit(), motion);
  const entered = joined.enter().append("g").call(appear, motion);
  entered.append("rect").attr("class", "vw-panel-ground").attr("rx", 10);
  entered.append("g").attr("class", "vw-headings");
  entered.append("g").attr("class", "vw-skeleton").attr("aria-hidden", "true");
  const merged = entered.merge(joined);
  merged
    .attr("class", function classes(d) {
      const kept = this.classList.contains("vw-appear") ? " vw-appear" : "";
      return `vw-panel${d.pending ? " pending" : ""}${kept}`;
    })
    .attr("data-layer", (d) => d.layer)
    .attr("aria-busy", (d) => (d.pending ? "true" : null));
  const ground = {
    x: (/** @type {Panel} */ d) => d.x,
    y: (/** @type {Panel} */ d) => d.y,
    width: (/** @type {Panel} */ d) => d.width,
    height: (/** @type {Panel} */ d) => d.height,
  };
  settle(entered.select("rect.vw-panel-ground"), { animated: false }, ground);
  settle(joined.select("rect.vw-panel-ground"), motion, ground);
  drawTexts(merged.select("g.vw-headings"), (d) => d.headings);
  drawScales(merged);
  merged.select("g.vw-skeleton").each(function bones(d) {
    drawBones(/** @type {SVGGElement} */ (this), d.skeleton);
  });
}

/**
 * @param {SVGGElement} group
 * @param {Panel["skeleton"]} skeleton
 */
function drawBones(group, skeleton) {
  group.replaceChildren(
    ...skeleton.map(({ x, y, width }, at) => {
      const bone = group.ownerDocument.createElementNS("http://www.w3.org/2000/svg", "rect");
      const uneven = width * (0.55 + 0.11 * ((at * 7) % 5));
      for (const [name, value] of Object.entries({
        x,
        y: y - 4,
        width: uneven,
        height: 8,
        rx: 4,
      })) {
        bone.setAttribute(name, String(value));
      }
      return bone;
    }),
  );
}

/** @param {import("d3-selection").Selection<SVGGElement, Panel, any, any>} panels */
function drawScales(panels) {
  const marks =
    /** @type {import("d3-selection").Selection<SVGGElement, NonNullable<Panel["scale"]>, any, any>} */ (
      panels.selectAll("g.vw-scale")
    )
      .data((d) => (d.scale ? [d.scale] : []))
      .join((enter) => {
        const mark = enter.append("g").attr("class", "vw-scale");
        mark.append("rect").attr("class", "vw-ribbon key rest").attr("width", 20);
        mark.append("text").attr("x", 27).attr("y", 3.8);
        return mark;
      })
      .attr("transform", (d) => `translate(${d.x},${d.y})`);
  marks
    .select("rect")
    .attr("y", (d) => -d.height / 2)
    .attr("height", (d) => d.height);
  marks.select("text").text((d) => d.text);
}

/**
 * @param {Group} group
 * @param {Panel[]} panels
 * @param {import("../../shared/motion.js").Motion} motion
 */
export function drawCloseButtons(group, panels, motion) {
  const items = /** @type {import("d3-selection").Selection<SVGGElement, Panel, any, any>} */ (
    group.selectAll(staying("g.vw-shut"))
  );
  const place = (/** @type {Panel} */ { x, y, width }) =>
    `translate(${x + width - 20},${y + BESIDE_NAME})`;
  const joined = items.data(panels, (d) => d.layer);
  leave(joined.exit(), { animated: false });
  const entered = joined
    .enter()
    .append("g")
    .attr("class", "vw-shut")
    .attr("role", "button")
    .attr("data-role", "close-layer")
    .call(appear, motion)
    .attr("transform", place);
  entered
    .append("rect")
    .attr("class", "vw-halo")
    .attr("x", -11)
    .attr("y", -11)
    .attr("width", 22)
    .attr("height", 22)
    .attr("rx", 6);
  entered.append("path").attr("class", "vw-cross").attr("d", "M-4,-4L4,4M4,-4L-4,4");
  settle(joined, motion, { transform: place });
  entered
    .merge(joined)
    .attr("data-layer", (d) => d.layer)
    .attr("data-nav", (d) => `close:${d.layer}`)
    .attr("aria-label", (d) => `Close layer ${d.layer}`);
}

/**
 * Where a layer can be clicked: the whole column of a closed one, the heading of an open one.
 * @param {Group} group
 * @param {import("../layout/scene.js").Scene} scene
 */
export function drawAreas(group, { areas, areaReach, panels }) {
  const items =
    /** @type {import("d3-selection").Selection<SVGGElement, import("../layout/overview.js").LayerArea, any, any>} */ (
      group.selectAll("g.vw-layer")
    );
  const panelOf = new Map(panels.map((panel) => [panel.layer, panel]));
  const top = (/** @type {{layer: number}} */ { layer }) =>
    panelOf.get(layer)?.y ?? -areaReach.above;
  const wordOf = (/** @type {{layer: number}} */ { layer }) =>
    panelOf.get(layer)?.pending ? `Layer ${layer} · computing…` : `Layer ${layer}`;
  const joined = items.data(areas, (d) => d.layer);
  joined.exit().remove();
  const entered = joined.enter().append("g");
  entered.append("rect").attr("class", "vw-hit").attr("rx", 4);
  entered.append("text").attr("class", "vw-layer-name");
  const merged = entered.merge(joined);
  merged
    .attr("class", (d) => `vw-layer ${d.open ? "open" : "closed"}`)
    .attr("data-role", "layer")
    .attr("data-layer", (d) => d.layer)
    .attr("data-nav", (d) => `layer:${d.layer}`)
    .attr("role", "button")
    .attr("aria-expanded", (d) => String(d.open))
    .attr("aria-label", (d) => d.name.replace(/^Layer \d+/, wordOf(d)));
  const hit = {
    x: (/** @type {import("../layout/overview.js").LayerArea} */ d) => d.x,
    y: top,
    width: (/** @type {import("../layout/overview.js").LayerArea} */ d) =>
      d.open ? d.width - 40 : d.width,
    height: (/** @type {import("../layout/overview.js").LayerArea} */ d) =>
      d.open ? 28 : areaReach.above + areaReach.below,
  };
  settle(merged.select("rect.vw-hit"), { animated: false }, hit);
  merged
    .select("text.vw-layer-name")
    .attr("x", (d) => (d.open ? d.x + 14 : d.x + d.width / 2))
    .attr("y", (d) => (d.open ? top(d) + NAME_LINE : top(d) - 3))
    .attr("text-anchor", (d) => (d.open ? "start" : "middle"))
    .text((d) => (d.open ? wordOf(d) : `layer ${d.layer}`));
}
