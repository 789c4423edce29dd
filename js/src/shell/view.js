/** One view of a widget: puts the shell together around the stage and keeps it up to date. */

import { LATE_NAMES } from "../state/revisions.js";
import {
  auditPending,
  awaitsGraph,
  knownNode,
  latePending,
  mergedGraph,
  overallProgress,
  pendingLayers,
} from "../state/selectors.js";
import { createStage } from "../views/layers/drawing/stage.js";
import { createRouteView } from "../views/routes/view.js";
import { watchTheme } from "./host-theme.js";
import { listenToKeys } from "./keyboard.js";
import { createPanel } from "./panel/panel.js";
import { createChangeGuard, fill, h } from "./parts/dom.js";
import { createPopovers } from "./parts/popover.js";
import { createTip, createTooltip } from "./parts/tooltip.js";
import { createProblems } from "./problems.js";
import { createPromptBar } from "./prompt/prompt-bar.js";
import { createToolbar } from "./toolbar/toolbar.js";

/** @import { Controller } from "../state/controller.js" */
/** @import { State } from "../state/state.js" */
/** @import { StageAction, StageView } from "../types.js" */

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
  const stageEl = h("div", { class: "vw-stage-slot", "data-role": "stage" });
  const placeholder = h("p", { class: "vw-placeholder", role: "status" });
  const live = h("div", { class: "vw-offscreen", "aria-live": "polite" });
  const progress = h("div", { class: "vw-progress", "data-role": "progress" });

  const main = h("div", { class: "vw-main" }, placeholder, stageEl);

  const popovers = createPopovers(root);
  const promptBar = createPromptBar(controller, popovers);
  const toolbar = createToolbar(controller, popovers, {
    root,
    stage: main,
    onProblem: reportProblem,
  });
  const problems = createProblems(controller.dispatch);
  const panel = createPanel(controller);
  fill(
    root,
    h("header", { class: "vw-header" }, promptBar.el, toolbar.el),
    progress,
    problems.el,
    h("div", { class: "vw-body" }, main, panel.el),
    live,
  );
  const tip = createTip(root, panel.el);
  const tooltip = createTooltip(tip);
  const routes = createRouteView(controller, { tip, onProblem: reportProblem });
  main.append(routes.el);
  el.append(root);

  const stage = createStage(stageEl, { dispatch });
  const stageChanged = createChangeGuard();
  const motion = root.ownerDocument.defaultView?.matchMedia?.("(prefers-reduced-motion: reduce)");
  /** @type {string | null} */
  let hovered = null;
  let width = 0;
  let dark = false;
  let announced = controller.getState().announcement.count;
  let { view } = controller.getState();

  /** @param {StageAction} action */
  function dispatch(action) {
    if (action.type === "hover") hover(action);
    else controller.dispatch(action);
  }

  /** @param {{node: string | null, x: number, y: number}} action */
  function hover({ node, x, y }) {
    const state = controller.getState();
    // The panel says more of the node it shows.
    if (node === null || node === state.selection.at(-1)) tooltip.hide();
    else tooltip.show(state, node, x, y);
    if (hovered === node) return;
    hovered = node;
    updateStage(controller.getState());
  }

  /**
   * The keys stay with the widget when what had them is gone with the other view.
   *
   * @param {Element | null} before What had the focus.
   * @param {State} state
   */
  function keepFocus(before, state) {
    if (!before || (root.contains(before) && !before.closest("[hidden]"))) return;
    const shown = state.view === "routes" ? routes.el : stageEl;
    const stop = shown.querySelector('svg [tabindex="0"]');
    /** @type {SVGElement | null} */ (stop)?.focus({ preventScroll: true });
  }

  /** @returns {Element | null} */
  function focused() {
    const home = /** @type {Document | ShadowRoot} */ (root.getRootNode());
    const active = home.activeElement ?? null;
    return active && root.contains(active) ? active : null;
  }

  /** @param {State} state */
  function update(state) {
    const before = focused();
    promptBar.update(state);
    toolbar.update(state);
    problems.update(state);
    panel.update(state);
    root.classList.toggle("with-panel", !panel.el.hidden);
    if (hovered !== null && hovered === state.selection.at(-1)) tooltip.hide();
    if (hovered !== null && !knownNode(state, hovered)) hover({ node: null, x: 0, y: 0 });
    showProgress(state);
    showPlaceholder(state);
    if (state.announcement.count !== announced) live.textContent = state.announcement.text;
    announced = state.announcement.count;
    updateStage(state);
    if (state.view !== view) keepFocus(before, state);
    view = state.view;
  }

  /** @param {State} state */
  function updateStage(state) {
    const reducedMotion = motion?.matches ?? false;
    routes.update(state, { width, reducedMotion });
    const graph = mergedGraph(state);
    // Until it is attached and laid out there is no width to draw to.
    if (!graph || width === 0 || state.view === "routes") return;
    const { expanded, selection, measure } = state;
    const pending = pendingLayers(state);
    if (
      !stageChanged(
        graph,
        expanded,
        pending,
        selection,
        hovered,
        measure,
        width,
        dark,
        reducedMotion,
      )
    ) {
      return;
    }
    draw({
      graph,
      expanded,
      pending,
      selection,
      hovered,
      measure,
      width,
      dark,
      reducedMotion,
    });
  }

  /** @param {StageView} view */
  function draw(view) {
    try {
      stage.update(view);
    } catch (error) {
      // The prompt and the panel go on working; so does the other view.
      console.error(error);
      const why = error instanceof Error ? error.message : String(error);
      reportProblem(`The graph could not be drawn: ${why}`);
    }
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
  function showPlaceholder({ graph, status, view }) {
    placeholder.hidden = graph !== null;
    stageEl.hidden = graph === null || view === "routes";
    if (status.state === "busy") placeholder.textContent = status.message || "Tracing the prompt…";
    else placeholder.textContent = "Nothing has been traced yet.";
  }

  const theme = watchTheme(root, (isDark) => {
    dark = isDark;
    root.classList.toggle("dark", dark);
    updateStage(controller.getState());
  });
  const sizing = new ResizeObserver(() => {
    theme.check();
    root.classList.toggle("narrow", root.clientWidth > 0 && root.clientWidth < NARROW);
    const now = Math.floor(main.clientWidth);
    if (now === 0 || now === width) return;
    width = now;
    // What the pointer was over has moved from under it.
    tooltip.hide();
    routes.hide();
    updateStage(controller.getState());
  });
  sizing.observe(root);
  sizing.observe(main);

  const stopKeys = listenToKeys(root, controller, popovers);
  const hideTooltip = () => hover({ node: null, x: 0, y: 0 });
  stageEl.addEventListener("pointerleave", hideTooltip);
  routes.el.addEventListener("pointerleave", routes.hide);
  const unsubscribe = controller.subscribe(update);
  update(controller.getState());

  return () => {
    unsubscribe();
    stopKeys();
    theme.stop();
    sizing.disconnect();
    promptBar.destroy();
    panel.destroy();
    popovers.destroy();
    stage.destroy();
    routes.destroy();
    root.remove();
  };
}
