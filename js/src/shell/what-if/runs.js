/** The runs: each time that something was done to the pass, to go back to. */

import { h, iconButton } from "../../ui/dom.js";
import { runFacts, runWords } from "../../words/runs.js";

/** @import { Controller } from "../../state/controller.js" */
/** @import { State } from "../../state/state.js" */
/** @import { Run } from "../../types.js" */
/** @import { Popovers } from "../../ui/popover.js" */

/**
 * @param {Controller} controller
 * @param {Popovers} popovers
 */
export function createRuns({ dispatch, live, getState }, popovers) {
  const list = h("div", { class: "vw-run-list" });
  const open = h("button", {
    class: "vw-link",
    "data-role": "runs",
    "aria-haspopup": "dialog",
    "aria-expanded": "false",
    click() {
      fillList(getState());
      popovers.show(
        open,
        h(
          "div",
          { class: "vw-runs", "data-role": "run-list" },
          h("p", {}, "What was done to the pass, and how the target stood before and after:"),
          list,
        ),
        { label: "Runs", align: "end" },
      );
    },
  });

  /** @param {State} state */
  function update(state) {
    const { runs } = state;
    open.hidden = runs.length === 0;
    open.textContent = runs.length === 1 ? "1 run" : `${runs.length} runs`;
    if (list.isConnected) fillList(state);
  }

  /** @param {State} state */
  function fillList(state) {
    const { runs, graph } = state;
    if (!graph) return;
    const held = list.contains(list.ownerDocument.activeElement)
      ? /** @type {HTMLElement} */ (list.ownerDocument.activeElement).dataset.role
      : undefined;
    list.replaceChildren(
      h(
        "ul",
        {},
        [...runs].reverse().map((run) => rowOf(run, state)),
      ),
    );
    if (live) {
      list.append(
        h(
          "button",
          {
            class: "vw-link",
            "data-role": "remove-runs",
            click() {
              dispatch({ type: "remove-runs", ids: runs.map(({ id }) => id) });
              popovers.close({ focus: true });
            },
          },
          "remove all from the list",
        ),
      );
    }
    const again = held && list.querySelector(`[data-role="${held}"]`);
    if (again instanceof HTMLElement) again.focus();
    else if (held) list.querySelector("button")?.focus();
  }

  /**
   * @param {Run} run
   * @param {State} state
   */
  function rowOf(run, { graph, runs, interventions }) {
    if (!graph) return h("li", {});
    const shown = isShown(run, { graph, interventions });
    const words = runWords(run, graph);
    return h(
      "li",
      { class: shown ? "vw-run shown" : "vw-run", "data-run": run.id },
      h(
        "button",
        {
          class: "vw-run-open",
          "data-role": `open-run-${run.id}`,
          "aria-current": shown ? "true" : null,
          disabled: !live,
          title: shown ? "This is on screen" : "Run it again",
          click() {
            popovers.close({ focus: true });
            dispatch({ type: "open-run", run });
          },
        },
        h("span", {}, words),
        h("span", { class: "vw-run-facts" }, runFacts(run)),
      ),
      live &&
        iconButton(
          "close",
          `Take out of the list: ${words}`,
          () => {
            dispatch({ type: "remove-runs", ids: [run.id] });
            if (runs.length === 1) popovers.close({ focus: true });
          },
          { "data-role": `remove-run-${run.id}` },
        ),
    );
  }

  return { open, update };
}

/**
 * @param {Run} run
 * @param {Pick<State, "graph" | "interventions">} state
 */
function isShown(run, { graph, interventions }) {
  const same = (/** @type {unknown} */ a, /** @type {unknown} */ b) =>
    JSON.stringify(a ?? null) === JSON.stringify(b ?? null);
  return (
    same(run.interventions, interventions) &&
    run.prompt === graph?.prompt &&
    run.focus === graph.position &&
    run.target.id === graph.target.id &&
    same(run.against, graph.against?.prompt)
  );
}
