/** One small window at a time, inside the widget, under the control that opened it. */

import { pressed } from "../words/keys.js";
import { h } from "./dom.js";

const GAP = 6;
const MARGIN = 8;
const TAB_STOPS =
  "button:not([disabled], [tabindex='-1']), input, select, textarea, summary, [tabindex='0']";

/**
 * @typedef {object} OpenPopover
 * @property {HTMLElement} anchor
 * @property {HTMLElement} element
 * @property {() => void} [onClose]
 */

/**
 * @param {HTMLElement} root
 */
export function createPopovers(root) {
  /** @type {OpenPopover | null} */
  let open = null;

  /**
   * @param {HTMLElement} anchor
   * @param {HTMLElement} content
   * @param {{label: string, align?: "start" | "end", onClose?: () => void}} options
   */
  function show(anchor, content, { label, align = "start", onClose }) {
    const again = open?.anchor === anchor;
    close();
    if (again) return;
    const element = h("div", { class: "vw-popover", role: "dialog", "aria-label": label }, content);
    root.append(element);
    anchor.setAttribute("aria-expanded", "true");
    open = { anchor, element, onClose };
    place(align);
    const first = /** @type {HTMLElement | null} */ (
      element.querySelector("[data-first]") ??
        element.querySelector("input, [role='menuitem'], button")
    );
    first?.focus({ preventScroll: true });
  }

  /**
   * Tab stays within: what lies behind is reached by closing.
   *
   * @param {KeyboardEvent} event
   */
  function keepTab(event) {
    const key = pressed(event, "walk", "back");
    if (!key || !open || !event.composedPath().includes(open.element)) return;
    const stops = /** @type {HTMLElement[]} */ ([...open.element.querySelectorAll(TAB_STOPS)]);
    const at = stops.indexOf(/** @type {HTMLElement} */ (event.composedPath()[0]));
    const inside = key === "back" ? at > 0 : at < stops.length - 1;
    if (inside) return;
    stops[key === "back" ? stops.length - 1 : 0]?.focus();
    event.preventDefault();
  }

  /** @param {"start" | "end"} align */
  function place(align) {
    if (!open) return;
    const frame = root.getBoundingClientRect();
    const anchor = open.anchor.getBoundingClientRect();
    const width = open.element.offsetWidth;
    const wanted = (align === "end" ? anchor.right - width : anchor.left) - frame.left;
    const left = Math.max(MARGIN, Math.min(wanted, frame.width - width - MARGIN));
    const above = anchor.top - frame.top - GAP;
    const below = frame.bottom - anchor.bottom - GAP;
    // What fills later grows away from its control, so the side is chosen by the room there is.
    const upwards = above > 2 * below;
    const { style } = open.element;
    style.left = `${left}px`;
    style.top = upwards ? "auto" : `${anchor.bottom - frame.top + GAP}px`;
    style.bottom = upwards ? `${frame.bottom - anchor.top + GAP}px` : "auto";
    style.setProperty("--vw-room", `${(upwards ? above : below) - MARGIN}px`);
  }

  /**
   * @param {{focus?: boolean}} [options] Whether the control that opened it gets the focus back.
   * @returns {boolean} Whether there was one to close.
   */
  function close({ focus = false } = {}) {
    if (!open) return false;
    const { anchor, element, onClose } = open;
    open = null;
    anchor.setAttribute("aria-expanded", "false");
    element.remove();
    onClose?.();
    if (focus) anchor.focus({ preventScroll: true });
    return true;
  }

  /** @param {Event} event */
  function closeOutside(event) {
    if (!open) return;
    // In a shadow root the target is retold as the host; the path is not.
    const path = event.composedPath();
    if (!path.includes(open.element) && !path.includes(open.anchor)) close();
  }

  /** @param {FocusEvent} event */
  function closeLeft(event) {
    const next = event.relatedTarget;
    if (!open || !(next instanceof Node)) return;
    if (!open.element.contains(next) && !open.anchor.contains(next)) close();
  }

  const document = root.ownerDocument;
  document.addEventListener("pointerdown", closeOutside, true);
  root.addEventListener("focusout", closeLeft);
  root.addEventListener("keydown", keepTab);

  return {
    show,
    close,
    isOpen: () => open !== null,
    destroy() {
      close();
      document.removeEventListener("pointerdown", closeOutside, true);
      root.removeEventListener("focusout", closeLeft);
      root.removeEventListener("keydown", keepTab);
    },
  };
}

/** @typedef {ReturnType<typeof createPopovers>} Popovers */
