/** The routes view's stage: draws a routes graph into one SVG and tells what is done to it. */

import { select } from "d3-selection";
import { drawHatch } from "../../shared/hatch.js";
import { drawLegend } from "../../shared/legend.js";
import { createDragWatch, halt, settle, staying } from "../../shared/motion.js";
import { isSigned } from "../../shared/scales.js";
import { layoutRoutes } from "../layout/scene.js";
import { createTracer, litBy } from "../layout/trace.js";
import {
  drawAxis,
  drawCrown,
  drawFolds,
  drawMarks,
  drawOutlines,
  drawRouteLabels,
  drawRouteRibbons,
  drawStops,
  drawStretches,
  drawTokens,
} from "./draw.js";
import { listenToRoutes } from "./pointer.js";
import { createRoutesVeil } from "./veil.js";

/** @typedef {import("../../../types.js").FlowGraph} FlowGraph */
/** @typedef {import("../../../types.js").Keep} Keep */
/** @typedef {import("../../../types.js").Routes} Routes */
/** @typedef {import("../layout/scene.js").RoutesScene} RoutesScene */
/** @typedef {import("./pointer.js").RouteTarget} RouteTarget */

/**
 * @typedef {object} RoutesStageView
 * @property {Routes} routes
 * @property {FlowGraph} graph
 * @property {Keep | null} keep
 * @property {string[]} selection
 * @property {number} width
 * @property {boolean} reducedMotion
 * @property {Set<string> | null} found What a search lights.
 * @property {[number, number] | null} layers Those that are not dimmed; null for all.
 *
 * @typedef {object} RoutesHost
 * @property {(target: RouteTarget | null, x: number, y: number) => void} hover
 * @property {(target: RouteTarget, scene: RoutesScene, additive: boolean) => void} open
 */

let made = 0;

/** A panel that opens is one change of width; a window being dragged is many in a row. */
/** Larger pictures change at once: gliding would stutter. */
const MOST_GLIDING = 1_200;

/**
 * @param {HTMLElement} el
 * @param {RoutesHost} host
 */
