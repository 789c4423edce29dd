/** The prompt as tokens: the focus marked, a click moves it; then the target; under them, numbers. */

import { createChangeGuard, fill, h, icon, iconButton, setAttribute } from "../../ui/dom.js";
import { createRoving } from "../../ui/roving.js";
import { percent, whole } from "../../words/format.js";
import { createOtherPrompt, OTHER_HEIGHT } from "./other-prompt.js";
import { createPromptEdit } from "./prompt-edit.js";
import { createTokenChooser } from "./token-chooser.js";
import { createTurns } from "./turns.js";
import { createUnderTokens } from "./under-tokens.js";

/** @import { Controller } from "../../state/controller.js" */
/** @import { State } from "../../state/state.js" */
/** @import { Popovers } from "../../ui/popover.js" */

/** Two rows of chips, as header.css sizes them, and what is under each; what is more folds away. */
const FOLDED_HEIGHT = 66;
const ROW_HEIGHT = 32;
/** Between rows that have something under them. */
const UNDER_GAP = 4;
/** So many tokens fill more than two rows of any screen: they need no measuring, which is slow. */
const SURELY_LONG = 200;

/** What the target is, of each kind. */
const FOLLOWED = {
  token: "The token that is followed",
  mean: "The tokens that are followed, by the mean of their logits",
  logsumexp: "The tokens that are followed, as the logit of any of them",
  direction: "The direction that is followed",
};

/**
 * @param {Controller} controller
 * @param {Popovers} popovers
 */
