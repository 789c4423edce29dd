/** What is followed, against what, how exact it is; and undo, fullscreen, export. */

import { sameKeep } from "../../state/keep.js";
import { carriesEffects, exactness } from "../../state/selectors.js";
import { createChangeGuard, fill, h, icon, iconButton } from "../../ui/dom.js";
import { createRoving } from "../../ui/roving.js";
import { scientific } from "../../words/format.js";
import { wordsOf } from "../../words/lenses.js";
import { createTokenChooser } from "../prompt/token-chooser.js";
import { createAuditWindow } from "../windows/audit.js";
import { createHelp } from "../windows/help.js";
import { createKeepWindow, keepName } from "../windows/keep-window.js";
import { createMapWindow } from "../windows/map.js";
import { createShowWindow, showName } from "../windows/show-window.js";
import { createExportMenu } from "./export.js";
import { createLensChoice } from "./lens-choice.js";
import { createViewSwitch } from "./view-switch.js";

/** @import { Controller } from "../../state/controller.js" */
/** @import { State } from "../../state/state.js" */
/** @import { Measure } from "../../types.js" */
/** @import { Popovers } from "../../ui/popover.js" */

/** @type {[Measure, string, string][]} */
const MEASURES = [
  ["logit", "logit", "Width: what a part adds to the target’s logit"],
  ["effect", "effect", "Width: what the prediction would lose without it, to first order"],
  ["share", "share", "Width: a part’s signed share of the whole it flows into"],
  ["norm", "norm", "Width: a part’s length"],
  ["proximity", "proximity", "Width: how near a part is to its whole (Ferrando & Voita)"],
];

/**
 * @param {Controller} controller
 * @param {Popovers} popovers
 * @param {import("./export.js").Shown & {onSearch: () => void,
 *   onTable: (shown: boolean) => void}} shown
 */
