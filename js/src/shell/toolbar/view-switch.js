/** The ways to look at one computation. */

import { h, setAttribute } from "../../ui/dom.js";
import { VIEWS } from "../../views/index.js";

/** @import { Controller } from "../../state/controller.js" */
/** @import { State } from "../../state/state.js" */

/** @param {Controller} controller */
export function createViewSwitch({ dispatch }) {
  const buttons = VIEWS.map(({ name: view, label, title }) =>
    h(
      "button",
      {
        class: "vw-switch-part",
        "data-view": view,
        title,
        click: () => dispatch({ type: "set-view", view }),
      },
      label,
    ),
  );
  const el = h("div", { class: "vw-switch", role: "group", "aria-label": "View" }, buttons);

  /** @param {State} state */
  function update({ view, graph }) {
    for (const button of buttons) {
      setAttribute(button, "aria-pressed", String(button.dataset.view === view));
      button.disabled = !graph;
    }
  }

  return { el, update };
}
