/**
 * Bringing a part of the other prompt over, by hand: what says “there” is dragged onto its place
 * here. Whatever may be dragged has `data-bring`, the part's id, and perhaps `data-bring-at`, a
 * position; its place here has `data-node`, `data-label-of` or `data-part` of the same.
 */

import { h } from "../../ui/dom.js";
import { nameOfPart } from "../../words/interventions.js";
import { pressed } from "../../words/keys.js";
import { tokenText } from "../../words/words.js";

/** @import { Controller } from "../../state/controller.js" */

/** So far a pointer moves before it drags, in pixels: a click is no drag. */
const STARTS = 6;

/**
 * @param {HTMLElement} root
 * @param {Controller} controller
 * @returns {() => void}
 */
export function listenToBringing(root, { dispatch, getState, live }) {
  if (!live) return () => {};
  const stops = new AbortController();
  /** @type {{id: string, at: number | null, x: number, y: number, from: Element} | null} */
  let held = null;
  /** @type {HTMLElement | null} */
  let ghost = null;

  const partOf = (/** @type {{id: string, at: number | null}} */ { id, at }) =>
    at === null ? id : `${id}@${at}`;
  const selectorOf = (/** @type {{id: string, at: number | null}} */ part) =>
    ["data-node", "data-label-of", "data-part"]
      .map((name) => `[${name}="${partOf(part)}"]`)
      .join(", ");

  /** @param {PointerEvent} event */
  function onDown(event) {
    const [target] = event.composedPath();
    const from = target instanceof Element ? target.closest("[data-bring]") : null;
    if (!from || event.button !== 0 || !getState().graph?.against) return;
    const at = from.getAttribute("data-bring-at");
    held = {
      id: from.getAttribute("data-bring") ?? "",
      at: at === null ? null : Number(at),
      x: event.clientX,
      y: event.clientY,
      from,
    };
  }

  /** @param {PointerEvent} event */
  function onMove(event) {
    if (!held) return;
    const { clientX: x, clientY: y } = event;
    if (!ghost && Math.hypot(x - held.x, y - held.y) < STARTS) return;
    if (!ghost) start();
    event.preventDefault();
    const frame = root.getBoundingClientRect();
    if (!ghost) return;
    ghost.style.left = `${x - frame.left + 12}px`;
    ghost.style.top = `${y - frame.top + 10}px`;
    ghost.classList.toggle("fits", isOver(x, y));
  }

  function start() {
    const { graph } = getState();
    if (!held || !graph) return;
    const place = held.at === null ? "" : ` at ${tokenText(graph, held.at)}`;
    ghost = h(
      "div",
      { class: "vw-ghost", "data-role": "ghost", "aria-hidden": true },
      `the other prompt’s ${nameOfPart(held.id, graph)}${place}`,
    );
    root.append(ghost);
    root.classList.add("bringing");
    for (const place of root.querySelectorAll(selectorOf(held))) {
      if (place !== held.from) place.classList.add("vw-drop");
    }
  }

  /**
   * @param {number} x
   * @param {number} y
   */
  function isOver(x, y) {
    const home = /** @type {Document | ShadowRoot} */ (root.getRootNode());
    const selector = held && selectorOf(held);
    return home.elementsFromPoint(x, y).some((element) => {
      const place = selector && root.contains(element) ? element.closest(selector) : null;
      return place !== null && place !== held?.from;
    });
  }

  /** @param {PointerEvent} event */
  function onUp({ clientX, clientY }) {
    const drags = ghost !== null;
    const part = held && drags && isOver(clientX, clientY) ? held : null;
    end();
    if (!drags) return;
    // What was dragged is not also clicked.
    const swallow = (/** @type {Event} */ event) => event.stopPropagation();
    root.addEventListener("click", swallow, { capture: true, once: true });
    setTimeout(() => root.removeEventListener("click", swallow, { capture: true }));
    if (part) dispatch({ type: "bring", node: part.id, position: part.at });
  }

  function end() {
    held = null;
    ghost?.remove();
    ghost = null;
    root.classList.remove("bringing");
    for (const place of root.querySelectorAll(".vw-drop")) place.classList.remove("vw-drop");
  }

  /** @param {KeyboardEvent} event */
  function onKey(event) {
    if (!ghost || !pressed(event, "out")) return;
    event.stopPropagation();
    end();
  }

  const { signal } = stops;
  const document = root.ownerDocument;
  root.addEventListener("pointerdown", onDown, { signal });
  document.addEventListener("pointermove", onMove, { signal });
  document.addEventListener("pointerup", onUp, { signal });
  document.addEventListener("pointercancel", end, { signal });
  document.addEventListener("keydown", onKey, { signal, capture: true });
  return () => {
    end();
    stops.abort();
  };
}