export function createToolbar(controller, popovers, shown) {
  const { root, onProblem, onSearch, onTable } = shown;
  const { live, dispatch } = controller;
  let tabled = false;
  const changed = createChangeGuard();

  const select = h(
    "select",
    {
      class: "vw-select",
      "data-role": "measure",
      "aria-label": "Measure: what the width of a ribbon says",
      change: () =>
        dispatch({ type: "set-measure", measure: /** @type {Measure} */ (select.value) }),
    },
    MEASURES.map(([value, label, title]) => h("option", { value, title }, label)),
  );
  const measure = h("label", { class: "vw-field" }, "follow ", select, icon("chevron"));
  const lens = createLensChoice(controller, popovers);
  const foil = h("button", {
    class: "vw-field vw-foil",
    "data-role": "foil",
    "aria-haspopup": "dialog",
    "aria-expanded": "false",
    click: chooseFoil,
  });
  const keepWindow = createKeepWindow(controller, popovers);
  const keep = h("button", {
    class: "vw-field",
    "data-role": "keep",
    "aria-haspopup": "dialog",
    "aria-expanded": "false",
    click: () => keepWindow.toggle(keep),
  });
  const showWindow = createShowWindow(controller, popovers);
  const filter = h("button", {
    class: "vw-field",
    "data-role": "show",
    "aria-haspopup": "dialog",
    "aria-expanded": "false",
    title: "Which layers and heads are drawn plainly",
    click: () => showWindow.toggle(filter),
  });
  const views = createViewSwitch(controller);
  const table = h(
    "button",
    {
      class: "vw-field",
      "data-role": "show-table",
      title: "The same as tables, in the picture’s place",
      "aria-pressed": "false",
      click() {
        tabled = !tabled;
        table.setAttribute("aria-pressed", String(tabled));
        onTable(tabled);
      },
    },
    "table",
  );
  const audit = createAuditWindow(controller, popovers);
  const mark = h("button", {
    class: "vw-field vw-exact",
    "data-role": "exact",
    "aria-haspopup": "dialog",
    "aria-expanded": "false",
    click: () => audit.toggle(mark),
  });
  const mapWindow = createMapWindow(controller, popovers);
  const map = iconButton("map", "Map of effects", () => mapWindow.toggle(map), {
    "data-role": "open-map",
    "aria-haspopup": "dialog",
    "aria-expanded": "false",
    hidden: !live,
  });
  const undo = iconButton("undo", "Undo (u)", () => dispatch({ type: "undo" }));
  const redo = iconButton("redo", "Redo (Shift-u)", () => dispatch({ type: "redo" }));
  const search = iconButton("search", "Search (/)", onSearch, { "data-role": "open-search" });
  const openHelp = createHelp(popovers, () => wordsOf(controller.getState()));
  const help = iconButton("help", "Help: marks and keys (?)", showHelp, {
    "data-role": "open-help",
    "aria-haspopup": "dialog",
    "aria-expanded": "false",
  });
  const full = iconButton("fullscreen", "Fullscreen", toggleFullscreen);
  const exports = createExportMenu(controller, popovers, shown);
  const out = iconButton("export", "Export", () => exports.open(out), {
    "aria-haspopup": "menu",
    "aria-expanded": "false",
  });
  full.hidden = !root.ownerDocument.fullscreenEnabled;

  const el = h(
    "div",
    { class: "vw-toolbar", role: "toolbar", "aria-label": "Tools" },
    views.el,
    table,
    measure,
    lens.el,
    foil,
    keep,
    filter,
    mark,
    h("span", { class: "vw-tools" }, map, search, undo, redo, out, full, help),
  );

  const roving = createRoving(el);

  /** @param {State} state */
  function update(state) {
    audit.update(state);
    mapWindow.update(state);
    views.update(state);
    lens.update(state);
    keepWindow.update(state);
    showWindow.update(state);
    const { past, future, status, graph, filters, keep } = state;
    const steps = [past, future, filters, keep];
    if (!changed(state.measure, state.live, state.foil, status, graph, state.audit, ...steps))
      return;
    select.value = state.measure;
    // What a page was saved without cannot be made there.
    select.options[1].disabled = !live && !!graph && !carriesEffects(graph);
    measure.title = MEASURES.find(([value]) => value === state.measure)?.[2] ?? "";
    undo.disabled = past.length === 0;
    redo.disabled = future.length === 0;
    out.disabled = !graph;
    table.disabled = !graph;
    showFoil(state);
    showKeep(state);
    fill(filter, "show ", h("span", { class: "vw-kept" }, showName(filters)), icon("chevron"));
    filter.setAttribute("aria-label", `show ${showName(filters)}: layers and heads that are shown`);
    filter.disabled = search.disabled = map.disabled = !graph;
    showExactness(state);
  }

  function showHelp() {
    openHelp(help);
  }

  /** @param {State} state */
  function showFoil({ foil: wanted, graph }) {
    const text = wanted === null ? null : (wanted.text ?? graph?.foil?.text ?? "…");
    fill(
      foil,
      "against ",
      h("span", { class: text ? "vw-foil-token" : "vw-none" }, text ?? "—"),
      live && icon("chevron"),
    );
    foil.disabled = !live || !graph;
    foil.hidden = !live && !text;
    foil.setAttribute(
      "aria-label",
      text ? `against ${text}: what the target is compared with` : "against — : compared with none",
    );
    foil.title = "The token that the target is compared against";
    foil.classList.toggle("waiting", (wanted?.id ?? null) !== (graph?.foil?.id ?? null));
  }

  /** @param {State} state */
  function showKeep({ keep: wanted, graph }) {
    fill(keep, "keep ", h("span", { class: "vw-kept" }, keepName(wanted)), live && icon("chevron"));
    keep.setAttribute("aria-label", `keep ${keepName(wanted)}: what is kept in the picture`);
    keep.disabled = !live || !graph;
    keep.title = live
      ? "How much of each layer, and of the routes, is drawn apart"
      : "What this page keeps was decided when it was saved";
    keep.classList.toggle("waiting", live && graph !== null && !sameKeep(wanted, graph.keep));
  }

  /** @param {State} state */
  function showExactness(state) {
    const found = exactness(state);
    mark.hidden = !found || !state.graph;
    if (!found) return;
    const { exact, error } = found;
    const size = error ? scientific(error) : null;
    const how = exact ? "exact" : "off";
    const text =
      size === null ? (exact ? how : "not exact") : `${how} ${exact ? "to" : "by"} ${size}`;
    mark.classList.toggle("off", !exact);
    fill(mark, text, icon(exact ? "check" : "alert"));
    mark.setAttribute("aria-label", `${text}. Show the audit`);
    mark.title = exact
      ? "Checked on this prompt: every part adds up to its whole. Click for the audit."
      : "Checked on this prompt: parts do not add up to their wholes. Click for the audit.";
  }

  function chooseFoil() {
    const { graph } = controller.getState();
    if (!graph) return;
    const chooser = createTokenChooser({
      prediction: graph.prediction.filter((token) => token.id !== graph.target.id),
      current: graph.foil,
      label: "Token to compare against",
      hint: `See what speaks for ${graph.target.text} over another token.`,
      noneLabel: "no comparison",
      search: controller.searchVocabulary,
      onChoose(token) {
        dispatch({ type: "set-foil", token: token && { id: token.id, text: token.text } });
        popovers.close({ focus: true });
      },
    });
    popovers.show(foil, chooser.el, {
      label: "Compare against",
      align: "end",
      onClose: chooser.destroy,
    });
  }

  function toggleFullscreen() {
    const { fullscreenElement } = root.ownerDocument;
    if (fullscreenElement) void root.ownerDocument.exitFullscreen();
    else
      root.requestFullscreen().catch((error) => onProblem(`No fullscreen here: ${error.message}`));
  }

  return { el, update, showHelp, home: search, roving, destroy: roving.destroy };
}
