/** Keys that the widget takes while it has the focus, and no others. */

/** @import { Controller } from "../state/controller.js" */
/** @import { Popovers } from "../ui/popover.js" */

/**
 * @param {HTMLElement} root
 * @param {Controller} controller
 * @param {Popovers} popovers
 * @returns {() => void}
 */
export function listenToKeys(root, controller, popovers) {
  /** @param {KeyboardEvent} event */
  function onKey(event) {
    if (event.defaultPrevented || event.isComposing) return;
    const handled = event.key === "Escape" ? stepOut() : isTyping(event) ? false : step(event);
    if (!handled) return;
    event.preventDefault();
    event.stopPropagation();
  }

  function stepOut() {
    if (popovers.close({ focus: true })) return true;
    if (controller.getState().selection.length === 0) return false;
    controller.dispatch({ type: "select", nodes: [] });
    return true;
  }

  /** @param {KeyboardEvent} event */
  function step({ key, ctrlKey, metaKey, altKey, shiftKey }) {
    if (altKey) return false;
    const command = ctrlKey || metaKey;
    const letter = key.toLowerCase();
    const back = command ? letter === "z" && !shiftKey : letter === "u" && !shiftKey;
    const forth = command
      ? letter === "y" || (letter === "z" && shiftKey)
      : letter === "u" && shiftKey;
    if (!back && !forth) return false;
    controller.dispatch({ type: back ? "undo" : "redo" });
    return true;
  }

  root.addEventListener("keydown", onKey);
  return () => root.removeEventListener("keydown", onKey);
}

/** @param {KeyboardEvent} event */
function isTyping(event) {
  const [target] = event.composedPath();
  return target instanceof Element && target.matches("input, textarea, [contenteditable]");
}
