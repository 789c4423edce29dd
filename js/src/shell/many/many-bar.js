/** Over the one of many prompts that is open: the way back, and to the next. */

import { createChangeGuard, h, iconButton } from "../../ui/dom.js";
import { createRoving } from "../../ui/roving.js";

/** @import { Controller } from "../../state/controller.js" */
/** @import { State } from "../../state/state.js" */

/**
 * @param {Controller} controller
 * @param {() => number[]} sorted The prompts, as they are sorted.
 */
export function createManyBar({ dispatch, getState, live }, sorted) {
  const changed = createChangeGuard();
  const back = h(
    "button",
    {
      class: "vw-link",
      "data-role": "all-prompts",
      click: () => dispatch({ type: "open", prompt: null }),
    },
    "← All prompts",
  );
  const before = iconButton("up", "Previous prompt", () => go(-1), {
    "data-role": "prompt-before",
  });
  const after = iconButton("chevron", "Next prompt", () => go(1), { "data-role": "prompt-after" });
  const place = h("span", { class: "vw-many-place", "data-role": "prompt-place" });
  const el = h(
    "nav",
    { class: "vw-many-bar", "aria-label": "Prompts", hidden: true },
    back,
    before,
    after,
    place,
  );
  const roving = createRoving(el);

  /**
   * @param {State} state
   * @param {boolean} visible
   */
  function update({ prompts, opened, order, graph }, visible) {
    el.hidden = !visible;
    if (!prompts || !visible) return;
    if (!changed(prompts, opened, order, graph?.opened)) return;
    back.textContent = `← All ${prompts.rows.length} prompts`;
    const number = opened ?? graph?.opened ?? 0;
    place.textContent = `prompt ${number}`;
    before.disabled = next(-1) === undefined;
    after.disabled = next(1) === undefined;
  }

  /** @param {1 | -1} step */
  function next(step) {
    const { prompts, opened } = getState();
    const order = sorted();
    const usable = (/** @type {number} */ number) =>
      !prompts?.rows[number].problem && (live || prompts?.included?.includes(number));
    const from = order.indexOf(opened ?? -1);
    const rest = step > 0 ? order.slice(from + 1) : order.slice(0, Math.max(0, from)).reverse();
    return rest.find(usable);
  }

  /** @param {1 | -1} step */
  function go(step) {
    const prompt = next(step);
    if (prompt !== undefined) dispatch({ type: "open", prompt });
  }

  return { el, update, roving, destroy: () => roving.destroy() };
}