export function createPromptBar(controller, popovers) {
  const { live } = controller;
  const tokensChanged = createChangeGuard();
  const focusChanged = createChangeGuard();
  const targetChanged = createChangeGuard();
  const foldChanged = createChangeGuard();
  const lightChanged = createChangeGuard();
  const under = createUnderTokens(controller, popovers, () => {
    under.update(controller.getState(), el);
    measure();
  });
  /** @type {HTMLElement[]} */
  let chips = [];
  /** @type {HTMLElement[]} */
  let cells = [];
  const turns = createTurns(() => measure());
  const unfolded = () => controller.getState().display.unfolded;
  let long = false;
  /** What was typed to compare with, until it is there. @type {string | null} */
  let tried = null;
  const other = createOtherPrompt(controller, startComparing);

  const row = h("div", {
    class: "vw-chips",
    role: "group",
    "aria-label": "Prompt tokens; the chosen one is where the model is looked into",
  });
  const fold = h("button", { class: "vw-link vw-fold", click: toggleFold });
  const target = h("button", {
    class: "vw-chip vw-target",
    "data-role": "target",
    "aria-haspopup": "dialog",
    "aria-expanded": "false",
    click: chooseTarget,
  });
  const arrow = h("span", { class: "vw-arrow", "aria-hidden": true }, "→");
  const edit = iconButton("pencil", "Edit the prompt", startEditing, {
    "data-role": "edit-prompt",
  });
  const tail = h(
    "span",
    { class: "vw-cell vw-tail-cell" },
    h("span", { class: "vw-tail" }, live && edit, live && other.open, under.choose, arrow, target),
    h("span", { class: "vw-under" }, under.sum),
    other.tail,
  );
  const bar = h("div", { class: "vw-prompt-row" }, row, tail);
  const el = h("div", { class: "vw-prompt", role: "group", "aria-label": "Prompt" }, bar, fold);
  const roving = createRoving(el);

  let measuredWidth = 0;
  const folding = new ResizeObserver(() => {
    if (el.clientWidth === measuredWidth) return;
    measuredWidth = el.clientWidth;
    measure();
  });
  folding.observe(el);

  /** @param {State} state */
  function update(state) {
    const { graph } = state;
    if (tokensChanged(graph?.tokens, graph?.against)) {
      chips = (graph?.tokens ?? []).map((token) => chipOf(token));
      turns.mark(chips, graph?.turns);
      cells = under.cellsOf(chips);
      const all = other.cellsOf(graph, cells);
      // Beside another prompt tokens stand in pairs, which turns would part.
      fill(row, graph?.against ? all : turns.arranged(cells, graph?.turns));
      if (graph?.against?.prompt === tried) tried = null;
      el.classList.toggle("with-other", !!graph?.against);
      measure();
    }
    under.update(state, el);
    if (foldChanged(state.display.unfolded)) showFold();
    if (focusChanged(state.focus, graph)) markFocus(state.focus, graph?.position);
    if (targetChanged(state.target, graph)) showTarget(state);
    el.classList.toggle("empty", !graph);
  }

  /** @param {import("../../types.js").PromptToken} token */
  function chipOf({ position, text }) {
    if (!live) return h("span", { class: "vw-chip" }, text);
    return h(
      "button",
      {
        class: "vw-chip",
        "data-position": position,
        title: `Look at what the model computes at token ${position}`,
        click: () => controller.dispatch({ type: "set-focus", position }),
      },
      text,
    );
  }

  /**
   * @param {number} focus
   * @param {number | undefined} shown Where the graph on screen stands: behind the focus, for a while.
   */
  function markFocus(focus, shown) {
    const moves = !chips[focus]?.classList.contains("focus");
    chips.forEach((chip, position) => {
      const chosen = position === focus;
      chip.classList.toggle("focus", chosen);
      chip.classList.toggle("waiting", chosen && shown !== focus);
      setAttribute(chip, "aria-current", chosen ? "true" : null);
    });
    if (moves) turns.reveal(focus);
    if (moves) showFold();
    if (moves && live && chips[focus]) roving.prefer(chips[focus]);
  }

  /** @param {State} state */
  function showTarget({ graph, target: wanted }) {
    if (!graph) return;
    const waiting = wanted !== null && wanted.id !== graph.target.id;
    const text = waiting ? (wanted.text ?? "…") : graph.target.text;
    const { probability, rank } = graph.target;
    const stands = !waiting && probability !== null && rank !== null;
    const facts = stands ? `: ${percent(probability)}, rank ${whole(rank)}` : "";
    fill(target, text, live && icon("chevron"));
    target.classList.toggle("waiting", waiting);
    target.disabled = !live;
    target.setAttribute("aria-label", `Target ${text}${facts}${live ? ". Choose another" : ""}`);
    target.title = `${FOLLOWED[graph.target.combine ?? "token"]}${facts}`;
    measure();
  }

  function chooseTarget() {
    const { graph } = controller.getState();
    if (!graph) return;
    const chooser = createTokenChooser({
      prediction: graph.prediction,
      current: graph.target,
      label: "Target token",
      hint: "Follow one of the model’s next tokens, or any other.",
      search: controller.searchVocabulary,
      onChoose(token) {
        if (token) controller.dispatch({ type: "set-target", id: token.id, text: token.text });
        popovers.close({ focus: true });
      },
    });
    popovers.show(target, chooser.el, { label: "Choose the target", onClose: chooser.destroy });
  }

  function startEditing() {
    const state = controller.getState();
    const failed = state.problems.find(({ key }) => key === "retrace");
    const form = createPromptEdit({
      value: failed?.retry?.prompt ?? state.prompt,
      label: "Prompt",
      verb: "Trace",
      onEnd(prompt) {
        stopEditing(edit);
        if (prompt !== null) controller.dispatch({ type: "retrace", prompt });
      },
    });
    el.replaceChildren(form.el);
    form.begin();
  }

  /** The other prompt is typed under the first. */
  function startComparing() {
    const { against, prompt: first } = controller.getState();
    const back = against === null ? other.open : other.change;
    const form = createPromptEdit({
      value: tried ?? against ?? first,
      label: "The other prompt",
      verb: "Compare",
      onEnd(prompt) {
        tried = prompt;
        stopEditing(back);
        if (prompt !== null) controller.dispatch({ type: "set-against", prompt });
      },
    });
    el.replaceChildren(bar, fold, form.el);
    form.begin();
  }

  /** @param {HTMLElement} back What gets the focus. */
  function stopEditing(back) {
    el.replaceChildren(bar, fold);
    back.focus({ preventScroll: true });
    measure();
  }

  function toggleFold() {
    controller.dispatch({ type: "set-display", display: { unfolded: !unfolded() } });
  }

  /** What is under the tokens makes each row so much higher. */
  const extra = () =>
    (under.height() > 0 ? under.height() + UNDER_GAP : 0) +
    (other.tail.hidden ? 0 : OTHER_HEIGHT + UNDER_GAP);

  function measure() {
    if (chips.length > SURELY_LONG) long = true;
    else {
      // Few enough, the chips and the target run on as one line of text would.
      row.classList.remove("folded", "long");
      long = bar.offsetHeight > FOLDED_HEIGHT + 2 * extra() + 4;
    }
    showFold();
  }

  function showFold() {
    row.classList.toggle("long", long);
    fold.hidden = !long;
    fold.textContent = unfolded() ? "fold" : `show all ${whole(chips.length)} tokens`;
    fold.setAttribute("aria-expanded", String(unfolded()));
    row.classList.toggle("folded", long && !unfolded());
    if (!long || unfolded()) return;
    const chosen = cells[chips.findIndex((chip) => chip.classList.contains("focus"))];
    // Folded, the two rows on show are the focus's own and the one before it.
    const above = ROW_HEIGHT + extra();
    if (chosen) row.scrollTop = Math.max(0, chosen.offsetTop - cells[0].offsetTop - above);
  }

  /**
   * @param {Set<string> | null} found What a search lights, "token 3" among it.
   * @param {number | null} at The token that it is at.
   */
  function light(found, at) {
    if (!lightChanged(found, at, chips)) return;
    row.classList.toggle("has-found", found !== null);
    chips.forEach((chip, position) => {
      chip.classList.toggle("found", found?.has(`token ${position}`) ?? false);
      chip.classList.toggle("here", position === at);
    });
    if (at !== null) chips[at]?.scrollIntoView?.({ block: "nearest", inline: "nearest" });
  }

  function destroy() {
    folding.disconnect();
    roving.destroy();
  }

  return { el, update, light, marks: under.shown, roving, destroy };
}
