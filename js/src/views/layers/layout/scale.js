/** How wide a ribbon of a round value is in an open layer, whose scale is its own. */

import { scaleUnit, unitText } from "../../shared/legendLayout.js";
import { textWidth } from "../../shared/text.js";
import { BESIDE_NAME } from "./parts.js";

/** What the button takes that closes the layer, and the air beside it. */
const BUTTON = 40;

/**
 * @param {Pick<import("./block.js").BlockFrame, "scale" | "measure" | "grid">} frame
 * @param {number} right The block's edge, where the button stands.
 * @param {number} above
 */
export function scaleMark({ scale, measure, grid }, right, above) {
  const unit = scaleUnit(scale);
  if (!unit || !grid.tokens) return null;
  const text = unitText(unit, measure);
  const width = 27 + textWidth(text, 11, "sans");
  return { x: right - BUTTON - width, y: BESIDE_NAME - above, height: unit * scale, text };
}
