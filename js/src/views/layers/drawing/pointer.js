/** What the mouse, a finger or the keyboard does to the picture, told as actions. */

import { pressed } from "../../../words/keys.js";
import { arrowOf } from "../../shared/arrows.js";
import { BANK } from "../layout/parts.js";
import { firstAndLast, nextStop } from "./keyboard.js";

/** @typedef {import("../../../types.js").StageAction} StageAction */
/** @typedef {import("../layout/scene.js").Scene} Scene */

/**
 * @typedef {object} Attention
 * @property {() => Scene | null} scene
 * @property {() => import("../../../types.js").StageView | null} view
 * @property {(action: StageAction) => void} dispatch
 * @property {() => void} complete Draws what is still to be drawn out of sight.
 * @property {(id: string | null) => void} pointAt Lights a node or a source at once.
 */

/**
 * @param {SVGSVGElement} svg
 * @param {Attention} context
 */
export function listen(svg, { scene, view, dispatch, complete, pointAt }) {
  let active = "layer:0";
  /** @type {string | null} */
  let pointed = null;
  const controller = new AbortController();
  const on = (
    /** @type {string} */ type,
    /** @type {(event: any) => void} */ handler,
    /** @type {boolean} */ capture = false,
  ) => holderOf(type).addEventListener(type, handler, { signal: controller.signal, capture });
  // Chromium takes an SVG that listens to the focus for one that can have it.
  const holderOf = (/** @type {string} */ type) =>
    type.startsWith("focus") ? (svg.parentElement ?? svg) : svg;

  const stopOf = (/** @type {EventTarget | null} */ target) =>
    target instanceof Element ? target.closest("[data-nav]") : null;
  const elementFor = (/** @type {string} */ key) =>
    [...svg.querySelectorAll("[data-nav]")].find(
      (element) => element.getAttribute("data-nav") === key,
    );

  /** @param {string | null} key */
  function focus(key) {
    if (key === null) return;
    if (!elementFor(key)) complete();
    const element = elementFor(key);
    if (!element) return;
    active = key;
    rove();
    /** @type {SVGElement} */ (element).focus();
  }

  function rove() {
    const stops = [...svg.querySelectorAll("[data-nav]")];
    const holder =
      stops.find((element) => element.getAttribute("data-nav") === active) ??
      elementFor(`layer:${/^(?:layer:|close:|node:L)(\d+)/.exec(active)?.[1]}`) ??
      svg.querySelector('[data-role="layer"]');
    active = holder?.getAttribute("data-nav") ?? active;
    for (const element of stops) {
      const index = element === holder ? "0" : "-1";
      if (element.getAttribute("tabindex") !== index) element.setAttribute("tabindex", index);
    }
  }

  /**
   * @param {Element} element
   * @param {boolean} additive
   */
  function activate(element, additive) {
    const layer = Number(element.getAttribute("data-layer"));
    const role = element.getAttribute("data-role");
    const node = element.getAttribute("data-node");
    if (role === "layer" || role === "close-layer") forget();
    if (role === "layer") dispatch({ type: "toggle-layer", layer });
    else if (role === "close-layer") close(layer);
    else if (role === "prediction") {
      const id = element.getAttribute("data-token") ?? "";
      // Several tokens followed as one have no number.
      dispatch({ type: "set-target", id: /^\d+$/.test(id) ? Number(id) : id });
    } else if (node) dispatch({ type: "select", nodes: [node], additive });
  }

  /** What was pointed at moves away when a layer opens or closes. */
  function forget() {
    if (pointed === null) return;
    pointed = null;
    pointAt(null);
    dispatch({ type: "hover", node: null, x: 0, y: 0 });
  }

  /** @param {number} layer */
  function close(layer) {
    const within = svg.contains(rootActive(svg));
    if (within) focus(`layer:${layer}`);
    dispatch({ type: "close-layer", layer });
  }

  /**
   * What lies under the pointer: a node, a ribbon's source, or a closed layer's part.
   * @param {PointerEvent} event
   * @returns {{lit: string | null, node: string | null}}
   */
  function under(event) {
    if (!(event.target instanceof Element)) return { lit: null, node: null };
    const found = event.target.closest(
      "[data-node], [data-source], [data-source-key], [data-label-of], [data-role='layer']",
    );
    if (!found) return { lit: null, node: null };
    const node =
      found.getAttribute("data-node") ??
      found.getAttribute("data-label-of") ??
      found.getAttribute("data-source") ??
      layerPart(found, event);
    if (node === null) return { lit: found.getAttribute("data-source-key"), node: null };
    return { lit: node, node: node.startsWith("from.") ? null : node };
  }

  /**
   * @param {Element} area
   * @param {PointerEvent} event
   */
  function layerPart(area, event) {
    if (!area.classList.contains("closed")) return null;
    const y = event.clientY - svg.getBoundingClientRect().top - (scene()?.axisY ?? 0);
    const parts = Math.abs(y) <= BANK ? ["post"] : y < 0 ? ["attn", "mix"] : ["mlp"];
    const ids = parts.map((part) => `L${area.getAttribute("data-layer")}.${part}`);
    const drawn = [...(scene()?.nodes ?? []), ...(scene()?.cells ?? [])];
    return ids.find((id) => drawn.some((each) => each.id === id)) ?? null;
  }

  /** @type {string | null} */
  let clickedRest = null;

  /**
   * A double click on a rest node shows the next of it. The first click opens the panel, which may
   * move the stage from under the second: what counts is what the first one met.
   * @param {MouseEvent} event
   */
  function opensRest({ target, detail }) {
    if (detail >= 2 && clickedRest !== null) {
      dispatch({ type: "open-rest", node: clickedRest });
      return true;
    }
    const node = target instanceof Element ? target.closest("[data-kind='rest']") : null;
    clickedRest = node?.getAttribute("data-node") ?? null;
    return false;
  }

  on("click", (/** @type {MouseEvent} */ event) => {
    if (opensRest(event)) return;
    const target = event.target instanceof Element ? event.target : null;
    const label = target?.closest("[data-label-of]")?.getAttribute("data-label-of");
    const source = target?.closest(".vw-ribbon[data-source]")?.getAttribute("data-source");
    const additive = event.shiftKey || event.ctrlKey || event.metaKey;
    const id = label ?? (source?.startsWith("from.") ? null : source);
    if (id) {
      dispatch({ type: "select", nodes: [id], additive });
      return;
    }
    const element = stopOf(event.target);
    if (!element) return;
    active = element.getAttribute("data-nav") ?? active;
    rove();
    activate(element, additive);
  });

  on("pointermove", (/** @type {PointerEvent} */ event) => {
    const { lit, node } = under(event);
    const key = lit ?? node;
    if (key === pointed) return;
    pointed = key;
    pointAt(lit);
    dispatch({ type: "hover", node, x: event.clientX, y: event.clientY });
  });
  on("pointerleave", (/** @type {PointerEvent} */ event) => {
    pointed = null;
    pointAt(null);
    dispatch({ type: "hover", node: null, x: event.clientX, y: event.clientY });
  });
  on("focusin", (/** @type {FocusEvent} */ event) => {
    const element = stopOf(event.target);
    if (!element) return;
    active = element.getAttribute("data-nav") ?? active;
    rove();
    pointAt(element.matches(":focus-visible") ? element.getAttribute("data-node") : null);
  });
  on("focusout", () => pointAt(null));

  on("keydown", (/** @type {KeyboardEvent} */ event) => {
    const current = scene();
    const shown = view();
    const element = stopOf(event.target);
    if (!current || !shown || !element) return;
    const arrow = arrowOf(event);
    const key = pressed(event, "open", "add", "out", "bring", "first", "last");
    if (key === "open" || key === "add") {
      activate(element, key === "add");
    } else if (key === "bring") {
      const layer =
        element.getAttribute("data-role") === "layer" && element.getAttribute("data-layer");
      const node = element.getAttribute("data-node") ?? (layer ? `L${layer}.post` : null);
      if (node === null) return;
      dispatch({ type: "bring", node });
    } else if (key === "out") {
      const layer = element.getAttribute("data-layer");
      // First what is chosen is let go, which is the shell's to do.
      if (shown.selection.length > 0) return;
      if (layer === null || !current.panels.some((panel) => panel.layer === Number(layer))) return;
      close(Number(layer));
    } else if (key !== null) {
      const { first, last } = firstAndLast(current, active);
      focus(key === "first" ? first : last);
    } else if (arrow) {
      const { edges } = shown.graph;
      focus(nextStop(current, active, arrow, { edges, measure: shown.measure }));
    } else {
      return;
    }
    event.preventDefault();
    event.stopPropagation();
  });

  return { rove, stop: () => controller.abort() };
}

/** @param {Element} element */
function rootActive(element) {
  const root = /** @type {Document | ShadowRoot} */ (element.getRootNode());
  return root.activeElement ?? null;
}
