/** Nodes with a bar, a pill or a ring, and their words. */

import { drawTexts } from "../../shared/glyphs.js";
import { appear, leave, settle, staying } from "../../shared/motion.js";
import { bracketPath } from "../layout/measured.js";
import { flag } from "./parts.js";

/** @typedef {import("../layout/parts.js").SceneNode} SceneNode */
/** @typedef {import("d3-selection").Selection<SVGGElement, unknown, any, any>} Group */

/** @param {Group} group */
const nodesIn = (group) =>
  /** @type {import("d3-selection").Selection<SVGGElement, SceneNode, any, any>} */ (
    group.selectAll(staying("g.vw-node"))
  );

/** @param {{x: number, y: number}} place */
const place = ({ x, y }) => `translate(${x},${y})`;

/**
 * @param {Group} group
 * @param {readonly SceneNode[]} nodes
 * @param {import("../../shared/motion.js").Motion} motion
 */
export function drawNodes(group, nodes, motion) {
  const joined = nodesIn(group).data(nodes, (d) => d.id);
  leave(joined.exit(), motion);
  const entered = joined.enter().append("g").call(appear, motion).attr("transform", place);
  entered.append("rect").attr("class", "vw-halo");
  entered.append("rect").attr("class", "vw-shape");
  settle(joined, motion, { transform: place });

  const merged = entered.merge(joined);
  merged
    .attr("class", function classes(d) {
      const kept = ["vw-appear", "selected"].filter((name) => this.classList.contains(name));
      const edit = d.edit ? ["edited", d.edit] : [];
      const only = d.only ? ["only-there"] : [];
      return ["vw-node", `kind-${d.kind}`, d.tone, ...edit, ...only, ...kept].join(" ");
    })
    .attr("data-node", (d) => d.id)
    .attr("data-kind", (d) => d.kind)
    .attr("data-layer", (d) => d.layer)
    .attr("data-nav", (d) => `node:${d.id}`)
    .attr("role", "button")
    .attr("aria-label", (d) => d.name);
  merged
    .select("rect.vw-halo")
    .attr("x", (d) => d.box.x)
    .attr("y", (d) => d.box.y)
    .attr("width", (d) => d.box.width)
    .attr("height", (d) => d.box.height)
    .attr("rx", (d) => Math.min(4, d.box.height / 2));
  const shapes = {
    x: (/** @type {SceneNode} */ d) => d.shape.x,
    y: (/** @type {SceneNode} */ d) => d.shape.y,
    width: (/** @type {SceneNode} */ d) => d.shape.width,
    height: (/** @type {SceneNode} */ d) => d.shape.height,
    rx: (/** @type {SceneNode} */ d) => d.shape.radius,
  };
  settle(entered.select("rect.vw-shape"), { animated: false }, shapes);
  settle(joined.select("rect.vw-shape"), motion, shapes);
  drawTexts(merged, (d) => d.texts);
  if (nodes.some(({ measured }) => measured) || group.select("path.vw-measured").node()) {
    merged
      .selectAll("path.vw-measured")
      .data(({ measured }) => (measured ? [measured] : []))
      .join("path")
      .attr("class", (d) => `vw-measured ${d.tone}`)
      .attr("d", bracketPath);
  }
}

/**
 * @param {Group} group
 * @param {Set<string>} selected
 * @param {Set<string>} lit
 */
export function markNodes(group, selected, lit) {
  const nodes = nodesIn(group);
  flag(nodes, "lit", (d) => lit.has(d.id));
  flag(nodes, "selected", (d) => selected.has(d.id));
  nodes.each(function press({ id }) {
    const pressed = String(selected.has(id));
    if (this.getAttribute("aria-pressed") !== pressed) this.setAttribute("aria-pressed", pressed);
  });
}

/**
 * @param {Group} group
 * @param {Set<string>} lit
 */
export function markSources(group, lit) {
  const chips =
    /** @type {import("d3-selection").Selection<SVGGElement, import("../layout/attention.js").SourceChip, any, any>} */ (
      group.selectAll(staying("g.vw-source"))
    );
  flag(chips, "lit", (d) => lit.has(`from.${d.position}`));
}

/**
 * The prompt's tokens that an open layer reads from.
 * @param {Group} group
 * @param {readonly import("../layout/attention.js").SourceChip[]} sources
 * @param {import("../../shared/motion.js").Motion} motion
 */
export function drawSources(group, sources, motion) {
  const chips =
    /** @type {import("d3-selection").Selection<SVGGElement, import("../layout/attention.js").SourceChip, any, any>} */ (
      group.selectAll(staying("g.vw-source"))
    );
  const joined = chips.data(sources, (d) => d.id);
  leave(joined.exit(), motion);
  const entered = joined
    .enter()
    .append("g")
    .attr("class", "vw-source")
    .call(appear, motion)
    .attr("transform", place);
  entered.append("rect").attr("class", "vw-halo");
  entered.append("rect").attr("class", "vw-shape");
  settle(joined, motion, { transform: place });
  const merged = entered.merge(joined);
  merged
    .attr("data-role", "source")
    .attr("data-source-key", (d) => `from.${d.position}`)
    .attr("data-position", (d) => d.position)
    .attr("role", "img")
    .attr("aria-label", (d) => `${d.title}, position ${d.position}`);
  merged
    .select("rect.vw-halo")
    .attr("x", -60)
    .attr("y", (d) => -Math.max(7, d.height / 2))
    .attr("width", 66)
    .attr("height", (d) => Math.max(14, d.height));
  merged
    .select("rect.vw-shape")
    .attr("y", (d) => -d.height / 2)
    .attr("width", 5)
    .attr("height", (d) => d.height)
    .attr("rx", 2);
  drawTexts(merged, (d) => [
    { x: -7, y: 4, text: d.text, face: "token", anchor: "end", tone: "ink" },
  ]);
}
