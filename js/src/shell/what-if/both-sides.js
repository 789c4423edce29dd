/** A part on both sides, in the panel: the other prompt's is dragged onto this one, or pressed. */

import { isEditable } from "../../state/interventions.js";
import { h } from "../../ui/dom.js";
import { percent, signed } from "../../words/format.js";

/** @import { Controller } from "../../state/controller.js" */
/** @import { Detail, FlowGraph, Intervention, Node } from "../../types.js" */

/**
 * @param {Node | Detail} node
 * @param {Node | Detail | null} other
 * @param {FlowGraph} graph
 * @param {{list: Intervention[], controller: Controller}} with
 */
export function bothSides(node, other, graph, { list, controller }) {
  if (!controller.live || !graph.against || !other || node.only || !isEditable(node.id))
    return null;
  const { id } = node;
  const brought = list.some((item) => item.id === id && item.action === "patch");
  const difference =
    node.logit != null && other.logit != null && !brought
      ? `difference ${signed(node.logit - other.logit)}`
      : "";
  return h(
    "div",
    {
      class: "vw-both-sides",
      "data-role": "both-sides",
      role: "group",
      "aria-label": "Both sides",
    },
    h(
      "div",
      { class: brought ? "vw-side-here brought" : "vw-side-here", "data-part": id },
      h("span", { class: "vw-side-word" }, brought ? "here, brought over" : "here"),
      ...facesOf(node),
    ),
    h(
      "button",
      {
        class: "vw-side-there",
        "data-role": "bring",
        "data-bring": id,
        "aria-pressed": String(brought),
        title: "Drag it onto “here” or onto its place in the picture, or press",
        "aria-label": `there ${words(other)}: bring it here from the other prompt`,
        click: () => controller.dispatch({ type: "bring", node: id }),
      },
      h("span", { class: "vw-side-word" }, "there"),
      " ",
      ...facesOf(other),
    ),
    h(
      "p",
      { class: "vw-side-how" },
      brought
        ? "The pass was run again with it. Press “there” to take it back."
        : `${difference ? `${difference}. ` : ""}Drag “there” onto “here”, or press it: the pass is run again with it.`,
    ),
  );
}

/** @param {Node | Detail} node */
const facesOf = ({ label, logit, weight }) => [
  h("span", { class: "vw-token" }, label ?? "–"),
  " ",
  h(
    "span",
    { class: logit == null ? null : logit < 0 ? "negative" : "positive" },
    logit != null ? signed(logit) : weight != null ? percent(weight) : "",
  ),
];

/** @param {Node | Detail} node */
const words = (node) =>
  facesOf(node)
    .map((face) => (typeof face === "string" ? face : face.textContent))
    .join("")
    .trim();
