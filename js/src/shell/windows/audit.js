/** The audit: how far off each identity is that the graph rests on, in a window of its own. */

import { auditPending } from "../../state/selectors.js";
import { copyButton } from "../../ui/copy.js";
import { createChangeGuard, fill, h, icon } from "../../ui/dom.js";
import { createWindow } from "../../ui/window.js";
import { powerOfTen } from "../../words/format.js";
import {
  auditMarkdown,
  auditTsv,
  comparedWith,
  errorScale,
  isOver,
  meaningOf,
  roundingWords,
  verdict,
  waitingWords,
} from "./audit-words.js";

/** @import { Controller } from "../../state/controller.js" */
/** @import { State } from "../../state/state.js" */
/** @import { Audit, FlowGraph } from "../../types.js" */
/** @import { Popovers } from "../../ui/popover.js" */

/**
 * @param {Controller} controller
 * @param {Popovers} popovers
 */
export function createAuditWindow(controller, popovers) {
  /** @type {{el: HTMLElement, update: (state: State) => void} | null} */
  let shown = null;

  /** @param {HTMLElement} anchor */
  function toggle(anchor) {
    if (shown) {
      popovers.close({ focus: true });
      return;
    }
    const content = createContent(controller, () => popovers.close({ focus: true }));
    content.update(controller.getState());
    let stop = () => {};
    popovers.show(anchor, content.el, {
      label: "Audit",
      align: "end",
      onClose() {
        shown = null;
        stop();
      },
    });
    shown = content;
    stop = controller.readAudit();
  }

  return { toggle, update: (/** @type {State} */ state) => shown?.update(state) };
}

/**
 * @param {Controller} controller
 * @param {() => void} close
 */
function createContent(controller, close) {
  const changed = createChangeGuard();
  // One element throughout, so that a screen reader hears its words change.
  const words = h("p", { class: "vw-audit-words", role: "status" });
  const copies = h("span", { class: "vw-audit-copies" });
  const body = h("div", { class: "vw-audit-body" });
  const el = createWindow({ name: "audit", title: "Audit", close, tools: [copies] }, words, body);

  /** @param {State} state */
  function update(state) {
    const { audit, graph, problems } = state;
    const problem = problems.find(({ key }) => key === "audit");
    if (!graph || !changed(audit, graph, problem, auditPending(state))) return;
    const active = el.ownerDocument.activeElement;
    const held = body.contains(active) || copies.contains(active);
    el.setAttribute("aria-busy", String(!audit && !problem));
    words.classList.toggle("wrong", problem !== undefined || audit?.exact === false);
    if (audit) fill(words, icon(audit.exact ? "check" : "alert"), verdict(audit));
    // What a saved page lacks is no fault.
    else if (problem) fill(words, problem.retry && icon("alert"), problem.message);
    else fill(words, waitingWords(graph));
    fill(copies, audit && copyButtons(audit, graph));
    const rounding = audit && roundingWords(audit, graph);
    if (audit)
      fill(body, tableOf(audit), rounding && noteOf(rounding), noteOf(comparedWith(audit, graph)));
    else if (problem?.retry) fill(body, retryButton());
    else fill(body, !problem && h("div", { class: "vw-audit-wait", "aria-hidden": true }));
    // What had the focus is gone: the keys should still reach this window.
    if (held) el.focus({ preventScroll: true });
  }

  function retryButton() {
    return h(
      "button",
      {
        class: "vw-link",
        "data-role": "retry-audit",
        click: () => controller.dispatch({ type: "retry", key: "audit" }),
      },
      "try again",
    );
  }

  return { el, update };
}

/** @param {Audit} audit */
function tableOf(audit) {
  const scale = errorScale(audit);
  const limit = scale.place(audit.tolerance);
  const hidden = { class: "vw-audit-scale", "aria-hidden": true };
  const axis = (/** @type {string[]} */ ...labels) =>
    h(
      "span",
      { class: "vw-audit-axis" },
      labels.map((label) => h("span", {}, label)),
    );
  const table = h(
    "table",
    { class: "vw-audit-table" },
    h(
      "thead",
      {},
      h(
        "tr",
        {},
        h("th", { scope: "col" }, "identity"),
        h("th", { scope: "col" }, "largest relative error"),
        h("th", hidden, axis(`tolerance ${powerOfTen(audit.tolerance)}`)),
      ),
    ),
    h(
      "tbody",
      {},
      audit.rows.map((row) => rowOf(audit, row, scale)),
    ),
    h(
      "tfoot",
      { "aria-hidden": true },
      h(
        "tr",
        {},
        h("td", { colspan: 2 }),
        h("td", hidden, axis(powerOfTen(scale.low), powerOfTen(scale.high))),
      ),
    ),
  );
  table.style.setProperty("--vw-limit", String(limit));
  table.style.setProperty("--vw-decades", String(scale.decades));
  return table;
}

/**
 * @param {Audit} audit
 * @param {Audit["rows"][number]} row
 * @param {ReturnType<typeof errorScale>} scale
 */
function rowOf(audit, row, scale) {
  const { identity, error } = row;
  const over = isOver(audit, row);
  const meaning = meaningOf(identity);
  const bar = h("span", { class: "vw-audit-bar" });
  bar.style.setProperty("--vw-part", String(error === null ? 0 : scale.place(error)));
  return h(
    "tr",
    { class: over ? "over" : null, "data-identity": identity },
    h(
      "th",
      { scope: "row" },
      h("span", { class: "vw-audit-identity" }, identity),
      meaning !== null && h("span", { class: "vw-audit-meaning" }, meaning),
    ),
    h(
      "td",
      { class: error === null ? "vw-audit-error none" : "vw-audit-error" },
      over && icon("alert"),
      error === null ? "not asked" : powerOfTen(error, { even: true }),
      over && h("span", { class: "vw-offscreen" }, ", over the tolerance"),
    ),
    h(
      "td",
      { class: "vw-audit-scale", "aria-hidden": true },
      h("span", { class: "vw-audit-track" }, error !== null && bar),
    ),
  );
}

/** @param {string} words */
const noteOf = (words) => h("p", { class: "vw-audit-note" }, words);

/**
 * @param {Audit} audit
 * @param {FlowGraph} graph
 */
function copyButtons(audit, graph) {
  return [
    copyButton("copy as Markdown", () => auditMarkdown(audit, graph), {
      "data-role": "copy-audit",
    }),
    copyButton("copy as TSV", () => auditTsv(audit), { "data-role": "copy-audit-tsv" }),
  ];
}
