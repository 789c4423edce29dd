/** What lies under the pointer in the routes view. Says only what is already known. */

import { h } from "../../ui/dom.js";
import { percent } from "../../words/format.js";
import { kindWords, rankWords } from "../../words/words.js";
import { tokenTable } from "../shared/tokenTable.js";
import { besideWords, carriedThere, thereRoutes, tokenThere } from "./there.js";
import { influenceFact, passageTitle, routeNodeTitle, routeSize, tokenFacts } from "./words.js";

/** @import { Child } from "../../ui/dom.js" */
/** @import { FlowGraph, Node, Routes } from "../../types.js" */

const HEADS = 6;

/**
 * @param {Node[]} nodes Of kind value: the heads that carry a ribbon.
 * @param {Routes} routes
 * @param {FlowGraph} graph
 * @returns {Child[]}
 */
export function ribbonTip(nodes, routes, graph) {
  const [first] = nodes;
  if (!first || first.source === null) return [];
  const total = nodes.reduce((sum, { influence }) => sum + (influence ?? 0), 0);
  const heads = nodes.map(({ head, label, weight, influence }) => ({
    head,
    label,
    numbers: [
      h("td", { title: "attention" }, percent(weight ?? 0)),
      h("td", {}, routeSize(influence ?? 0, routes.measure)),
    ],
  }));
  return [
    ...passageRows(
      passageTitle(graph, first.source, first.position),
      `carried by attention of layer ${first.layer}`,
      heads,
    ),
    h("p", { class: "vw-tip-facts" }, influenceFact(total, routes)),
    thereFact(nodes, total, routes, graph),
  ];
}

/**
 * @param {import("./layout/model.js").OnlyPassage} passage Of the other prompt.
 * @param {Routes} routes
 * @param {FlowGraph} graph
 * @returns {Child[]}
 */
export function onlyTip({ from, to, layer, influence, carriers }, routes, graph) {
  const [source, target] = [from, to].map(({ position }) => tokenThere(graph, position));
  const write = (/** @type {number} */ value) => routeSize(value, routes.measure);
  const heads = carriers.map(({ node, influence }) => ({
    head: node.head,
    label: node.label,
    numbers: [h("td", {}, write(influence))],
  }));
  return [
    ...passageRows(
      `${source} → ${target}`,
      `carried by attention of layer ${layer} there alone`,
      heads,
    ),
    h("p", { class: "vw-tip-facts" }, `there ${write(influence)}, not kept here`),
  ];
}

/**
 * What is carried from a token to another, and by which heads.
 *
 * @param {string} title
 * @param {string} carried
 * @param {{head: number | null, label: string | null, numbers: Child[]}[]} heads Strongest first.
 * @returns {Child[]}
 */
function passageRows(title, carried, heads) {
  const rows = heads
    .slice(0, HEADS)
    .map(({ head, label, numbers }) =>
      h(
        "tr",
        {},
        h("td", {}, `H${head}`),
        h("td", { class: "vw-token" }, label ?? "–"),
        ...numbers,
      ),
    );
  return [
    h("p", { class: "vw-tip-title" }, title),
    h("p", { class: "vw-tip-kind" }, carried),
    h("table", { class: "vw-tip-tokens vw-tip-heads" }, rows),
    heads.length > HEADS && h("p", { class: "vw-tip-kind" }, `and ${heads.length - HEADS} more`),
  ];
}

/**
 * What the same heads carry there, from and to the partners of these tokens.
 *
 * @param {Node[]} nodes
 * @param {number} total
 * @param {Routes} routes
 * @param {FlowGraph} graph
 */
function thereFact(nodes, total, routes, graph) {
  const there = thereRoutes(routes, graph);
  if (!there) return null;
  const carried = carriedThere(there, nodes);
  const write = (/** @type {number} */ value) => routeSize(value, routes.measure);
  const words = besideWords(total, carried, write);
  return h("p", { class: "vw-tip-facts" }, words);
}

/**
 * @param {Node} node
 * @param {Routes} routes
 * @param {FlowGraph} graph
 * @param {number} pruned What pruning left out of what flows into it.
 * @returns {Child[]}
 */
export function nodeTip(node, routes, graph, pruned) {
  const tokens = node.kind === "logits" ? graph.prediction : node.top;
  const facts = [
    influenceFact(node.influence ?? 0, routes),
    ...(node.kind === "embed" ? tokenFacts(routes, node.position, graph) : []),
    Math.abs(pruned) > 1e-6 ? `left out on the way in: ${routeSize(pruned, routes.measure)}` : null,
    node.target_rank !== null && node.kind === "residual"
      ? `${graph.target.text}: ${rankWords(node.target_rank)} here`
      : null,
  ];
  return [
    h("p", { class: "vw-tip-title" }, routeNodeTitle(node, graph)),
    h("p", { class: "vw-tip-kind" }, kindWords(node, graph)),
    node.label !== null &&
      node.label !== tokens[0]?.text &&
      h("p", { class: "vw-tip-label vw-token" }, node.label),
    node.kind !== "embed" && tokenTable(tokens, graph),
    thereFact([node], node.influence ?? 0, routes, graph),
    ...facts.map((fact) => fact && h("p", { class: "vw-tip-facts" }, fact)),
  ];
}
