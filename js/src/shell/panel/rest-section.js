/** What the panel offers for a rest node: to see more of it apart, or less again. */

import { restStep } from "../../state/keep.js";
import { h } from "../../ui/dom.js";
import { whole } from "../../words/format.js";

/** @import { UserAction } from "../../state/controller.js" */
/** @import { Keep, Node } from "../../types.js" */

/**
 * @param {Node} node
 * @param {{keep: Keep, live: boolean, dispatch: (action: UserAction) => void}} context
 * @returns {HTMLElement[]}
 */
export function restSection({ id, rest }, { keep, live, dispatch }) {
  const step = live ? restStep(keep, id) : null;
  const next = Math.min(step ?? 0, rest?.count ?? 0);
  const isOpened = step !== null && (keep.more?.[id] ?? 0) > 0;
  const more = h(
    "button",
    {
      class: "vw-button",
      "data-role": "open-rest",
      title: "Or double-click it in the picture",
      click: () => dispatch({ type: "open-rest", node: id }),
    },
    `Show the next ${whole(next)}`,
  );
  const fewer = h(
    "button",
    {
      class: "vw-link",
      "data-role": "close-rest",
      click: () => dispatch({ type: "close-rest", node: id }),
    },
    "Show fewer",
  );
  const buttons = [next > 0 && more, isOpened && fewer];
  const note = h("p", { class: "vw-side-note" }, "Left out of the picture, not out of the sum.");
  return buttons.some(Boolean) ? [note, h("p", { class: "vw-side-more" }, buttons)] : [note];
}
