/** The second mark of a part: its effect as it was measured, beside the ribbon that foretells it. */

import { formatValue } from "../../../words/figures.js";
import { signOf } from "../../shared/scales.js";

/** @typedef {import("./parts.js").SceneNode} SceneNode */

const LEAST = 4;
const MOST = 40;
/** Kinds that flow straight into the river: their brackets lie across. */
const ACROSS = ["attention", "mlp"];

/**
 * @param {SceneNode} node
 * @param {number | null | undefined} value Its measured effect, where that is known.
 * @param {number} scale Pixels per logit, as its ribbon has it.
 * @returns {SceneNode}
 */
export function withMeasured(node, value, scale) {
  if (value == null) return node;
  const { box, kind, name } = node;
  const across = ACROSS.includes(kind);
  const measured = {
    x: across ? 0 : box.x + box.width,
    y: across ? (kind === "mlp" ? -16 : 16) : 0,
    size: Math.min(MOST, Math.max(LEAST, Math.abs(value) * scale)),
    tone: signOf(value, "effect"),
    across,
  };
  return { ...node, measured, name: `${name}, measured ${formatValue(value, "effect")}` };
}

/** @param {NonNullable<SceneNode["measured"]>} bracket */
export const bracketPath = ({ x, y, size, across }) =>
  across
    ? `M${x - size / 2},${y - 3}v6m0,-3h${size}m0,-3v6`
    : `M${x - 3},${y - size / 2}h6m-3,0v${size}m-3,0h6`;
