/** What a click on a part of the routes does, in the picture and in the table. */

/** @import { UserAction } from "../../state/controller.js" */
/** @import { State } from "../../state/state.js" */
/** @import { Node, Routes } from "../../types.js" */

/**
 * A ribbon shows the heads that carry it; a node, its computation in the layer view.
 *
 * @param {Node[]} nodes That it stands for, the largest first; at least one.
 * @param {Routes} routes
 * @param {Pick<State, "live" | "graph">} state
 * @param {boolean} [additive]
 * @returns {UserAction}
 */
export function openRoute(nodes, routes, { live, graph }, additive = false) {
  const [first] = nodes;
  const reachable = live || first.position === graph?.position;
  if (first.kind === "value" || additive || !reachable) {
    const ids = first.kind === "value" ? bothWays(routes, first) : nodes.map(({ id }) => id);
    return { type: "select", nodes: ids, additive };
  }
  const layer = first.kind === "embed" ? 0 : first.layer;
  const selects = first.kind === "mlp" || first.kind === "opaque";
  const chosen = selects ? [first.id.replace(/^P\d+\./, "")] : undefined;
  return { type: "look-at", position: first.position, layer, nodes: chosen };
}

/**
 * All heads that carry between the same two positions in a layer, for and against.
 * @param {Routes} routes
 * @param {Node} node
 */
function bothWays({ nodes }, { layer, position, source }) {
  return nodes
    .filter(
      (each) =>
        each.kind === "value" &&
        each.layer === layer &&
        each.position === position &&
        each.source === source,
    )
    .map(({ id }) => id);
}
