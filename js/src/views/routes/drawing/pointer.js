/** What the mouse, a finger or the keyboard does to the routes, told as actions. */

import { pressed } from "../../../words/keys.js";
import { arrowOf } from "../../shared/arrows.js";
import { nextRouteStop } from "./keyboard.js";

/** @typedef {import("../layout/scene.js").RoutesScene} RoutesScene */

/**
 * @typedef {{kind: "node" | "ribbon", id: string}} RouteTarget `id`: of a node or mark, or a ribbon's
 *   key.
 *
 * @typedef {object} RoutesContext
 * @property {() => RoutesScene | null} scene
 * @property {(target: RouteTarget | null, x: number, y: number) => void} pointAt
 * @property {(target: RouteTarget, additive: boolean) => void} open
 */

/**
 * @param {SVGSVGElement} svg
 * @param {RoutesContext} context
 */
export function listenToRoutes(svg, { scene, pointAt, open }) {
  let active = "node:logits";
  let pointed = "";
  const controller = new AbortController();
  const on = (/** @type {string} */ type, /** @type {(event: any) => void} */ handler) =>
    holderOf(type).addEventListener(type, handler, { signal: controller.signal });
  // Chromium takes an SVG that listens to the focus for one that can have it.
  const holderOf = (/** @type {string} */ type) =>
    type.startsWith("focus") ? (svg.parentElement ?? svg) : svg;

  const stops = () => [...svg.querySelectorAll("[data-nav]")];
  const elementFor = (/** @type {string} */ key) =>
    stops().find((element) => element.getAttribute("data-nav") === key);

  function rove() {
    const all = stops();
    const holder =
      all.find((element) => element.getAttribute("data-nav") === active) ??
      all.find((element) => element.getAttribute("data-nav") === "node:logits");
    active = holder?.getAttribute("data-nav") ?? active;
    for (const element of all) {
      if (!element.hasAttribute("tabindex")) element.setAttribute("tabindex", "-1");
    }
    svg.querySelector('[tabindex="0"]')?.setAttribute("tabindex", "-1");
    holder?.setAttribute("tabindex", "0");
  }

  /**
   * @param {EventTarget | null} target
   * @returns {RouteTarget | null}
   */
  function targetOf(target) {
    if (!(target instanceof Element)) return null;
    const key = target.closest("[data-nav]")?.getAttribute("data-nav");
    if (key) {
      const at = key.indexOf(":");
      return { kind: key.startsWith("ribbon") ? "ribbon" : "node", id: key.slice(at + 1) };
    }
    const river = target.getAttribute("data-of");
    return river === null ? null : { kind: "node", id: river };
  }

  /** @param {string | null} key */
  function focus(key) {
    const element = key === null ? undefined : elementFor(key);
    if (key === null || !element) return;
    active = key;
    rove();
    /** @type {SVGElement} */ (element).focus();
    element.scrollIntoView?.({ block: "nearest", inline: "nearest" });
  }

  on("click", (/** @type {MouseEvent} */ event) => {
    const target = targetOf(event.target);
    if (!target) return;
    active = `${target.kind}:${target.id}`;
    rove();
    open(target, event.shiftKey || event.ctrlKey || event.metaKey);
  });
  on("pointermove", (/** @type {PointerEvent} */ event) => {
    const target = targetOf(event.target);
    const key = target ? `${target.kind}:${target.id}` : "";
    if (key === pointed) return;
    pointed = key;
    pointAt(target, event.clientX, event.clientY);
  });
  on("pointerleave", () => {
    pointed = "";
    pointAt(null, 0, 0);
  });
  on("focusin", (/** @type {FocusEvent} */ event) => {
    const target = targetOf(event.target);
    if (!target || !(event.target instanceof Element)) return;
    active = `${target.kind}:${target.id}`;
    rove();
    if (!event.target.matches(":focus-visible")) return;
    const { left, top, width, height } = event.target.getBoundingClientRect();
    pointAt(target, left + width / 2, top + height / 2);
  });
  on("focusout", () => pointAt(null, 0, 0));
  on("keydown", (/** @type {KeyboardEvent} */ event) => {
    const current = scene();
    const target = targetOf(event.target);
    if (!current || !target) return;
    const arrow = arrowOf(event);
    const key = pressed(event, "open", "add", "first", "last");
    if (key === "open" || key === "add") {
      open(target, key === "add");
    } else if (key !== null) {
      const first = current.tokens[0];
      focus(key === "last" || !first ? "node:logits" : `node:${first.id}`);
    } else if (arrow) {
      focus(nextRouteStop(current, `${target.kind}:${target.id}`, arrow));
    } else {
      return;
    }
    event.preventDefault();
    event.stopPropagation();
  });

  return {
    rove,
    forget() {
      pointed = "";
    },
    stop: () => controller.abort(),
  };
}
