/** What went wrong, in a sentence each, above the graph and out of its way. */

import { createChangeGuard, fill, h, icon, iconButton } from "../ui/dom.js";
import { createRoving } from "../ui/roving.js";

/** @import { UserAction } from "../state/controller.js" */
/** @import { Problem, State } from "../state/state.js" */

export const SILENCE =
  "The kernel has not answered for a while: it may be busy with another cell, or gone; then run " +
  "this cell again to look further. This page is still waiting, and what it shows keeps working.";

/** The live region says it once; all of this is drawn anew whenever one of them comes or goes. */
const UNSAID = { "aria-live": "off" };

/**
 * @param {(action: UserAction) => void} dispatch
 */
export function createProblems(dispatch) {
  const changed = createChangeGuard();
  const el = h("div", { class: "vw-problems", "data-role": "problems" });
  const roving = createRoving(el);

  /** @param {State} state */
  function update({ problems: all, silent }) {
    if (!changed(all, silent)) return;
    // What the panel or the audit lacks is said there; so are routes that cannot be tried again.
    const elsewhere = ["details", "audit"];
    const problems = all.filter(
      ({ key, retry }) => !elsewhere.includes(key) && (key !== "routes" || retry),
    );
    fill(
      el,
      silent &&
        h("div", { class: "vw-problem quiet", role: "status", ...UNSAID }, h("p", {}, SILENCE)),
      problems.map(bannerOf),
    );
  }

  /** @param {Problem} problem */
  function bannerOf({ key, message, retry, quiet }) {
    return h(
      "div",
      {
        class: quiet ? "vw-problem quiet" : "vw-problem",
        role: quiet ? "status" : "alert",
        ...UNSAID,
        "data-problem": key,
      },
      !quiet && icon("alert"),
      h("p", {}, message),
      retry &&
        h(
          "button",
          { class: "vw-link", click: () => dispatch({ type: "retry", key }) },
          "try again",
        ),
      iconButton("close", "Dismiss", () => dispatch({ type: "dismiss", key })),
    );
  }

  return { el, update, roving, destroy: roving.destroy };
}
