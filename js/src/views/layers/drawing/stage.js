/** The stage: draws a view of the flow graph into one SVG and tells what is done to it. */

import { drawLegend } from "../../shared/legend.js";
import { createDragWatch, halt, settle } from "../../shared/motion.js";
import { layoutScene } from "../layout/scene.js";
import { createFrame } from "./frame.js";
import { drawWriterLabels } from "./labels.js";
import { drawNodes, drawSources, markNodes, markSources } from "./nodes.js";
import { drawAreas, drawCloseButtons, drawPanels } from "./panels.js";
import { listen } from "./pointer.js";
import { drawPrediction } from "./prediction.js";
import { drawRank } from "./rank.js";
import { connected, createRibbonLayer } from "./ribbons.js";
import { drawCells, drawRiverTexts, markCells } from "./river.js";
import { layerToReveal, reveal } from "./scroll.js";

/** @typedef {import("../../../types.js").StageView} StageView */
/** @typedef {import("../../../types.js").StageAction} StageAction */
/** @typedef {import("../layout/scene.js").Scene} Scene */

/**
 * @param {HTMLElement} el
 * @param {{dispatch: (action: StageAction) => void}} host
 * @returns {import("../../../types.js").Stage}
 */
export function createStage(el, { dispatch }) {
  const frame = createFrame(el);
  const ribbons = createRibbonLayer(frame, frame.hatch);
  /** @type {StageView | null} */
  let view = null;
  /** @type {Scene | null} */
  let scene = null;
  /** @type {string | null} */
  let pointedAt = null;
  const input = listen(/** @type {SVGSVGElement} */ (frame.svg.node()), {
    scene: () => scene,
    view: () => view,
    dispatch,
    pointAt(id) {
      pointedAt = id;
      mark();
    },
  });

  /**
   * @param {Scene} next
   * @param {import("../../shared/motion.js").Motion} motion
   */
  function draw(next, motion) {
    frame.svg.attr("aria-label", next.summary);
    settle(frame.svg.datum(next), motion, { height: (d) => d.height });
    frame.svg.attr("width", next.width);
    settle(frame.stream.datum(next), motion, { transform: (d) => `translate(0,${d.axisY})` });
    drawPanels(frame.panels, next.panels, motion);
    const open = new Set(next.panels.map(({ layer }) => layer));
    drawCells(frame.cells, next.cells, next.breaks, open, motion);
    drawRiverTexts(frame.riverTexts, next.riverTexts, motion);
    ribbons.draw(next.ribbons, motion);
    drawAreas(frame.areas, next);
    drawSources(frame.sources, next.sources, motion);
    drawNodes(frame.nodes, next.nodes, motion);
    drawWriterLabels(frame.labels, next.labels, motion);
    drawCloseButtons(frame.closes, next.panels, motion);
    drawPrediction(frame.prediction, next.prediction, motion);
    drawRank(frame.rank, next.rank, motion);
    drawLegend(frame.legend, next.legend, frame.hatch, motion);
    frame.laneNames
      .selectAll("text")
      .data(next.laneNames)
      .join("text")
      .attr("class", "vw-lane-name")
      .attr("text-anchor", "end")
      .attr("x", (d) => d.x)
      .attr("y", (d) => d.y)
      .text((d) => d.text);
    input.rove();
  }

  function mark() {
    if (!view || !scene) return;
    const hovered = pointedAt ?? view.hovered;
    const lit = connected(scene.ribbons, hovered === null ? [] : [hovered]);
    const chosen = connected(scene.ribbons, view.selection);
    const selected = new Set(view.selection);
    ribbons.light({ ribbons: lit.ribbons, chosen: chosen.ribbons });
    markNodes(frame.nodes, selected, lit.nodes);
    markSources(frame.sources, lit.nodes);
    markCells(frame.cells, selected);
    frame.svg.classed("has-lit", lit.ribbons.size > 0);
    frame.svg.classed("has-chosen", chosen.ribbons.size > 0);
  }

  const isDragged = createDragWatch();

  return {
    update(next) {
      const before = view;
      const drawn = scene;
      view = next;
      const dragged = isDragged(next.width);
      if (!before || !drawn || needsLayout(before, next)) {
        scene = layoutScene(next);
        const animated = drawn !== null && !next.reducedMotion && !dragged;
        draw(scene, { animated });
        const scroller = /** @type {HTMLElement} */ (frame.root.node());
        const room = next.width;
        const roomBefore = before?.width ?? room;
        const at = layerOf(next.selection[next.selection.length - 1]);
        const panel = layerToReveal(drawn, scene, { room, roomBefore, at });
        if (panel) reveal(scroller, panel, { room, animated });
      }
      mark();
    },
    destroy() {
      input.stop();
      halt(frame.root.selectAll("*"));
      frame.root.remove();
      view = null;
      scene = null;
    },
  };
}

/**
 * The layer that a node belongs to, if any.
 * @param {string | undefined} id
 */
function layerOf(id) {
  const match = /^L(\d+)\./.exec(id ?? "");
  return match ? Number(match[1]) : null;
}

/**
 * @param {StageView} before
 * @param {StageView} after
 */
function needsLayout(before, after) {
  const same = (/** @type {number[]} */ a, /** @type {number[]} */ b) =>
    a.length === b.length && a.every((value, at) => value === b[at]);
  return (
    before.graph !== after.graph ||
    before.measure !== after.measure ||
    before.width !== after.width ||
    !same(before.expanded, after.expanded) ||
    !same(before.pending, after.pending)
  );
}
