/**
 * The tokens that the model went on with, as a tape: the one whose pass is shown is marked. A click
 * or an arrow goes to another, and what it might have said instead makes a branch.
 */

import { awaitsGraph } from "../../state/selectors.js";
import { createChangeGuard, fill, h, icon, setAttribute } from "../../ui/dom.js";
import { createRoving } from "../../ui/roving.js";
import { whole } from "../../words/format.js";
import { pressed } from "../../words/keys.js";
import { branchWords, saidFacts, saidMark, saidWords } from "../../words/said.js";
import { createTokenChooser } from "../prompt/token-chooser.js";

/** @import { Controller } from "../../state/controller.js" */
/** @import { State } from "../../state/state.js" */
/** @import { Generation, SaidToken } from "../../types.js" */
/** @import { Popovers } from "../../ui/popover.js" */

/** How long a step stands while the tape plays, from when it is drawn. */
const STANDS_MS = 900;

/**
 * @param {Controller} controller
 * @param {Popovers} popovers
 */
export function createTape({ dispatch, getState, searchVocabulary, live }, popovers) {
  const tokensChanged = createChangeGuard();
  const placeChanged = createChangeGuard();
  const branchesChanged = createChangeGuard();
  const stepChanged = createChangeGuard();
  const playChanged = createChangeGuard();
  /** @type {HTMLElement[]} */
  let chips = [];
  /** The token that is told, where it is not the one on show. @type {number | null} */
  let looked = null;
  /** The step that playing has come to. @type {number | null} */
  let playing = null;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;

  const play = h("button", {
    class: "vw-icon-button",
    "data-role": "play",
    click: toggle,
  });
  const strip = h("div", {
    class: "vw-tape-strip",
    role: "group",
    "aria-label": "What the model said; the chosen token is the one that is explained",
    keydown: onKey,
    pointerleave: () => look(null),
    focusout: () => look(null),
  });
  const place = h("span", { class: "vw-tape-place", "data-role": "tape-place" });
  const facts = h("span", { class: "vw-tape-facts", "data-role": "tape-facts" });
  const other = h(
    "button",
    {
      class: "vw-link",
      "data-role": "say-else",
      "aria-haspopup": "dialog",
      "aria-expanded": "false",
      click: chooseElse,
    },
    "what if it had said …",
  );
  const branches = h("select", {
    class: "vw-select",
    "data-role": "branches",
    "aria-label": "Branch that is shown",
    change: () => dispatch({ type: "set-branch", branch: branches.selectedIndex }),
  });
  const el = h(
    "div",
    {
      class: "vw-tape",
      "data-role": "tape",
      role: "group",
      "aria-label": "Generated tokens",
      hidden: true,
    },
    h("div", { class: "vw-tape-line" }, live && play, strip),
    h("div", { class: "vw-tape-line vw-tape-words" }, place, facts, live && other, branches),
  );
  const roving = createRoving(el);
  showPlay();

  /** @param {State} state */
  function update(state) {
    const { generation, step, graph } = state;
    el.hidden = !graph || !generation;
    if (!generation || !graph) return stop();
    if (tokensChanged(generation.tokens)) showTokens(generation);
    if (stepChanged(step, state.branch)) looked = null;
    if (placeChanged(step, graph, chips)) showPlace(state, generation);
    if (branchesChanged(generation.branches, state.branch)) showBranches(state, generation);
    other.classList.toggle("waiting", "branch" in state.progress);
    other.disabled = step === null;
    if (playChanged(state.playing)) showPlay();
    if (playing !== null) goOn(state);
  }

  /** @param {Generation} generation */
  function showTokens({ begun, tokens }) {
    looked = null;
    chips = tokens.map((token, at) => chipOf(token, at, begun));
    fill(strip, chips);
  }

  /**
   * @param {SaidToken} token
   * @param {number} at
   * @param {number} begun
   */
  function chipOf(token, at, begun) {
    const mark = saidMark(token);
    const chip = h(
      "button",
      {
        class: mark ? "vw-chip other" : "vw-chip",
        "data-position": begun + at,
        "aria-label": saidWords(token, at),
        title: saidFacts(token),
        click: () => live && go(at),
        pointerenter: () => look(at),
        focus: () => look(at),
      },
      h("span", {}, token.text),
      mark && h("sup", { "aria-hidden": true }, mark),
      h("i", { class: "vw-tape-bar" }),
    );
    chip.style.setProperty("--vw-part", token.probability.toFixed(4));
    return chip;
  }

  /**
   * @param {State} state
   * @param {Generation} generation
   */
  function showPlace({ step, graph }, { tokens }) {
    chips.forEach((chip, at) => {
      const chosen = at === step;
      chip.classList.toggle("focus", chosen);
      chip.classList.toggle("waiting", chosen && live && graph?.step !== step);
      chip.classList.toggle("later", step !== null && at > step);
      setAttribute(chip, "aria-current", chosen ? "step" : null);
    });
    const n = whole(tokens.length);
    place.textContent = step === null ? `${n} new tokens` : `token ${whole(step + 1)} of ${n}`;
    tell();
    if (step === null || !chips[step]) return;
    roving.prefer(chips[step]);
    const { offsetLeft, offsetWidth } = chips[step];
    strip.scrollLeft = offsetLeft + offsetWidth / 2 - strip.clientWidth / 2;
  }

  /**
   * @param {State} state
   * @param {Generation} generation
   */
  function showBranches({ branch }, { branches: all }) {
    branches.hidden = all.length < 2;
    branches.disabled = !live;
    fill(
      branches,
      all.map((_, at) => h("option", { selected: at === branch }, branchWords(all, at))),
    );
  }

  /** @param {number | null} at */
  function look(at) {
    looked = at;
    tell();
  }

  function tell() {
    const { generation, step } = getState();
    const token = generation?.tokens[looked ?? step ?? -1];
    facts.textContent = token ? saidFacts(token) : "another prompt is shown: go back by a token";
  }

  /**
   * @param {number} step
   * @param {boolean} [goesOn]
   */
  function go(step, goesOn) {
    stop();
    dispatch({ type: "set-step", step, goesOn });
  }

  /** @param {KeyboardEvent} event */
  function onKey(event) {
    const key = pressed(event, "before", "after", "start", "end");
    const from = chips.indexOf(/** @type {HTMLElement} */ (event.target));
    if (!key || from < 0 || !live) return;
    const moved = { before: from - 1, after: from + 1, start: 0, end: chips.length - 1 }[key];
    event.preventDefault();
    event.stopPropagation();
    if (!chips[moved]) return;
    chips[moved].focus({ preventScroll: true });
    go(moved, event.repeat);
  }

  function toggle() {
    if (getState().playing) dispatch({ type: "stop-playing" });
    else if (playing === null) start();
    else stop();
  }

  function start() {
    const { generation, step } = getState();
    if (!generation || generation.tokens.length < 2) return;
    const again = step === null || step === generation.tokens.length - 1;
    const first = again ? 0 : step + 1;
    dispatch({ type: "set-passing", passing: true });
    playing = first;
    showPlay();
    dispatch({ type: "set-step", step: first });
  }

  /** Goes to the next once this one is drawn and has stood for a while. @param {State} state */
  function goOn(state) {
    if (state.step !== playing || !state.generation) return stop();
    if (awaitsGraph(state)) return clear();
    if (playing === state.generation.tokens.length - 1) return stop();
    timer ??= setTimeout(() => {
      clear();
      playing = (playing ?? 0) + 1;
      dispatch({ type: "set-step", step: playing, goesOn: true });
    }, STANDS_MS);
  }

  function stop() {
    clear();
    if (playing === null) return;
    playing = null;
    showPlay();
    dispatch({ type: "set-passing", passing: false });
  }

  function clear() {
    clearTimeout(timer);
    timer = undefined;
  }

  function showPlay() {
    const still = playing === null && !(live && getState().playing);
    const words = still ? "Play the tokens one after the other" : "Pause";
    fill(play, icon(still ? "play" : "pause"));
    setAttribute(play, "aria-label", words);
    play.title = words;
  }

  function chooseElse() {
    const { generation, step, graph, progress } = getState();
    const token = generation?.tokens[step ?? -1];
    if (!generation || !token || !graph || step === null || "branch" in progress) return;
    stop();
    const here = graph.step === step && graph.position === generation.begun + step - 1;
    const chooser = createTokenChooser({
      prediction: here ? graph.prediction : token.first ? [token.first, token] : [token],
      current: token,
      label: "What it might have said",
      hint: `What if it had said something else than ${token.text}? The model goes on from there.`,
      search: searchVocabulary,
      onChoose(chosen) {
        popovers.close({ focus: true });
        if (chosen && chosen.id !== token.id) {
          dispatch({ type: "branch", at: step, token: chosen.id });
        }
      },
    });
    popovers.show(other, chooser.el, {
      label: "What if it had said something else",
      onClose: chooser.destroy,
    });
  }

  return {
    el,
    update,
    roving,
    destroy() {
      clear();
      roving.destroy();
    },
  };
}