export function createRoutesStage(el, { hover, open }) {
  made += 1;
  const id = `vw-routes-${made}-${Math.random().toString(36).slice(2, 7)}`;
  const root = select(el).append("div").attr("class", "vw-scroller");
  const svg = root.append("svg").attr("class", "vw-stage vw-routes").attr("role", "group");
  drawHatch(svg.append("defs"), id);
  const hatch = `url(#${id})`;
  /** @param {string} name */
  const group = (name) => /** @type {any} */ (svg.append("g").attr("class", name));
  // An MLP's mark lies on the streams around it and is to be pointed at first.
  const [axis, ribbons, outlines, stretches, stops, marks] = [
    "vw-route-axes",
    "vw-route-ribbons",
    "vw-route-outlines",
    "vw-route-rivers",
    "vw-route-stops",
    "vw-route-marks",
  ].map(group);
  const [folds, tokens, labels, crown, legend] = [
    "vw-route-folds",
    "vw-route-roots",
    "vw-route-labels",
    "vw-route-crown",
    "vw-legend",
  ].map(group);
  const account = group("vw-route-account");
  const ruler = group("vw-route-ruler");
  const veil = createRoutesVeil({
    svg,
    ribbons,
    outlines,
    stretches,
    marks,
    stops,
    tokens,
    labels,
  });
  /** @type {RoutesStageView | null} */
  let view = null;
  /** @type {RoutesScene | null} */
  let scene = null;
  /** @type {RouteTarget | null} */
  let pointed = null;
  /** @type {ReturnType<typeof createTracer>} */
  let trace = createTracer([]);

  const input = listenToRoutes(/** @type {SVGSVGElement} */ (svg.node()), {
    scene: () => scene,
    pointAt(target, x, y) {
      pointed = target;
      mark();
      hover(target, x, y);
    },
    open: (target, additive) => scene && open(target, scene, additive),
  });

  /**
   * @param {RoutesScene} next
   * @param {import("../../shared/motion.js").Motion} motion
   */
  function draw(next, motion) {
    svg.classed("unsigned", !isSigned(next.model.routes.measure));
    svg.attr("aria-label", next.summary).attr("width", next.width);
    settle(svg.datum(next), motion, { height: (d) => d.height });
    drawAxis(axis, ruler, next, motion);
    drawRouteRibbons(ribbons, next.ribbons, hatch, motion);
    drawOutlines(outlines, next.outlines, motion);
    drawStretches(stretches, next.stretches, hatch, motion);
    drawMarks(marks, next.marks, motion);
    drawStops(stops, next.stops);
    drawFolds(folds, next.folds, motion);
    drawTokens(tokens, next.tokens, hatch, motion);
    drawRouteLabels(labels, next.labels, motion);
    drawCrown(crown, next.prediction, motion);
    drawLegend(legend, next.legend, hatch, motion);
    account
      .selectAll("text")
      .data(next.account.lines)
      .join("text")
      .attr("class", "vw-account")
      .attr("x", next.account.x)
      .attr("y", (/** @type {string} */ _, /** @type {number} */ at) => next.account.y + at * 17)
      .text(String);
    stick();
    input.rove();
  }

  /** What says how to read the picture stays in sight when that is scrolled. */
  function stick() {
    const left = /** @type {HTMLElement} */ (root.node()).scrollLeft;
    ruler.attr("transform", `translate(${left},0)`).classed("over", left > 0);
    const y = scene?.legend.y ?? 0;
    halt(legend);
    legend.attr("transform", `translate(${left},${y})`);
    account.attr("transform", `translate(${left},0)`);
  }
  /** @type {HTMLElement} */ (root.node()).addEventListener("scroll", stick);

  function mark() {
    if (!view || !scene) return;
    const ids = pointed ? nodesOf(scene, pointed) : [];
    const lit = ids.length ? litBy(scene, trace(ids)) : new Set();
    const has = (/** @type {string} */ key) => lit.has(key);
    svg.classed("has-lit", lit.size > 0);
    for (const each of [ribbons.selectAll(staying("path")), outlines.selectAll(staying("g"))]) {
      each.classed("lit", (/** @type {any} */ d) => has(d.key));
    }
    stretches.selectAll(staying("path")).classed("lit", (/** @type {any} */ d) => has(d.key));
    marks.selectAll(staying("rect")).classed("lit", (/** @type {any} */ d) => has(d.id));
    tokens.selectAll(staying("g")).classed("lit", (/** @type {any} */ d) => has(d.id));
    crown.selectAll(staying("g")).classed("lit", () => has("logits"));
    labels.selectAll(staying("g")).classed("lit", (/** @type {any} */ d) => has(d.of));
    const selected = new Set(view.selection);
    const chosen = (/** @type {string[]} */ nodes) => nodes.some((node) => selected.has(node));
    for (const each of [ribbons.selectAll(staying("path")), outlines.selectAll(staying("g"))]) {
      each.classed("selected", (/** @type {any} */ d) =>
        chosen(d.passage.carriers.map((/** @type {any} */ carrier) => carrier.node.id)),
      );
    }
    marks.selectAll(staying("rect")).classed("selected", (/** @type {any} */ d) => chosen(d.nodes));
    for (const each of [stops.selectAll(staying("rect")), tokens.selectAll(staying("g"))]) {
      each.classed("selected", (/** @type {any} */ d) => selected.has(d.id));
    }
    veil(view);
  }

  /** The focus is where the reader looks first. */
  function showFocus() {
    const scroller = /** @type {HTMLElement} */ (root.node());
    if (scene && view) scroller.scrollLeft = Math.max(0, scene.focusX + 150 - view.width);
  }

  const isDragged = createDragWatch();

  return {
    /** @param {RoutesStageView} next */
    update(next) {
      const before = view;
      view = next;
      const dragged = isDragged(next.width);
      if (!before || needsLayout(before, next)) {
        const animated = before !== null && !next.reducedMotion && !dragged;
        const fitted = before !== null && scene !== null && scene.width <= before.width;
        if (before?.routes !== next.routes) trace = createTracer(next.routes.edges);
        scene = layoutRoutes(next);
        draw(scene, { animated: animated && scene.model.streams.size < MOST_GLIDING });
        if (fitted || before?.routes.position !== next.routes.position) showFocus();
        if (pointed && nodesOf(scene, pointed).length === 0) {
          pointed = null;
          input.forget();
          hover(null, 0, 0);
        }
      }
      mark();
    },
    /** @param {RouteTarget} target */
    nodesAt: (target) => (scene ? nodesOf(scene, target) : []),
    /** @param {RouteTarget} target */
    onlyAt: ({ id }) => scene?.outlines.find(({ key }) => key === id)?.passage ?? null,
    destroy() {
      input.stop();
      halt(root.selectAll("*"));
      root.remove();
    },
  };
}

/**
 * @param {RoutesScene} scene
 * @param {RouteTarget} target
 * @returns {string[]} The nodes of the graph that it stands for.
 */
function nodesOf(scene, { kind, id }) {
  if (kind === "ribbon") {
    const ribbon = [...scene.ribbons, ...scene.outlines].find(({ key }) => key === id);
    return ribbon?.passage.carriers.map(({ node }) => node.id) ?? [];
  }
  const mark = scene.marks.find((each) => each.id === id);
  if (mark) return mark.nodes;
  if (id === "logits" || scene.model.streams.has(id)) return [id];
  // A token that no kept path goes back to stands for where its river begins.
  const position = scene.tokens.find((token) => token.id === id)?.position;
  const streams = position === undefined ? undefined : scene.model.columns.get(position);
  return streams?.[0] ? [streams[0].id] : [];
}

/**
 * @param {RoutesStageView} before
 * @param {RoutesStageView} after
 */
const needsLayout = (before, after) =>
  before.routes !== after.routes ||
  before.graph !== after.graph ||
  before.keep !== after.keep ||
  before.width !== after.width;
