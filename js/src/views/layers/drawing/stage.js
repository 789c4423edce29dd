/** The stage: draws a view of the flow graph into one SVG and tells what is done to it. */

import { createChangeGuard } from "../../../ui/dom.js";
import { drawLegend } from "../../shared/legend.js";
import { createDragWatch, halt, settle } from "../../shared/motion.js";
import { headOf } from "../layout/detail.js";
import { createMemory } from "../layout/memory.js";
import { layoutScene } from "../layout/scene.js";
import { spotBeside } from "../layout/spot.js";
import { drawHeadEdges, drawOutliers } from "./findings.js";
import { createFrame } from "./frame.js";
import { drawWriterLabels } from "./labels.js";
import { drawNodes, drawSources, markNodes, markSources } from "./nodes.js";
import { drawAreas, drawCloseButtons, drawPanels } from "./panels.js";
import { drawParts, flag, partsOf } from "./parts.js";
import { listen } from "./pointer.js";
import { drawPrediction } from "./prediction.js";
import { drawRank } from "./rank.js";
import { connected, createRibbonLayer } from "./ribbons.js";
import { drawCells, drawParting, drawRiverTexts, markCells } from "./river.js";
import { layerToReveal, reveal } from "./scroll.js";
import { createTurns } from "./turns.js";
import { createVeil } from "./veil.js";

/** @typedef {import("../../../types.js").StageView} StageView */
/** @typedef {import("../../../types.js").StageAction} StageAction */
/** @typedef {import("../layout/scene.js").Scene} Scene */

/** Groups of the frame that hold parts. */
const PART_GROUPS = /** @type {const} */ ([
  "above",
  "below",
  "inside",
  "reads",
  "sources",
  "nodes",
]);
/** Of so many open layers all are dimmed around what is lit; of more, its own and the closed. */
const FEW = 3;

/** How long the pointer rests on a folded head before it unfolds, in milliseconds. */
const PATIENCE = 120;
/** How many heads are remembered as turned to. */
const REMEMBERED = 32;

/**
 * @param {HTMLElement} el
 * @param {{dispatch: (action: StageAction) => void}} host
 * @returns {import("../../../types.js").Stage}
 */
