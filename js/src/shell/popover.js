/** One small window at a time, inside the widget, under the control that opened it. */

import { h } from "./dom.js";

const GAP = 6;
const MARGIN = 8;

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
      element.querySelector("input, [role='menuitem'], button")
    );
    first?.focus({ preventScroll: true });
  }

  /** @param {"start" | "end"} align */
  function place(align) {
    if (!open) return;
    const frame = root.getBoundingClientRect();
    const anchor = open.anchor.getBoundingClientRect();
    const width = open.element.offsetWidth;
    const wanted = (align === "end" ? anchor.right - width : anchor.left) - frame.left;
    const left = Math.max(MARGIN, Math.min(wanted, frame.width - width - MARGIN));
    open.element.style.left = `${left}px`;
    open.element.style.top = `${anchor.bottom - frame.top + GAP}px`;
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

  return {
    show,
    close,
    isOpen: () => open !== null,
    destroy() {
      close();
      document.removeEventListener("pointerdown", closeOutside, true);
      root.removeEventListener("focusout", closeLeft);
    },
  };
}

/** @typedef {ReturnType<typeof createPopovers>} Popovers */
