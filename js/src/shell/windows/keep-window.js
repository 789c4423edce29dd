/** What is kept in the picture, and what goes into the rest: a small form in a window of its own. */

import { DEFAULT_KEEP, KINDS, limitsOf, PRESETS, sameKeep, wholeKeep } from "../../state/keep.js";
import { createChangeGuard, h } from "../../ui/dom.js";
import { createWindow } from "../../ui/window.js";
import { counted, whole } from "../../words/format.js";
import { limitRow } from "./keep-fields.js";

/** @import { Controller } from "../../state/controller.js" */
/** @import { KeptKind } from "../../state/keep.js" */
/** @import { State } from "../../state/state.js" */
/** @import { Keep, Measure } from "../../types.js" */
/** @import { Popovers } from "../../ui/popover.js" */

const DEBOUNCE_MS = 300;
/** So many rows in one layer are slow to draw. */
const MANY = 600;

/** @type {Record<KeptKind, string>} */
const NAMES = {
  heads: "Heads",
  memories: "Memories a head",
  neurons: "Neurons",
  rows: "W_O rows",
};

/** @type {Record<Measure, string>} */
const UNITS = {
  logit: "logits",
  share: "share",
  norm: "length",
  proximity: "proximity",
  effect: "logits",
};

const EVERY =
  "For every kind that has no such limit of its own. All limits of a kind hold together.";
const BY = {
  measure: "The largest by the measure that is followed",
  visit: "Memories by attention weight, neurons and rows by activation × length, heads by length",
};
const ROUTES_BY = {
  influence: "By how much of the prediction runs through a part",
  edge: "By an edge’s own measure, wherever it leads: Ferrando & Voita’s rule",
};

/**
 * @param {Keep} keep
 * @returns {string} What the toolbar calls it.
 */
export function keepName(keep) {
  const found = Object.entries(PRESETS).find(([, preset]) => isPreset(keep, preset));
  return found ? found[0].toLowerCase().replace("visit", "VISIT") : "as chosen";
}

/**
 * @param {Keep} keep
 * @param {Keep} preset
 */
const isPreset = (keep, preset) => sameKeep({ ...keep, more: {} }, preset);

/**
 * @param {Controller} controller
 * @param {Popovers} popovers
 */
export function createKeepWindow(controller, popovers) {
  /** @type {ReturnType<typeof createContent> | null} */
  let shown = null;

  /** @param {HTMLElement} anchor */
  function toggle(anchor) {
    const content = createContent(controller, () => popovers.close({ focus: true }));
    content.update(controller.getState());
    const again = shown !== null;
    popovers.show(anchor, content.el, {
      label: "What is kept",
      onClose() {
        content.finish();
        shown = null;
      },
    });
    if (!again) shown = content;
  }

  return { toggle, update: (/** @type {State} */ state) => shown?.update(state) };
}

/**
 * @param {Controller} controller
 * @param {() => void} close
 */