export function createStage(el, { dispatch }) {
  const frame = createFrame(el);
  const ribbons = createRibbonLayer(frame, frame.hatch);
  const veil = createVeil(frame);
  /** @type {StageView | null} */
  let view = null;
  /** @type {Scene | null} */
  let scene = null;
  /** @type {string | null} */
  let pointedAt = null;
  const memory = createMemory();
  const turns = createTurns(() => {
    input.rove();
    mark();
  });
  /** @type {string[]} Heads that the reader turned to, the latest first. */
  let interest = [];
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let waiting;
  const input = listen(/** @type {SVGSVGElement} */ (frame.svg.node()), {
    scene: () => scene,
    view: () => view,
    dispatch,
    complete: turns.finish,
    pointAt(id) {
      pointedAt = id;
      turnTo(headOf(id));
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
    drawParting(frame.riverTexts, next.parting, motion);
    drawAreas(frame.areas, next);
    turns.start(next.parts, (now) => drawInside(next, { ...motion, now }));
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

  /**
   * @param {Scene} next
   * @param {import("./parts.js").Turn} turn
   */
  function drawInside(next, turn) {
    ribbons.draw(next.parts, turn);
    drawParts(frame.sources, next.parts, turn, {
      contentOf: (part) => part.sources,
      keyOf: (source) => source.id,
      draw: (group, sources) => drawSources(group, sources, turn),
    });
    drawParts(frame.nodes, next.parts, turn, {
      contentOf: (part) => part.nodes,
      keyOf: (node) => node.id,
      draw: (group, nodes) => drawNodes(group, nodes, turn),
    });
  }

  /** @type {Set<string>} Keys of the parts in which something is marked. */
  let marked = new Set();
  const markChanged = createChangeGuard();

  /** Lights what belongs to what is pointed at or chosen, and dims what stands around it. */
  function mark() {
    if (!view || !scene) return;
    const hovered = pointedAt ?? view.hovered;
    if (!markChanged(hovered, scene, turns.taken(), view.selection, view.found, view.layers)) {
      return;
    }
    const selected = new Set(view.selection);
    const { selection } = view;
    const here = partsWith(scene, [...selection, ...(hovered === null ? [] : [hovered])]);
    const ribbonsHere = scene.parts.flatMap((part) => (here.has(part.key) ? part.ribbons : []));
    const lit = connected(ribbonsHere, hovered === null ? [] : [hovered]);
    const chosen = connected(ribbonsHere, selection);
    // What was marked before may be so no longer; what is new may be so already.
    const keys = [...new Set([...here, ...marked])];
    const dims = lit.ribbons.size > 0;
    ribbons.light(keys, { ribbons: lit.ribbons, chosen: chosen.ribbons });
    markNodes(partsOf(frame.nodes, keys), selected, lit.nodes);
    markSources(partsOf(frame.sources, keys), lit.nodes);
    markCells(frame.cells, selected);
    for (const group of PART_GROUPS.map((name) => frame[name])) {
      flag(
        partsOf(group, keys),
        "has-lit",
        (part) =>
          dims && here.has(/** @type {import("../layout/scene.js").ScenePart} */ (part).key),
      );
    }
    marked = here;
    veil(view);
  }

  /**
   * Unfolds a head once the reader stays with it; at once where it was chosen.
   * @param {string | null} head
   * @param {number} after In milliseconds.
   */
  function turnTo(head, after = PATIENCE) {
    clearTimeout(waiting);
    if (head === null || head === interest[0]) return;
    const turn = () => {
      interest = [head, ...interest.filter((id) => id !== head)].slice(0, REMEMBERED);
      if (!view || !scene?.folded.has(head)) return;
      scene = layoutScene({ ...view, interest, memory });
      draw(scene, { animated: !view.reducedMotion });
      drawFindings(scene, view);
      mark();
    };
    if (after === 0) turn();
    else waiting = setTimeout(turn, after);
  }

  const isDragged = createDragWatch();
  const foundChanged = createChangeGuard();

  /**
   * @param {Scene | null} now
   * @param {StageView} of
   */
  function drawFindings(now, { sinks, composed }) {
    if (!now) return;
    drawOutliers(frame.outliers, now, sinks);
    drawHeadEdges(frame.composed, now, composed);
  }

  return {
    update(next) {
      const before = view;
      const drawn = scene;
      view = next;
      const chosen = headOf(next.selection.at(-1));
      if (chosen !== null && next.selection !== before?.selection) turnTo(chosen, 0);
      else if (next.hovered !== before?.hovered) turnTo(headOf(next.hovered));
      const dragged = isDragged(next.width);
      if (!before || !drawn || needsLayout(before, next)) {
        scene = layoutScene({ ...next, interest, memory });
        const animated = drawn !== null && !next.reducedMotion && !dragged;
        const scroller = /** @type {HTMLElement} */ (frame.root.node());
        const room = next.width;
        const from = drawn && drawn.width > room ? scroller.scrollLeft : 0;
        turns.look(next.whole ? null : { from, to: from + room });
        draw(scene, { animated });
        const roomBefore = before?.width ?? room;
        const at = layerOf(next.selection[next.selection.length - 1]);
        const panel = layerToReveal(drawn, scene, { room, roomBefore, at });
        if (panel) reveal(scroller, panel, { room, from, animated });
      }
      if (foundChanged(scene, next.sinks, next.composed)) drawFindings(scene, next);
      mark();
    },
    spot(id) {
      const scroller = /** @type {HTMLElement} */ (frame.root.node());
      return scene && spotBeside(scene, id, scroller.scrollLeft, view?.width ?? 0);
    },
    destroy() {
      clearTimeout(waiting);
      turns.stop();
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
    before.effects !== after.effects ||
    before.width !== after.width ||
    before.height !== after.height ||
    !same(before.expanded, after.expanded) ||
    !same(before.pending, after.pending)
  );
}

/**
 * The parts that are lit or dimmed when these nodes are pointed at or chosen.
 * @param {Scene} scene
 * @param {string[]} ids
 */
function partsWith({ parts }, ids) {
  if (ids.length === 0) return new Set();
  if (parts.length <= FEW + 1) return new Set(parts.map(({ key }) => key));
  const own = ids.map((id) => /^L\d+/.exec(id)?.[0] ?? "closed");
  return new Set(["closed", ...own]);
}
