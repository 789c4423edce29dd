/**
 * The one live region of an output cell. It waits for calm, so that typing and dragging are not
 * talked over, and of several cells of one widget only one speaks.
 */

import { h } from "../ui/dom.js";
import { announcements } from "../words/announce.js";
import { SILENCE } from "./problems.js";

/** @import { Controller } from "../state/controller.js" */
/** @import { State } from "../state/state.js" */

/** How long nothing may have happened before anything is said. */
const CALM_MS = 350;
/** After so long what was said may be said again: a region that does not change is not read. */
const FORGET_MS = 4_000;

/** The cells of a widget, those that stand longest first. @type {WeakMap<Controller, HTMLElement[]>} */
const cells = new WeakMap();

/**
 * @param {HTMLElement} root
 * @param {Controller} controller
 */
export function createLiveRegion(root, controller) {
  const el = h("div", { class: "vw-offscreen", "data-role": "live", "aria-live": "polite" });
  cells.set(controller, [...(cells.get(controller) ?? []), root]);
  let before = controller.getState();
  /** @type {Map<string, string>} */
  let queue = new Map();
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let forgetting;

  /** Whether this is the cell that the reader is in, or the first where that is none of them. */
  function speaks() {
    const all = cells.get(controller) ?? [];
    const holder = all.find((each) => {
      const home = /** @type {Document | ShadowRoot} */ (each.getRootNode());
      return home.activeElement !== null && each.contains(home.activeElement);
    });
    return (holder ?? all[0]) === root;
  }

  function say() {
    const text = [...queue.values()].join(" ");
    queue = new Map();
    if (!speaks() || el.textContent === text) return;
    el.textContent = text;
    clearTimeout(forgetting);
    forgetting = setTimeout(() => {
      el.textContent = "";
    }, FORGET_MS);
  }

  /** @param {string} topic @param {string} text */
  function add(topic, text) {
    queue.delete(topic);
    queue.set(topic, text);
    clearTimeout(timer);
    timer = setTimeout(say, CALM_MS);
  }

  /** @param {State} state */
  function update(state) {
    for (const { topic, text } of announcements(before, state)) add(topic, text);
    if (state.silent && !before.silent) add("silence", SILENCE);
    before = state;
  }

  return {
    el,
    update,
    add,
    destroy() {
      clearTimeout(timer);
      clearTimeout(forgetting);
      cells.set(
        controller,
        (cells.get(controller) ?? []).filter((each) => each !== root),
      );
    },
  };
}
