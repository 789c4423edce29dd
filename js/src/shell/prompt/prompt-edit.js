/** A prompt being typed: Enter traces it, Escape leaves it as it was. */

import { h } from "../../ui/dom.js";
import { pressed } from "../../words/keys.js";

/**
 * @param {object} spec
 * @param {string} spec.value What stands there at first.
 * @param {string} spec.label What is typed.
 * @param {string} spec.verb What the button does with it.
 * @param {(prompt: string | null) => void} spec.onEnd Told the prompt, or null where it is left.
 */
export function createPromptEdit({ value, label, verb, onEnd }) {
  const field = h("textarea", {
    class: "vw-prompt-input",
    rows: 1,
    dir: "auto",
    "aria-label": `${label}. Enter traces it, Escape leaves it as it was`,
    spellcheck: "false",
    input: grow,
    keydown(/** @type {KeyboardEvent} */ event) {
      const key = pressed(event, "submit", "out", "walk", "back");
      if (key === "submit" && !event.isComposing) submit(event);
      else if (key === "out") end(event, null);
      else if (key !== "walk" && key !== "back") event.stopPropagation();
    },
  });
  field.value = value;
  const trace = h("button", { class: "vw-button", click: submit }, verb);
  const cancel = h(
    "button",
    { class: "vw-link", click: (/** @type {Event} */ event) => end(event, null) },
    "cancel",
  );
  const el = h("div", { class: "vw-prompt-edit" }, field, trace, cancel);

  function grow() {
    field.style.height = "auto";
    field.style.height = `${field.scrollHeight + 2}px`;
  }

  /** @param {Event} event */
  function submit(event) {
    if (field.value !== "") end(event, field.value);
  }

  /**
   * @param {Event} event
   * @param {string | null} prompt
   */
  function end(event, prompt) {
    event.preventDefault();
    event.stopPropagation();
    onEnd(prompt);
  }

  /** Once it is on the page. */
  function begin() {
    field.focus({ preventScroll: true });
    field.select();
    grow();
  }

  return { el, begin };
}
