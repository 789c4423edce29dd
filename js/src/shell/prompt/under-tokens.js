/**
 * Under each prompt token: what it adds to the prediction, as a bar, and what the model says comes
 * after it. Room is kept from the start, so that nothing moves when the numbers come.
 */

import { isStale } from "../../state/selectors.js";
import { createChangeGuard, fill, h, iconButton, setAttribute } from "../../ui/dom.js";
import { sinkWords } from "../../words/findings.js";
import {
  attributionWords,
  isRight,
  predictionWords,
  remainder,
  remainderWords,
  tokenBars,
} from "./token-words.js";

/** @import { Controller } from "../../state/controller.js" */
/** @import { State } from "../../state/state.js" */
/** @import { FlowGraph } from "../../types.js" */
/** @import { Popovers } from "../../ui/popover.js" */

/**
 * @typedef {"attribution" | "predictions"} Under
 *
 * @typedef {object} Cell One prompt token, and what is under it.
 * @property {HTMLElement} el
 * @property {HTMLElement} chip
 * @property {HTMLElement} under
 * @property {HTMLElement} bar
 * @property {HTMLElement} guess
 * @property {string} title What the chip itself is for.
 */

/** How high each is, as header.css has it. @type {Record<Under, number>} */
const HEIGHTS = { attribution: 8, predictions: 15 };

/** @type {[Under, string, string][]} */
const CHOICES = [
  ["attribution", "attribution", "a bar: what the token adds to the target’s logit"],
  ["predictions", "predictions", "what the model says comes next; ✓ where it does"],
];

/**
 * @param {Controller} controller
 * @param {Popovers} popovers
 * @param {() => void} onRoom Told when the room under the tokens has changed.
 */
export function createUnderTokens({ getState, dispatch }, popovers, onRoom) {
  const changed = createChangeGuard();
  const repliesChanged = createChangeGuard();
  /** @type {Cell[]} */
  let cells = [];
  let room = 0;

  const sum = h("span", { class: "vw-remainder", "data-role": "remainder" });
  const choose = iconButton("under", "What is shown under the tokens", openChoices, {
    "aria-haspopup": "dialog",
    "aria-expanded": "false",
    "data-role": "under-tokens",
  });

  /**
   * @param {HTMLElement[]} chips
   * @returns {HTMLElement[]}
   */
  function cellsOf(chips) {
    cells = chips.map((chip) => {
      const bar = h("i", { class: "vw-token-bar" });
      const guess = h("span", { class: "vw-guess" });
      const under = h("span", { class: "vw-under" }, bar, guess);
      return {
        el: h("span", { class: "vw-cell" }, chip, under),
        chip,
        under,
        bar,
        guess,
        title: chip.title,
      };
    });
    return cells.map(({ el }) => el);
  }

  /**
   * @param {State} state
   * @param {HTMLElement} el Gets the room as custom properties.
   */
  function update(state, el) {
    const { graph, attribution, predictions, sinks, lateMissing } = state;
    const { under } = state.display;
    if (!changed(graph, attribution, predictions, sinks, lateMissing, cells, under)) return;
    if (graph && repliesChanged(attribution, predictions, sinks, cells)) show(state, graph);
    const given = (/** @type {Under} */ name) => !lateMissing.includes(name) || !!state[name];
    const shown = (/** @type {Under} */ name) => under.includes(name) && given(name);
    choose.hidden = !graph || (!given("attribution") && !given("predictions"));
    let height = 0;
    for (const name of /** @type {const} */ (["attribution", "predictions"])) {
      el.classList.toggle(`with-${name}`, shown(name));
      el.classList.toggle(`old-${name}`, isStale(state, name));
      if (shown(name)) height += HEIGHTS[name];
    }
    el.classList.toggle("with-under", height > 0);
    el.classList.toggle("with-opaque", !!graph?.nodes.some(({ kind }) => kind === "opaque"));
    el.style.setProperty("--vw-under", `${height}px`);
    if (height === room) return;
    room = height;
    onRoom();
  }

  /**
   * @param {State} state
   * @param {FlowGraph} graph
   */
  function show(state, graph) {
    const { attribution, predictions, sinks } = state;
    const bars = attribution ? tokenBars(attribution) : [];
    // Old numbers may stand a while longer, but not with the new graph's target.
    const saysSo = attribution !== null && !isStale(state, "attribution");
    cells.forEach(({ chip, under, bar, guess, title }, position) => {
      const token = bars[position];
      const predicted = predictions?.positions[position];
      const part = token?.part ?? 0;
      bar.className = `vw-token-bar ${part === 0 ? "none" : token.value < 0 ? "negative" : "positive"}`;
      bar.style.setProperty("--vw-part", part.toFixed(4));
      const right = predicted !== undefined && isRight(predicted);
      guess.classList.toggle("right", right);
      fill(guess, right && h("b", {}, "✓"), predicted?.top[0]?.text);
      const words = [
        saysSo && token && attributionWords(graph, token),
        predicted && predictionWords(predicted),
      ].filter(Boolean);
      setAttribute(under, "role", words.length > 0 && "img");
      setAttribute(under, "aria-label", words.join(" ") || null);
      under.title = words.join("\n");
      const parked = sinkWords(sinks, position);
      chip.classList.toggle("parked", parked.length > 0);
      chip.title = [title, ...words, ...parked].filter(Boolean).join("\n");
    });
    sum.textContent = attribution ? remainder(attribution) : "";
    sum.title = saysSo ? remainderWords(graph, attribution) : "";
  }

  function openChoices() {
    const list = h(
      "div",
      { class: "vw-checks", role: "group", "aria-label": "Under the tokens" },
      CHOICES.map(([name, label, words]) => {
        const box = h("input", {
          type: "checkbox",
          change() {
            const { under } = getState().display;
            const others = under.filter((each) => each !== name);
            const next = box.checked ? [...others, name] : others;
            const inOrder = CHOICES.map(([each]) => each).filter((each) => next.includes(each));
            dispatch({ type: "set-display", display: { under: inOrder } });
          },
        });
        box.checked = getState().display.under.includes(name);
        box.disabled = getState().lateMissing.includes(name);
        return h("label", {}, box, h("b", {}, label), h("span", {}, words));
      }),
    );
    popovers.show(choose, list, { label: "Under the tokens" });
  }

  function shown() {
    const { under } = getState().display;
    return {
      attribution: under.includes("attribution"),
      predictions: under.includes("predictions"),
    };
  }

  return { cellsOf, update, choose, sum, height: () => room, shown };
}
