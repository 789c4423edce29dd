/** Where the panel may lie over the picture: on the side of the river that is not being read. */

import { BANK } from "./parts.js";

/** @typedef {import("./scene.js").Scene} Scene */
/** @typedef {import("../../index.js").Spot} Spot */

const MARGIN = 6;
const WIDEST = 660;
const LOWEST = 190;

/**
 * @param {Scene} scene
 * @param {string} id The node that is read.
 * @param {number} scrolled How far the picture is scrolled to the right.
 * @param {number} width Of the window on the picture.
 * @returns {Spot}
 */
export function spotBeside(scene, id, scrolled, width) {
  const node = scene.nodes.find((each) => each.id === id);
  const layer = node?.layer ?? scene.cells.find((each) => each.id === id)?.layer;
  const panel = scene.panels.find((each) => each.layer === layer);
  const lower = node !== undefined && node.y > 0;
  const top = lower ? MARGIN : scene.axisY + BANK + MARGIN;
  const bottom = lower ? scene.axisY - BANK - MARGIN : scene.height - MARGIN;
  const wide = Math.min(WIDEST, panel ? panel.width - 2 * MARGIN : WIDEST, width - 2 * MARGIN);
  const wished = panel ? panel.x - scrolled + (panel.width - wide) / 2 : width - wide - MARGIN;
  const left = Math.max(MARGIN, Math.min(wished, width - wide - MARGIN));
  return { left, top, width: wide, height: Math.max(LOWEST, bottom - top) };
}
