/** What the panel offers to do to a part: to knock it out, halve it, or multiply it. */

import { isEditable, withIntervention } from "../../state/interventions.js";
import { h } from "../../ui/dom.js";
import { interventionWords } from "../../words/interventions.js";
import { tokenText } from "../../words/words.js";

/** @import { Controller } from "../../state/controller.js" */
/** @import { State } from "../../state/state.js" */
/** @import { FlowGraph, Intervention } from "../../types.js" */

/** @param {Controller} controller */
export function createWhatIf({ dispatch, live }) {
  /** Where the next one is done. @type {"focus" | "all"} */
  let positions = "focus";

  /**
   * @param {string} id
   * @param {State} state
   * @param {FlowGraph} graph
   */
  return (id, { interventions: list }, graph) => {
    if (!live || !isEditable(id)) return null;
    const now = list.find((item) => item.id === id);
    const set = (/** @type {Intervention[]} */ interventions) =>
      dispatch({ type: "set-interventions", interventions });
    const act = (/** @type {Intervention["action"]} */ action) =>
      set(
        withIntervention(list, { id, action, positions: where.value === "all" ? "all" : "focus" }),
      );
    const where = h(
      "select",
      {
        class: "vw-select",
        "data-role": "edit-where",
        "aria-label": "Where it is done",
        change() {
          positions = where.value === "all" ? "all" : "focus";
          if (now && typeof now.positions === "string") act(now.action);
        },
      },
      h("option", { value: "focus" }, `at ${tokenText(graph, graph.position)}`),
      h("option", { value: "all" }, "everywhere"),
    );
    where.value = typeof now?.positions === "string" ? now.positions : positions;
    const factor = h("input", {
      type: "number",
      class: "vw-number",
      step: "any",
      "data-role": "edit-factor",
      "aria-label": "Multiply it by",
      change() {
        if (factor.value !== "" && Number.isFinite(factor.valueAsNumber)) act(factor.valueAsNumber);
      },
    });
    if (typeof now?.action === "number") factor.value = String(now.action);
    const button = (
      /** @type {string} */ text,
      /** @type {string} */ role,
      /** @type {Intervention["action"]} */ action,
    ) =>
      h(
        "button",
        {
          class: "vw-show-head",
          "data-role": role,
          "aria-pressed": String(now?.action === action),
          click: () => (now?.action === action ? takeBack() : act(action)),
        },
        text,
      );
    const takeBack = () => set(list.filter((item) => item.id !== id));
    return h(
      "section",
      { class: "vw-section", "data-role": "what-if" },
      h("h3", {}, "what if it were …"),
      h(
        "p",
        { class: "vw-edit-tools" },
        button("knocked out", "knock-out", "zero"),
        button("halved", "halve", 0.5),
        h("label", {}, "× ", factor),
        where,
      ),
      now &&
        h(
          "p",
          { class: "vw-side-note" },
          interventionWords(now, graph),
          " ",
          h("button", { class: "vw-link", "data-role": "take-back", click: takeBack }, "take back"),
        ),
    );
  };
}
