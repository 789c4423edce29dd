/** What the panel offers to do to a part: to knock it out, halve it, multiply it, or patch it. */

import { FROM_OTHER, isEditable, withIntervention } from "../../state/interventions.js";
import { h } from "../../ui/dom.js";
import { interventionWords } from "../../words/interventions.js";
import { pressed } from "../../words/keys.js";
import { tokenText } from "../../words/words.js";

/** @import { Controller } from "../../state/controller.js" */
/** @import { State } from "../../state/state.js" */
/** @import { FlowGraph, Intervention } from "../../types.js" */
/** @import { Popovers } from "../../ui/popover.js" */

/**
 * @param {Controller} controller
 * @param {Popovers} popovers
 */
export function createWhatIf({ dispatch, live, getState }, popovers) {
  /** Where the next one is done. @type {"focus" | "all"} */
  let positions = "focus";
  /** The prompt that was patched from last. */
  let other = "";

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
    const act = (/** @type {Omit<Intervention, "id" | "positions">} */ done) =>
      set(
        withIntervention(getState().interventions, {
          id,
          ...done,
          positions: where.value === "all" ? "all" : "focus",
        }),
      );
    const where = h(
      "select",
      {
        class: "vw-select",
        "data-role": "edit-where",
        "aria-label": "Where it is done",
        change() {
          positions = where.value === "all" ? "all" : "focus";
          if (!now || typeof now.positions !== "string") return;
          const { id: _, ...done } = now;
          act(done);
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
        if (factor.value === "" || !Number.isFinite(factor.valueAsNumber)) return;
        act({ action: factor.valueAsNumber });
      },
    });
    if (typeof now?.action === "number") factor.value = String(now.action);
    const toggle = (
      /** @type {string} */ text,
      /** @type {string} */ role,
      /** @type {boolean} */ on,
      /** @type {Omit<Intervention, "id" | "positions">} */ done,
    ) =>
      h(
        "button",
        {
          class: "vw-show-head",
          "data-role": role,
          "aria-pressed": String(on),
          click: () => (on ? takeBack() : act(done)),
        },
        text,
      );
    const button = (
      /** @type {string} */ text,
      /** @type {string} */ role,
      /** @type {Intervention["action"]} */ action,
    ) => toggle(text, role, now?.action === action, { action });
    const takeBack = () => set(list.filter((item) => item.id !== id));
    const patch = h(
      "button",
      {
        class: "vw-show-head",
        "data-role": "patch",
        "aria-pressed": String(now?.prompt !== undefined),
        "aria-haspopup": "dialog",
        click: () => askPrompt(now?.prompt ?? (other || graph.prompt)),
      },
      "patched from …",
    );
    const askPrompt = (/** @type {string} */ text) => {
      const field = h("input", {
        type: "text",
        class: "vw-patch-prompt",
        "data-role": "patch-prompt",
        "aria-label": "The prompt to take it from",
        value: text,
        keydown(/** @type {KeyboardEvent} */ event) {
          if (!pressed(event, "submit")) return;
          // Or the key would press the button that gets the focus back.
          event.preventDefault();
          commit();
        },
      });
      const commit = () => {
        if (!field.value) return;
        other = field.value;
        popovers.close({ focus: true });
        act({ action: "patch", prompt: other });
      };
      popovers.show(
        patch,
        h(
          "div",
          { class: "vw-patch" },
          h("p", {}, "Take it from this prompt, counted from its last token:"),
          field,
          h("button", { class: "vw-show-head", "data-role": "patch-go", click: commit }, "patch"),
        ),
        { label: "Patch from another prompt" },
      );
      field.select();
    };
    return h(
      "div",
      { class: "vw-edit-tools", "data-role": "what-if", role: "group", "aria-label": "What if" },
      h("span", { class: "vw-edit-word" }, "what if"),
      button("knocked out", "knock-out", "zero"),
      button("halved", "halve", 0.5),
      h("label", {}, "× ", factor),
      graph.against &&
        toggle(
          "patched from the other",
          "patch-other",
          now?.action === "patch" && now.label === FROM_OTHER,
          { action: "patch", label: FROM_OTHER },
        ),
      patch,
      where,
      now &&
        h("button", { class: "vw-link", "data-role": "take-back", click: takeBack }, "take back"),
      now && h("span", { class: "vw-offscreen" }, interventionWords(now, graph)),
    );
  };
}
