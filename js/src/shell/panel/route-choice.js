/** A chosen ribbon of the routes view: the heads that carry it, each a way into its layer. */

import { routeNode } from "../../state/selectors.js";
import { h } from "../../ui/dom.js";
import { tokenThere } from "../../views/routes/there.js";
import { influenceFact, passageTitle, routeSize } from "../../views/routes/words.js";
import { percent } from "../../words/format.js";

/** @import { Controller } from "../../state/controller.js" */
/** @import { State } from "../../state/state.js" */
/** @import { FlowGraph, Node, Routes } from "../../types.js" */

/**
 * @typedef {object} RouteChoice
 * @property {Routes} routes
 * @property {number} layer
 * @property {number} position
 * @property {number} source
 * @property {{node: Node, influence: number}[]} carriers The largest first.
 */

/**
 * The ribbon that the selection stands for: heads that carry from one position to another in one
 * layer.
 *
 * @param {State} state
 * @returns {RouteChoice | null}
 */
export function chosenRoute(state) {
  const { routes, selection } = state;
  if (!routes || selection.length === 0) return null;
  const nodes = selection
    .flatMap((id) => routeNode(state, id) ?? [])
    .filter(({ kind }) => kind === "value");
  const [first] = nodes;
  if (!first || nodes.length !== selection.length) return null;
  const { layer, position, source } = first;
  if (layer === null || source === null) return null;
  if (nodes.some((node) => node.layer !== layer || node.position !== position)) return null;
  if (nodes.some((node) => node.source !== source)) return null;
  const carriers = nodes
    .map((node) => ({ node, influence: node.influence ?? 0 }))
    .sort((a, b) => Math.abs(b.influence) - Math.abs(a.influence));
  return { routes, layer, position, source, carriers };
}

/**
 * @param {RouteChoice} choice
 * @param {FlowGraph} graph
 * @returns {string}
 */
export const routeTitle = ({ source, position, carriers }, graph) =>
  isOnlyThere(carriers)
    ? `${tokenThere(graph, source)} → ${tokenThere(graph, position)}`
    : passageTitle(graph, source, position);

/**
 * Whether the other prompt alone has such a passage.
 * @param {RouteChoice["carriers"]} carriers
 */
const isOnlyThere = (carriers) => carriers.every(({ node }) => node.only);

/**
 * @param {RouteChoice} choice
 * @param {State} state
 * @param {Controller} controller
 * @returns {HTMLElement[]}
 */
export function routeSections(choice, state, controller) {
  const { routes, layer, position, source, carriers } = choice;
  const total = carriers.reduce((sum, { influence }) => sum + influence, 0);
  const from = `position ${source}`;
  const place = source === position ? from : `${from} to ${position}`;
  const size = isOnlyThere(carriers)
    ? `there ${routeSize(total, routes.measure)}, not kept here`
    : influenceFact(total, routes);
  return [
    h(
      "p",
      { class: "vw-side-facts" },
      [`layer ${layer}, ${place}`, size].map((fact) => h("span", {}, fact)),
    ),
    h(
      "section",
      { class: "vw-section", "data-role": "route" },
      h("h3", {}, carriers.length === 1 ? "carried by" : `carried by ${carriers.length} heads`),
      h(
        "ul",
        { class: "vw-carriers" },
        carriers.map(({ node, influence }) =>
          h("li", {}, carrierRow(node, influence, choice, state, controller)),
        ),
      ),
    ),
  ];
}

/**
 * @param {Node} node
 * @param {State} state
 */
export const routeFacts = ({ influence }, { routes }) =>
  routes && influence != null ? [influenceFact(influence, routes)] : [];

/**
 * From a node of the routes to its computation.
 *
 * @param {Node} node
 * @param {State} state
 * @param {Controller} controller
 */
export function openLink({ position, layer, kind }, { live, graph }, controller) {
  if (!live && graph?.position !== position) return null;
  return h(
    "button",
    {
      class: "vw-link",
      "data-role": "open-layer",
      click: () =>
        controller.dispatch({ type: "look-at", position, layer: kind === "embed" ? 0 : layer }),
    },
    "Open in the layer view",
  );
}

/**
 * @param {Node} node
 * @param {number} influence
 * @param {RouteChoice} choice
 * @param {State} state
 * @param {Controller} controller
 */
function carrierRow(node, influence, { routes, layer, position, carriers }, state, controller) {
  // The weakest have no label, and the other prompt's no weight, until they are asked about.
  const { label = node.label, weight = node.weight } = state.details[node.id] ?? {};
  const attention = weight === null ? "" : percent(weight);
  const size = routeSize(influence, routes.measure);
  const most = Math.max(1e-12, ...carriers.map((each) => Math.abs(each.influence)));
  const reachable = state.live || state.graph?.position === position;
  const head = `L${layer}.H${node.head}`;
  const bar = h("span", { class: "vw-carrier-bar", "aria-hidden": "true" });
  bar.style.setProperty("--vw-part", String(Math.abs(influence) / most));
  return h(
    "button",
    {
      class: influence < 0 ? "vw-carrier against" : "vw-carrier",
      "data-node": node.id,
      "aria-label":
        `${["H" + node.head, label ?? "–", attention, size].filter(Boolean).join(" ")}: what head ` +
        `${node.head} carries${attention && ` with attention ${attention}`}` +
        `${node.only ? " there" : `, ${influenceFact(influence, routes)}`}. Open in the layer view`,
      title: reachable ? "Open in the layer view" : "Only a notebook can follow another position.",
      disabled: !reachable,
      click() {
        controller.dispatch({ type: "look-at", position, layer, nodes: [head] });
      },
    },
    h("span", { class: "vw-carrier-head" }, `H${node.head}`),
    " ",
    h("span", { class: "vw-token" }, label ?? "–"),
    " ",
    h("span", { class: "vw-carrier-weight" }, attention),
    " ",
    h("span", { class: influence < 0 ? "negative" : "positive" }, size),
    bar,
  );
}
