/** One output cell of a widget: puts the shell together around the views, and keeps it up to date. */

import { LATE_NAMES } from "../state/revisions.js";
import {
  auditPending,
  awaitsGraph,
  latePending,
  opensAnother,
  overallProgress,
} from "../state/selectors.js";
import { fill, h } from "../ui/dom.js";
import { createPopovers } from "../ui/popover.js";
import { createTip } from "../ui/tip.js";
import { VIEWS } from "../views/index.js";
import { createFocusKeeper } from "./focus.js";
import { watchTheme } from "./host-theme.js";
import { listenToKeys } from "./keyboard.js";
import { createLiveRegion } from "./live.js";
import { createMany } from "./many/many.js";
import { createManyBar } from "./many/many-bar.js";
import { createPanel } from "./panel/panel.js";
import { createPins } from "./pins/pins.js";
import { createProblems } from "./problems.js";
import { createPromptBar } from "./prompt/prompt-bar.js";
import { createFilterNote } from "./search/filter-note.js";
import { createSearch } from "./search/search.js";
import { createTable } from "./table.js";
import { createTape } from "./tape/tape.js";
import { createToolbar } from "./toolbar/toolbar.js";
import { createInterventionBar } from "./what-if/bar.js";
import { listenToBringing } from "./what-if/bring.js";

/** @import { Controller } from "../state/controller.js" */
/** @import { State } from "../state/state.js" */

/** Below this width the panel goes under the stage. */
const NARROW = 760;
/** From this width on the panel stands beside the view. */
const WIDE = 1240;
/** What a widget in a page keeps to, so that it can be read without scrolling. */
const HEIGHT = 720;
/** What a notebook's own bars take of a window. */
const BARS = 160;

/**
 * @param {HTMLElement} el
 * @param {Controller} controller
 * @returns {() => void}
 */
