/** The lower half of an open layer: what neurons look for, what they write, and the river. */

import { edgeBetween, nodeValue } from "../../shared/graph.js";
import { ribbonWidth, signOf } from "../../shared/scales.js";
import { BAR } from "./grid.js";
import { BANK, ribbon } from "./parts.js";
import { levelLine, ribbonPath, trunkPath } from "./ribbons.js";
import { rowNode } from "./rows.js";

/** @typedef {import("./blockContent.js").BlockContent} BlockContent */
/** @typedef {import("./block.js").BlockFrame} BlockFrame */
/** @typedef {import("./block.js").Outflow} Outflow */

const WIDEST_ACTIVATION = 9;
/** What a half without anything in it is high. */
export const NO_MLP = 44;

/**
 * @param {BlockContent} content
 * @param {import("./detail.js").Detail} detail
 */
export function mlpHeight({ parts, neurons, mlpOthers }, { density }) {
  if (!parts.mlp && neurons.length === 0) return NO_MLP;
  return density.lowerRoom + (neurons.length + mlpOthers.length) * density.neuron;
}

/**
 * @param {BlockContent} content
 * @param {BlockFrame} frame
 * @returns {{outflows: Outflow[], top: number, bottom: number}}
 */
export function placeMlp(content, frame) {
  const { x, grid, index, measure, scale, nodes, ribbons } = frame;
  const { neuron: row, lowerRoom } = frame.detail.density;
  const strongest = Math.max(
    ...content.neurons.map(({ neuron }) => Math.abs(neuron.activation ?? 0)),
    1e-9,
  );
  const top = BANK + lowerRoom;
  let y = top + row / 2;
  /** @type {Outflow[]} */
  const outflows = [];
  const place = (
    /** @type {import("../../../types.js").Node} */ node,
    /** @type {number} */ inWidth,
  ) => {
    const value = nodeValue(index, node, measure);
    const width = ribbonWidth(value, scale);
    nodes.push(
      rowNode({
        index,
        measure,
        node,
        value,
        x: x + grid.neuronX,
        right: x + grid.headRight,
        y,
        barWidth: BAR.neuron,
        barHeight: Math.min(row - 3, Math.max(8, width, inWidth)),
        rowHeight: row,
        // Long numbers of neurons take some of their label's room.
        labelRoom: grid.neuronLabel - Math.max(0, `${node.neuron ?? ""}`.length - 3) * 6,
        face: "token",
        thereRoom: grid.there,
        tag: node.kind === "neuron" ? `${node.neuron}` : undefined,
      }),
    );
    const tone = node.kind === "rest" ? "rest" : signOf(value, measure);
    outflows.push({ id: node.id, x: x + grid.headRight, y, width, value, tone });
  };

  for (const { neuron, key } of content.neurons) {
    const activation = Math.abs(neuron.activation ?? key?.activation ?? 0);
    const inWidth =
      key && grid.neuronKeys ? ribbonWidth(activation, WIDEST_ACTIVATION / strongest) : 0;
    if (key && grid.neuronKeys) {
      nodes.push(
        rowNode({
          index,
          measure,
          node: key,
          value: null,
          x: x + grid.neuronKeyX,
          right: x + grid.neuronKeyRight,
          y,
          barWidth: BAR.neuron,
          barHeight: Math.max(6, inWidth),
          rowHeight: row,
          labelRoom: grid.neuronKeyLabel,
          face: "small",
          tone: "neutral",
        }),
      );
      if (edgeBetween(index, key.id, neuron.id)) {
        ribbons.push(
          ribbon({
            source: key.id,
            target: neuron.id,
            kind: "activation",
            tone: "neutral",
            path: ribbonPath(
              levelLine([x + grid.neuronKeyRight, y], [x + grid.neuronX, y]),
              inWidth,
            ),
          }),
        );
      }
      placeRead(content, frame, key.id, y);
    }
    place(neuron, inWidth);
    y += row;
  }
  for (const node of content.mlpOthers) {
    place(node, 0);
    y += row;
  }
  return { outflows, top, bottom: y - row / 2 };
}

/**
 * @param {BlockContent} content
 * @param {BlockFrame} frame
 * @param {string} target
 * @param {number} y
 */
function placeRead({ ln2 }, { x, grid, ribbons, ln2X, detail }, target, y) {
  if (!ln2) return;
  const trunkX = x + grid.neuronKeyX - 9;
  const laneY = BANK + Math.max(5, detail.density.pill - 17);
  ribbons.push(
    ribbon({
      source: ln2.id,
      target,
      kind: "read",
      tone: "neutral",
      path: trunkPath([ln2X, BANK], [x + grid.neuronKeyX - 1, y], trunkX, laneY),
      line: true,
    }),
  );
}