function createContent({ getState, dispatch }, close) {
  const changed = createChangeGuard();
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;

  const rows = KINDS.map((kind) => ({ kind, ...limitRow(NAMES[kind], queue) }));
  const every = limitRow("Every kind", queue, { title: EVERY, counted: false });
  const routes = limitRow("Parts of a stream", queue, {
    title: "Of what flows into each stream: of at least so much of the whole prediction",
    fraction: true,
  });
  const unit = h("span", {});
  const by = choice("Ranked by", "by", BY, { measure: "the measure", visit: "VISIT’s rule" });
  const rule = choice("Rule", "routes_by", ROUTES_BY, {
    influence: "by influence",
    edge: "each edge by itself (Ferrando & Voita)",
  });
  const presets = Object.entries(PRESETS).map(([name, keep]) => ({
    keep,
    el: h("button", { class: "vw-preset", click: () => set(keep) }, name),
  }));
  const note = h("p", { class: "vw-keep-note", role: "status" });
  const opened = h("span", {});
  const reset = h(
    "button",
    { class: "vw-link", "data-role": "reset-keep", click: () => set(DEFAULT_KEEP) },
    "Reset",
  );
  const el = createWindow(
    {
      name: "keep",
      role: "keep-window",
      title: "What is kept",
      close,
      tools: [
        h(
          "span",
          { class: "vw-presets", role: "group", "aria-label": "Presets" },
          presets.map((preset) => preset.el),
        ),
      ],
      more: { input: queue, change: apply },
    },
    h(
      "div",
      { class: "vw-keep-grid" },
      columns("An open layer", unit),
      rows.flatMap(({ cells }) => cells),
      every.cells,
    ),
    by.el,
    h("div", { class: "vw-keep-grid vw-keep-routes" }, columns("The routes"), routes.cells),
    rule.el,
    note,
    h("div", { class: "vw-keep-foot" }, opened, reset),
  );

  /**
   * @template {"by" | "routes_by"} Name
   * @param {string} label
   * @param {Name} name
   * @param {Record<string, string>} titles
   * @param {Record<string, string>} options
   */
  function choice(label, name, titles, options) {
    const select = h(
      "select",
      { class: "vw-keep-select", "aria-label": label, "data-role": `keep-${name}` },
      Object.entries(options).map(([value, text]) => h("option", { value }, text)),
    );
    return {
      el: h("label", { class: "vw-keep-grid" }, label, select),
      read: () => /** @type {Required<Keep>[Name]} */ (select.value),
      /** @param {Required<Keep>[Name]} value */
      show(value) {
        select.value = value;
        select.title = titles[value];
      },
    };
  }

  function queue() {
    clearTimeout(timer);
    timer = setTimeout(apply, DEBOUNCE_MS);
  }

  /** What has been typed becomes what is kept, unless something in it is wrong. */
  function apply() {
    clearTimeout(timer);
    timer = undefined;
    const limits = rows.map((row) => ({ kind: row.kind, limits: row.read() }));
    const [all, streams] = [every.read(), routes.read()];
    if (!all || !streams || limits.some((row) => !row.limits)) return;
    const { threshold, mass } = all;
    const said = Object.fromEntries(limits.map((row) => [row.kind, row.limits]));
    const keep = wholeKeep({
      ...getState().keep,
      ...said,
      threshold,
      mass,
      by: by.read(),
      routes: streams,
      routes_by: rule.read(),
    });
    if (!sameKeep(keep, getState().keep)) dispatch({ type: "set-keep", keep });
  }

  /** @param {Keep} keep */
  function set(keep) {
    clearTimeout(timer);
    timer = undefined;
    dispatch({ type: "set-keep", keep });
    show(getState());
  }

  /** @param {State} state */
  function update(state) {
    if (!changed(state.keep, state.measure, state.graph)) return;
    // What is being typed is not taken from under the reader's hands.
    if (timer === undefined) show(state);
  }

  /** @param {State} state */
  function show({ keep, measure, graph }) {
    const shown = wholeKeep(keep);
    unit.textContent = UNITS[measure];
    for (const row of rows) row.show(limitsOf(shown, row.kind));
    every.show({ count: null, threshold: shown.threshold, mass: shown.mass });
    routes.show(limitsOf(shown, "routes"));
    by.show(shown.by);
    rule.show(shown.routes_by);
    for (const preset of presets) {
      preset.el.setAttribute("aria-pressed", String(isPreset(keep, preset.keep)));
    }
    const neurons = limitsOf(shown, "neurons");
    const all = Object.values(neurons).every((limit) => limit === null) && shown.mass === null;
    const many = all && shown.threshold === null ? (graph?.model.d_mlp ?? 0) : 0;
    note.textContent =
      many > MANY ? `An open layer then draws ${whole(many)} neurons, which takes a while.` : "";
    const more = Object.keys(shown.more).length;
    opened.textContent =
      more > 0 ? counted(more, "rest node is opened further", "rest nodes are opened further") : "";
    reset.disabled = sameKeep(keep, DEFAULT_KEEP);
  }

  return {
    el,
    update,
    finish() {
      if (timer !== undefined) apply();
    },
  };
}

/**
 * The grid's headings.
 *
 * @param {string} of
 * @param {HTMLElement} [unit] Of the threshold, where it is no percentage.
 */
function columns(of, unit) {
  const heading = (/** @type {string} */ title, /** @type {(Node | string)[]} */ ...words) =>
    h("span", { class: "vw-keep-column", title }, ...words);
  return [
    h("h3", {}, of),
    heading("The largest, so many of them", "how many"),
    heading("Of at least this size", "at least", ...(unit ? [" (", unit, ")"] : [])),
    heading("Until they make up so much of the sum of all sizes", "making up"),
  ];
}
