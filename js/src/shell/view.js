/** One output cell of a widget: puts the shell together around the views, and keeps it up to date. */

import { LATE_NAMES } from "../state/revisions.js";
import { auditPending, awaitsGraph, latePending, overallProgress } from "../state/selectors.js";
import { fill, h } from "../ui/dom.js";
import { createPopovers } from "../ui/popover.js";
import { createTip } from "../ui/tip.js";
import { VIEWS } from "../views/index.js";
import { createFocusKeeper } from "./focus.js";
import { watchTheme } from "./host-theme.js";
import { listenToKeys } from "./keyboard.js";
import { createLiveRegion } from "./live.js";
import { createPanel } from "./panel/panel.js";
import { createProblems } from "./problems.js";
import { createPromptBar } from "./prompt/prompt-bar.js";
import { createTable } from "./table.js";
import { createToolbar } from "./toolbar/toolbar.js";

/** @import { Controller } from "../state/controller.js" */
/** @import { State } from "../state/state.js" */

/** Below this width the panel goes under the stage. */
const NARROW = 760;

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
    stage: main,
    onProblem: reportProblem,
    onTable: showTable,
  });
  const problems = createProblems(controller.dispatch);
  const panel = createPanel(controller);
  const table = createTable(controller);
  fill(
    root,
    h("header", { class: "vw-header" }, promptBar.el, toolbar.el),
    progress,
    problems.el,
    h("div", { class: "vw-body" }, main, panel.el),
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
  const regions = [promptBar, toolbar, problems, panel, table].map(({ roving }) => roving);
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
    promptBar.update(state);
    toolbar.update(state);
    problems.update(state);
    panel.update(state);
    root.classList.toggle("with-panel", !panel.el.hidden);
    showProgress(state);
    showPlaceholder(state);
    updateViews(state);
    table.update(state);
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

  /** @param {State} state */
  function updateViews(state) {
    const room = { width, dark, reducedMotion: motion?.matches ?? false };
    for (const each of views) each.update(state, room);
  }

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
    const busy = asks || part !== null;
    root.classList.toggle("busy", busy);
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
    const now = Math.floor(main.clientWidth);
    if (now === 0 || now === width) return;
    width = now;
    // What the pointer was over has moved from under it.
    for (const each of views) each.hide();
    updateViews(controller.getState());
  });
  sizing.observe(root);
  sizing.observe(main);

  const stopKeys = listenToKeys(root, controller, popovers);
  const unsubscribe = controller.subscribe(update);
  update(controller.getState());

  return () => {
    unsubscribe();
    stopKeys();
    live.destroy();
    theme.stop();
    sizing.disconnect();
    promptBar.destroy();
    problems.destroy();
    panel.destroy();
    table.destroy();
    toolbar.destroy();
    popovers.destroy();
    for (const each of views) each.destroy();
    root.remove();
  };
}
