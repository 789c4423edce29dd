/** Keys that the widget takes while it has the focus, and no others. */

import { showsAll } from "../state/selectors.js";
import { pressed } from "../words/keys.js";

/** @import { Controller } from "../state/controller.js" */
/** @import { Popovers } from "../ui/popover.js" */

/**
 * @param {HTMLElement} root
 * @param {Controller} controller
 * @param {Popovers} popovers
 * @param {{search: {open: () => void, close: () => boolean}, help: () => void}} windows
 * @returns {() => void}
 */
export function listenToKeys(root, controller, popovers, { search, help }) {
  /** @param {KeyboardEvent} event */
  function onKey(event) {
    if (event.defaultPrevented || event.isComposing) return;
    const out = pressed(event, "out") !== null;
    const handled = out ? stepOut() : isTyping(event) ? false : step(event);
    if (!handled) return;
    event.preventDefault();
    event.stopPropagation();
  }

  function stepOut() {
    if (popovers.close({ focus: true }) || search.close()) return true;
    const state = controller.getState();
    if (showsAll(state)) return false;
    if (state.selection.length > 0) controller.dispatch({ type: "select", nodes: [] });
    else if (state.prompts) controller.dispatch({ type: "open", prompt: null });
    else return false;
    return true;
  }

  /** @param {KeyboardEvent} event */
  function step(event) {
    const name = pressed(event, "undo", "redo", "search", "help");
    if (name === "undo" || name === "redo") controller.dispatch({ type: name });
    else if (name === "search") search.open();
    else if (name === "help") help();
    return name !== null;
  }

  root.addEventListener("keydown", onKey);
  return () => root.removeEventListener("keydown", onKey);
}

/** @param {KeyboardEvent} event */
function isTyping(event) {
  const [target] = event.composedPath();
  return target instanceof Element && target.matches("input, textarea, [contenteditable]");
}
