/** Chooses a token: one that the model considers next, or any of its vocabulary. */

import { fill, h, icon } from "../../ui/dom.js";
import { isVoid } from "../../wire/requests.js";
import { percent } from "../../words/format.js";
import { pressed } from "../../words/keys.js";

/** @import { Named, RankedToken, Token } from "../../types.js" */

const DEBOUNCE_MS = 180;
let chooserCount = 0;

/**
 * @param {object} options
 * @param {RankedToken[]} options.prediction
 * @param {Named | null} options.current
 * @param {string} options.label
 * @param {string} options.hint What choosing does.
 * @param {string} [options.noneLabel] Offers to choose no token, in these words.
 * @param {(query: string, signal: AbortSignal) => Promise<Token[]>} options.search
 * @param {(token: Token | null) => void} options.onChoose
 * @returns {{el: HTMLElement, destroy: () => void}}
 */
export function createTokenChooser(options) {
  const listId = `vw-tokens-${Math.random().toString(36).slice(2, 8)}-${++chooserCount}`;
  /** @type {{token: RankedToken | Token | null, el: HTMLElement}[]} */
  let choices = [];
  let active = -1;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  let asking = new AbortController();

  const input = h("input", {
    type: "text",
    class: "vw-chooser-input",
    dir: "auto",
    role: "combobox",
    placeholder: "search the vocabulary",
    "aria-label": options.label,
    "aria-controls": listId,
    "aria-expanded": "true",
    "aria-autocomplete": "list",
    autocomplete: "off",
    spellcheck: "false",
    input: queueSearch,
    keydown: onKey,
  });
  const note = h("p", { class: "vw-chooser-note", role: "status" }, options.hint);
  const list = h("ul", { class: "vw-chooser-list", role: "listbox", id: listId });
  const el = h(
    "div",
    { class: "vw-chooser" },
    h("label", { class: "vw-chooser-field" }, icon("search"), input),
    note,
    list,
  );
  showPrediction();

  function showPrediction() {
    const offered = options.noneLabel ? [null, ...options.prediction] : options.prediction;
    note.textContent = options.hint;
    showChoices(offered);
  }

  /** @param {(RankedToken | Token | null)[]} tokens */
  function showChoices(tokens) {
    const most = Math.max(...tokens.map(probabilityOf), 1e-9);
    choices = tokens.map((token, index) => {
      const probability = probabilityOf(token);
      const chosen = (token?.id ?? null) === (options.current?.id ?? null);
      const item = h(
        "li",
        {
          id: `${listId}-${index}`,
          role: "option",
          class: "vw-choice",
          "aria-selected": chosen ? "true" : "false",
          // Keeps the focus in the field; the click still comes.
          pointerdown: (/** @type {PointerEvent} */ event) => event.preventDefault(),
          pointerenter: () => activate(index),
          click: () => options.onChoose(token),
        },
        probability > 0 && h("span", { class: "vw-choice-bar", "aria-hidden": true }),
        h(
          "span",
          { class: token ? "vw-token" : "vw-choice-none" },
          token ? token.text : (options.noneLabel ?? ""),
        ),
        probability > 0 && h("span", { class: "vw-choice-value" }, percent(probability)),
        chosen && icon("check"),
      );
      item.style.setProperty("--vw-part", String(probability / most));
      return { token, el: item };
    });
    fill(
      list,
      choices.map((choice) => choice.el),
    );
    activate(-1);
  }

  function queueSearch() {
    clearTimeout(timer);
    asking.abort();
    const query = input.value;
    if (query.trim() === "") return showPrediction();
    timer = setTimeout(() => search(query), DEBOUNCE_MS);
  }

  /** @param {string} query */
  async function search(query) {
    asking = new AbortController();
    const { signal } = asking;
    note.textContent = "searching…";
    try {
      const tokens = await options.search(query, signal);
      if (signal.aborted) return;
      note.textContent =
        tokens.length === 0 ? `No token of the vocabulary matches “${query}”.` : "";
      showChoices(tokens);
      if (tokens.length > 0) activate(0);
    } catch (error) {
      if (signal.aborted || isVoid(error)) return;
      note.textContent = error instanceof Error ? error.message : String(error);
      showChoices([]);
    }
  }

  /** @param {number} index */
  function activate(index) {
    choices[active]?.el.classList.remove("active");
    active = index;
    const choice = choices[index];
    choice?.el.classList.add("active");
    choice?.el.scrollIntoView?.({ block: "nearest" });
    if (choice) input.setAttribute("aria-activedescendant", choice.el.id);
    else input.removeAttribute("aria-activedescendant");
  }

  /** @param {KeyboardEvent} event */
  function onKey(event) {
    const key = pressed(event, "lower", "upper", "choose");
    const step = key === "lower" ? 1 : key === "upper" ? -1 : 0;
    if (step && choices.length > 0) {
      activate(
        (active + step + choices.length + (active < 0 && step < 0 ? 1 : 0)) % choices.length,
      );
    } else if (key === "choose" && choices[active]) {
      options.onChoose(choices[active].token);
    } else {
      return;
    }
    event.preventDefault();
    event.stopPropagation();
  }

  return {
    el,
    destroy() {
      clearTimeout(timer);
      asking.abort();
    },
  };
}

/** @param {RankedToken | Token | null} token */
const probabilityOf = (token) => (token && "probability" in token ? token.probability : 0);