export function mountView(el, controller) {
  const root = h("div", {
    class: "visit-widget",
    role: "group",
    "aria-label": "Flow graph of a language model",
    // JupyterLab would take the keys for its own while a cell's output has the focus.
    "data-lm-suppress-shortcuts": "true",
  });
  const placeholder = h("p", { class: "vw-placeholder", role: "status" });
  const live = createLiveRegion(root, controller);
  const progress = h("div", { class: "vw-progress", "data-role": "progress" });

  const main = h("div", { class: "vw-main" }, placeholder);

  const popovers = createPopovers(root);
  const promptBar = createPromptBar(controller, popovers);
  const toolbar = createToolbar(controller, popovers, {
    root,
    room,
    marks: promptBar.marks,
    onProblem: reportProblem,
    onSearch: () => search.open(),
    onTable: showTable,
  });
  const search = createSearch(controller, {
    main,
    home: () => toolbar.home,
    onChange: () => {
      promptBar.light(search.found(), search.at());
      updateViews(controller.getState());
    },
  });
  const many = createMany(controller);
  const manyBar = createManyBar(controller, many.sorted);
  const tape = createTape(controller, popovers);
  const edits = createInterventionBar(controller, popovers);
  const filterNote = createFilterNote(controller);
  const pins = createPins(controller);
  const problems = createProblems(controller.dispatch);
  const panel = createPanel(controller, popovers);
  const table = createTable(controller);
  fill(
    root,
    manyBar.el,
    h(
      "header",
      { class: "vw-header" },
      h("div", { class: "vw-words" }, promptBar.el, tape.el),
      toolbar.el,
    ),
    progress,
    problems.el,
    many.el,
    h("div", { class: "vw-strip" }, edits.el, search.el, filterNote.el),
    h("div", { class: "vw-body" }, main, panel.el),
    pins.el,
    live.el,
  );
  const tip = createTip(root, panel.el);
  const views = VIEWS.map(({ name, create }) => ({
    name,
    ...create(controller, { tip, onProblem: reportProblem }),
  }));
  const pictures = h("div", {}, ...views.map((each) => each.el));
  main.append(pictures, table.el);
  el.append(root);

  const motion = root.ownerDocument.defaultView?.matchMedia?.("(prefers-reduced-motion: reduce)");
  let width = 0;
  let dark = false;
  /** @type {string | null} */
  let chosen = null;
  /** Whether many prompts are on show, until the one that was chosen is drawn. */
  let showsMany = false;
  const regions = [
    many,
    manyBar,
    promptBar,
    toolbar,
    tape,
    edits,
    problems,
    panel,
    table,
    pins,
  ].map(({ roving }) => roving);
  const keepFocus = createFocusKeeper(root, regions, () => {
    const { view } = controller.getState();
    if (!table.el.hidden) return { el: table.el, chosen };
    return { el: views.find(({ name }) => name === view)?.el ?? main, chosen };
  });

  /** @param {State} state */
  function update(state) {
    keepFocus(() => show(state));
    chosen = state.selection.at(-1) ?? null;
    live.update(state);
  }

  /** @param {State} state */
  function show(state) {
    const shown = views.find(({ name }) => name === state.view);
    if (!state.prompts) showsMany = false;
    else if (state.opened === null) showsMany = true;
    else if (!opensAnother(state)) showsMany = false;
    root.classList.toggle("all-prompts", showsMany);
    manyBar.update(state, state.prompts !== null && !showsMany);
    promptBar.update(state);
    toolbar.update(state);
    problems.update(state);
    panel.update(state);
    pins.update(state, isTight());
    tape.update(state);
    edits.update(state);
    filterNote.update(state);
    search.update(state);
    promptBar.light(search.found(), search.at());
    root.classList.toggle("with-panel", !panel.el.hidden && !isOver(shown));
    showProgress(state);
    showPlaceholder(state);
    updateViews(state);
    placePanel(state);
    table.update(state);
    many.update(state, showsMany);
  }

  /**
   * The tables stand in the picture's place, in this cell alone: what is looked at stays the same.
   *
   * @param {boolean} shown
   */
  function showTable(shown) {
    for (const each of views) each.hide();
    pictures.hidden = shown;
    table.show(shown);
  }

  function room() {
    const line = isTight() ? pins.el.offsetHeight : 0;
    const height = width === 0 ? 0 : heightForViews(root, main) - line;
    const reducedMotion = motion?.matches ?? false;
    return { width, height, dark, reducedMotion, found: search.found() };
  }

  /** @param {State} state */
  function updateViews(state) {
    const now = room();
    for (const each of views) each.update(state, now);
  }

  /**
   * Beside the view where there is room; over what is not being read where there is little, and
   * under it on a narrow screen.
   * @param {State} state
   */
  function placePanel({ selection, view: name }) {
    const shown = views.find((each) => each.name === name);
    const id = selection.at(-1);
    const over = id !== undefined && !panel.el.hidden && isOver(shown);
    const spot = over ? (shown?.spot?.(id) ?? null) : null;
    root.classList.toggle("over", spot !== null);
    for (const side of /** @type {const} */ (["left", "top", "width", "height"])) {
      panel.el.style[side] = spot ? `${Math.round(spot[side])}px` : "";
    }
  }

  /** @param {(typeof views)[number] | undefined} shown */
  const isOver = (shown) => shown?.spot !== undefined && isTight();

  const isTight = () => root.clientWidth >= NARROW && root.clientWidth < WIDE;

  /** @param {string} message */
  function reportProblem(message) {
    controller.dispatch({ type: "report", key: "view", message });
  }

  /** @param {State} state */
  function showProgress(state) {
    const part = overallProgress(state);
    const asks =
      awaitsGraph(state) ||
      state.asked.length > 0 ||
      auditPending(state) ||
      LATE_NAMES.some((name) => latePending(state, name));
    // The picture does not wait for a fit.
    const busy = asks || Object.keys(state.progress).some((of) => of !== "fit");
    root.classList.toggle("busy", busy || part !== null);
    root.setAttribute("aria-busy", String(busy));
    progress.classList.toggle("known", part !== null);
    const done = part && part.total > 0 ? part.done / part.total : 0;
    progress.style.setProperty("--vw-part", String(done));
  }

  /** @param {State} state */
  function showPlaceholder({ graph, status }) {
    placeholder.hidden = graph !== null;
    if (status.state === "busy") placeholder.textContent = status.message || "Tracing the prompt…";
    else placeholder.textContent = "Nothing has been traced yet.";
  }

  const theme = watchTheme(root, (isDark) => {
    dark = isDark;
    root.classList.toggle("dark", dark);
    updateViews(controller.getState());
  });
  const sizing = new ResizeObserver(() => {
    theme.check();
    root.classList.toggle("narrow", root.clientWidth > 0 && root.clientWidth < NARROW);
    root.classList.toggle("tight", isTight());
    pins.update(controller.getState(), isTight());
    const now = Math.floor(main.clientWidth);
    if (now === 0 || now === width) return;
    width = now;
    // What the pointer was over has moved from under it.
    for (const each of views) each.hide();
    updateViews(controller.getState());
    placePanel(controller.getState());
  });
  const window = root.ownerDocument.defaultView;
  const onResize = () => updateViews(controller.getState());
  window?.addEventListener("resize", onResize);
  sizing.observe(root);
  sizing.observe(main);

  const stopKeys = listenToKeys(root, controller, popovers, {
    search,
    help: toolbar.showHelp,
  });
  const stopBringing = listenToBringing(root, controller);
  const unsubscribe = controller.subscribe(update);
  update(controller.getState());

  return () => {
    unsubscribe();
    stopKeys();
    stopBringing();
    live.destroy();
    theme.stop();
    sizing.disconnect();
    window?.removeEventListener("resize", onResize);
    promptBar.destroy();
    problems.destroy();
    panel.destroy();
    search.destroy();
    table.destroy();
    pins.destroy();
    tape.destroy();
    many.destroy();
    manyBar.destroy();
    edits.destroy();
    toolbar.destroy();
    popovers.destroy();
    for (const each of views) each.destroy();
    root.remove();
  };
}

/**
 * How tall a view may be: the widget fills the screen where it has it for itself, and elsewhere
 * fits under a notebook's bars. The height of a frame says nothing: it may grow with what is in it;
 * VS Code's is as tall as the whole notebook, and has no parent.
 * @param {HTMLElement} root
 * @param {HTMLElement} main Where views stand.
 */
function heightForViews(root, main) {
  const { defaultView: window, fullscreenElement, body } = root.ownerDocument;
  // On a narrow screen one scrolls anyway: the prompt above takes nothing from the picture.
  const narrow = root.clientWidth < NARROW;
  const above = narrow ? 0 : main.getBoundingClientRect().top - root.getBoundingClientRect().top;
  if (!window) return HEIGHT - above;
  const { innerHeight } = window;
  if (fullscreenElement?.contains(root)) return innerHeight - above;
  const alone = root.closest("#visit") !== null;
  const framed = window.parent !== window || body.dataset.vscodeThemeKind !== undefined;
  const whole = framed ? 0 : alone ? innerHeight : innerHeight - BARS;
  return Math.max(HEIGHT, whole) - above;
}
