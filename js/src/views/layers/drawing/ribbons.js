/**
 * Ribbons as SVG paths. Whatever draws them offers `draw` and `light`, so that a canvas can take
 * this one's place for graphs of thousands of ribbons.
 */

import { appear, leave, settle, staying } from "../../shared/motion.js";

/** @typedef {import("../layout/parts.js").SceneRibbon} SceneRibbon */
/** @typedef {import("d3-selection").Selection<SVGGElement, unknown, any, any>} Group */

/**
 * @typedef {object} Lit
 * @property {Set<string>} ribbons Keys of what belongs to the pointed-at node.
 * @property {Set<string>} chosen Keys of what belongs to the selection.
 *
 * @typedef {object} RibbonLayer
 * @property {(ribbons: SceneRibbon[], motion: import("../../shared/motion.js").Motion) => void} draw
 * @property {(lit: Lit) => void} light
 */

/**
 * @param {{above: Group, below: Group, inside: Group, reads: Group}} groups
 * @param {string} hatch
 * @returns {RibbonLayer}
 */
export function createRibbonLayer(groups, hatch) {
  const all = [groups.above, groups.below, groups.inside, groups.reads];
  const paths = (/** @type {Group} */ group) =>
    /** @type {import("d3-selection").Selection<SVGPathElement, SceneRibbon, any, any>} */ (
      group.selectAll(staying("path.vw-ribbon"))
    );

  /**
   * @param {Group} group
   * @param {SceneRibbon[]} ribbons
   * @param {import("../../shared/motion.js").Motion} motion
   */
  function drawGroup(group, ribbons, motion) {
    const joined = paths(group).data(ribbons, (d) => d.key);
    leave(joined.exit(), motion);
    const entered = joined.enter().append("path").call(appear, motion);
    entered.attr("d", (d) => d.path);
    settle(joined, motion, { d: (d) => d.path });
    entered
      .merge(joined)
      .attr("class", function classes(d) {
        const entering = this.classList.contains("vw-appear") ? " vw-appear" : "";
        return `vw-ribbon kind-${d.kind} ${d.tone}${d.line ? " line" : ""}${entering}`;
      })
      .attr("data-source", (d) => d.source)
      .attr("data-target", (d) => d.target)
      .attr("data-kind", (d) => d.kind)
      .attr("fill", (d) => (d.tone === "negative" && !d.line ? hatch : null));
  }

  return {
    draw(ribbons, motion) {
      const flows = ribbons.filter(({ line }) => !line);
      drawGroup(
        groups.above,
        flows.filter(({ bank }) => bank === "above"),
        motion,
      );
      drawGroup(
        groups.below,
        flows.filter(({ bank }) => bank === "below"),
        motion,
      );
      drawGroup(
        groups.inside,
        flows.filter(({ bank }) => bank === null),
        motion,
      );
      drawGroup(
        groups.reads,
        ribbons.filter(({ line }) => line),
        motion,
      );
    },
    light({ ribbons, chosen }) {
      for (const group of all) {
        paths(group)
          .classed("lit", (d) => ribbons.has(d.key))
          .classed("chosen", (d) => chosen.has(d.key));
      }
    },
  };
}

/**
 * Everything that flows into or out of some nodes, to the river's bank and back to the tokens.
 * @param {SceneRibbon[]} ribbons
 * @param {string[]} ids
 * @returns {{ribbons: Set<string>, nodes: Set<string>}}
 */
export function connected(ribbons, ids) {
  const keys = new Set();
  const nodes = new Set(ids);
  const follow = (
    /** @type {"source" | "target"} */ here,
    /** @type {"source" | "target"} */ there,
  ) => {
    const seen = new Set(ids);
    let edge = [...ids];
    while (edge.length) {
      const next = [];
      for (const ribbon of ribbons) {
        if (!edge.includes(ribbon[here])) continue;
        keys.add(ribbon.key);
        const reached = ribbon[there];
        if (seen.has(reached) || stopsAt(ribbon)) continue;
        seen.add(reached);
        nodes.add(reached);
        next.push(reached);
      }
      edge = next;
    }
  };
  follow("source", "target");
  follow("target", "source");
  return { ribbons: keys, nodes };
}

/** The river carries everything: following it would light the whole picture. */
const stopsAt = (/** @type {SceneRibbon} */ { kind }) => kind === "write" || kind === "read";
