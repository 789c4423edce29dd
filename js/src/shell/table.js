/** What the view on screen says, as tables in the place of its picture. */

import { createChangeGuard, h, setAttribute } from "../ui/dom.js";
import { createRoving } from "../ui/roving.js";
import { VIEWS } from "../views/index.js";

/** @import { Controller } from "../state/controller.js" */
/** @import { State } from "../state/state.js" */
/** @import { TableCell, TableData, TableRow } from "../views/shared/tables.js" */

/**
 * @param {Controller} controller
 */
export function createTable(controller) {
  const changed = createChangeGuard();
  const note = h("p", { class: "vw-table-note", role: "status", "aria-live": "off" });
  const list = h("div", { class: "vw-tables" });
  const el = h(
    "section",
    { class: "vw-table-slot", "data-role": "table", "aria-label": "Tables", hidden: true },
    note,
    list,
  );
  const roving = createRoving(el);
  /** @type {Map<string, {said: string, el: HTMLElement}>} Drawn tables, by view and key. */
  let drawn = new Map();
  /** @type {Map<HTMLElement, string[]>} Buttons that choose nodes. */
  const choosers = new Map();

  /** @param {State} state */
  function update(state) {
    if (el.hidden) return;
    const { graph, blocks, expanded, measure, keep, view, routes, problems, live, effects } = state;
    const held = [graph, blocks, expanded, measure, keep, view, routes, problems, live, effects];
    if (changed(...held)) show(state);
    markChosen(state.selection);
  }

  /** @param {State} state */
  function show(state) {
    const view = VIEWS.find(({ name }) => name === state.view) ?? VIEWS[0];
    const { tables, waits } = view.tables(state);
    note.hidden = waits === null;
    note.textContent = waits ?? "";
    const isOther = list.dataset.view !== view.name;
    list.dataset.view = view.name;
    // What is only late stays a while longer than it is true, as in the picture.
    const stays = tables.length === 0 && waits !== null && !isOther;
    setAttribute(list, "aria-busy", stays && "true");
    if (stays && drawn.size > 0) return;
    const before = drawn;
    drawn = new Map();
    for (const table of tables) {
      // A table that says the same stays as it is, and where it is read.
      const said = JSON.stringify(table);
      const known = before.get(table.key);
      const same = known?.said === said && !isOther;
      drawn.set(table.key, same && known ? known : { said, el: tableOf(table) });
    }
    const wanted = [...drawn.values()].map((each) => each.el);
    for (const child of [...list.children]) {
      if (!wanted.includes(/** @type {HTMLElement} */ (child))) child.remove();
    }
    // What stays is not taken out and put back: the focus, and the place that is read, would go.
    wanted.forEach((each, at) => {
      if (list.children[at] !== each) list.insertBefore(each, list.children[at] ?? null);
    });
    for (const button of choosers.keys()) if (!list.contains(button)) choosers.delete(button);
  }

  /** @param {string[]} selection */
  function markChosen(selection) {
    for (const [button, nodes] of choosers) {
      button.setAttribute("aria-pressed", String(nodes.every((id) => selection.includes(id))));
    }
  }

  /** @param {TableData} table */
  function tableOf({ key, caption, columns, rows, note }) {
    const heading = (/** @type {TableData["columns"][number]} */ { text, number }) =>
      h("th", { scope: "col", class: number ? "number" : null }, text);
    return h(
      "div",
      { class: "vw-table-room", "data-table": key },
      h(
        "table",
        { class: "vw-table" },
        h("caption", {}, caption, note !== undefined && h("span", {}, note)),
        h("thead", {}, h("tr", {}, columns.map(heading))),
        h(
          "tbody",
          {},
          rows.map((row) => rowOf(key, row)),
        ),
      ),
    );
  }

  /**
   * @param {string} table
   * @param {TableRow} row
   */
  function rowOf(table, { key, cells }) {
    return h(
      "tr",
      { "data-row": key },
      cells.map((cell, at) => {
        const content = contentOf(cell, `${table} ${key} ${at}`);
        const face = cell.face === "words" ? null : cell.face === "token" ? "vw-token" : "number";
        return at === 0
          ? h("th", { scope: "row", class: face }, content)
          : h("td", { class: face }, content);
      }),
    );
  }

  /**
   * @param {TableCell} cell
   * @param {string} role Tells its button from all others, when it is drawn anew.
   */
  function contentOf({ text, action, nodes, open, tells }, role) {
    if (!action) return text;
    const button = h(
      "button",
      {
        class: "vw-table-button",
        "data-role": role,
        "aria-label": tells ? `${text}: ${tells}` : null,
        "aria-expanded": open === undefined ? null : String(open),
        click: (/** @type {MouseEvent} */ { shiftKey, ctrlKey, metaKey }) => {
          const additive = action.type === "select" && (shiftKey || ctrlKey || metaKey);
          controller.dispatch(additive ? { ...action, additive } : action);
        },
      },
      text,
    );
    if (nodes && action.type === "select") choosers.set(button, nodes);
    return button;
  }

  return {
    el,
    roving,
    update,
    /** @param {boolean} shown */
    show(shown) {
      el.hidden = !shown;
      if (shown) update(controller.getState());
    },
    destroy: roving.destroy,
  };
}
