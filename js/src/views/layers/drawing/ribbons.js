/** Ribbons as SVG paths. */

import { appear, leave, settle, staying } from "../../shared/motion.js";
import { drawParts, flag, partsOf } from "./parts.js";

/** @typedef {import("../layout/parts.js").SceneRibbon} SceneRibbon */
/** @typedef {import("../layout/scene.js").ScenePart} ScenePart */
/** @typedef {import("d3-selection").Selection<SVGGElement, unknown, any, any>} Group */

/**
 * @typedef {object} Lit
 * @property {Set<string>} ribbons Keys of what belongs to the pointed-at node.
 * @property {Set<string>} chosen Keys of what belongs to the selection.
 *
 * @typedef {object} RibbonLayer
 * @property {(parts: ScenePart[], turn: import("./parts.js").Turn) => void} draw
 * @property {(keys: string[], lit: Lit) => void} light In some parts.
 */

/** @typedef {"above" | "below" | "inside" | "reads"} Place Where in the picture's depth. */

/** @type {WeakMap<SceneRibbon[], Record<Place, SceneRibbon[]>>} */
const sorted = new WeakMap();

/**
 * @param {ScenePart} part
 * @param {Place} place
 */
function ribbonsAt({ ribbons }, place) {
  let places = sorted.get(ribbons);
  if (!places) {
    places = { above: [], below: [], inside: [], reads: [] };
    for (const each of ribbons) places[each.line ? "reads" : (each.bank ?? "inside")].push(each);
    sorted.set(ribbons, places);
  }
  return places[place];
}

/**
 * @param {Record<Place, Group>} groups
 * @param {string} hatch
 * @returns {RibbonLayer}
 */
export function createRibbonLayer(groups, hatch) {
  const places = /** @type {Place[]} */ (["above", "below", "inside", "reads"]);
  const paths = (/** @type {Group} */ group) =>
    /** @type {import("d3-selection").Selection<SVGPathElement, SceneRibbon, any, any>} */ (
      group.selectAll(staying("path.vw-ribbon"))
    );

  /**
   * @param {Group} group
   * @param {readonly SceneRibbon[]} ribbons
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
    draw(parts, turn) {
      for (const place of places) {
        drawParts(groups[place], parts, turn, {
          contentOf: (part) => ribbonsAt(part, place),
          keyOf: (ribbon) => ribbon.key,
          draw: (group, ribbons) => drawGroup(group, ribbons, turn),
        });
      }
    },
    light(keys, { ribbons, chosen }) {
      for (const place of places) {
        const drawn = paths(partsOf(groups[place], keys));
        flag(drawn, "lit", (d) => ribbons.has(d.key));
        flag(drawn, "chosen", (d) => chosen.has(d.key));
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
        const ends = here === "source" ? ribbon.of : [ribbon.target];
        if (!ends.some((end) => edge.includes(end))) continue;
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
