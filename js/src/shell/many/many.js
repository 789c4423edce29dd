/** Many prompts on one screen: a small river each; a click or Enter opens one. */

import { inOrder, ORDERS } from "../../state/prompts.js";
import { createChangeGuard, fill, h, icon, setAttribute } from "../../ui/dom.js";
import { createRoving } from "../../ui/roving.js";
import { SHADE_RANKS } from "../../views/shared/scales.js";
import { pressed } from "../../words/keys.js";
import { headline, ORDER_WORDS, promptWords } from "../../words/prompts.js";
import { riverSvg } from "./draw.js";
import { gridOf } from "./grid.js";
import { layoutPrompt, weightsOf } from "./layout.js";

/** @import { Controller } from "../../state/controller.js" */
/** @import { State } from "../../state/state.js" */
/** @import { Order, Prompts } from "../../types.js" */

/** Until the grid's width is known. */
const SOME_WIDTH = 1000;

/** @param {Controller} controller */
export function createMany({ dispatch, getState, live }) {
  const rowsChanged = createChangeGuard();
  /** The tile of each prompt, by number. @type {HTMLButtonElement[]} */
  let tiles = [];
  /** @type {number[]} */
  let order = [];
  let width = 0;
  let shown = false;
  /** The one that was open last. @type {number | null} */
  let last = null;

  const title = h("div", { class: "vw-many-title", role: "heading", "aria-level": 2 });
  const sorted = h(
    "select",
    {
      class: "vw-select",
      "data-role": "order",
      "aria-label": "Order of the prompts",
      change: () => dispatch({ type: "set-order", order: ORDERS[sorted.selectedIndex] }),
    },
    ORDERS.map((each) => h("option", { value: each }, ORDER_WORDS[each])),
  );
  const legend = h("span", { class: "vw-many-key" });
  const grid = h("div", {
    class: "vw-many-grid",
    "data-role": "prompts",
    role: "group",
    "aria-label": "Prompts, each with what the model says",
    keydown: onKey,
  });
  const el = h(
    "section",
    { class: "vw-many", "aria-label": "All prompts", hidden: true },
    h(
      "div",
      { class: "vw-many-head" },
      title,
      legend,
      h("label", { class: "vw-field" }, "order ", sorted, icon("chevron")),
    ),
    grid,
  );
  const roving = createRoving(grid);

  /**
   * @param {State} state
   * @param {boolean} visible
   */
  function update(state, visible) {
    const { prompts } = state;
    if (state.opened !== null && !visible) last = state.opened;
    const came = visible && !shown;
    const held = el.ownerDocument.activeElement;
    shown = visible;
    el.hidden = !visible;
    if (!prompts || !visible) return;
    if (width === 0) width = Math.floor(grid.clientWidth) || SOME_WIDTH;
    if (rowsChanged(prompts, width)) show(prompts);
    arrange(prompts, state.order);
    const waits = state.live && state.opened !== null ? state.opened : -1;
    tiles.forEach((tile, number) => {
      tile.classList.toggle("waiting", number === waits);
      setAttribute(tile, "aria-current", number === last ? "true" : null);
    });
    if (came) comeBack(held);
  }

  /**
   * Back from a prompt, the focus is where it was left.
   *
   * @param {Element | null} held What had the focus.
   */
  function comeBack(held) {
    const tile = tiles[last ?? -1];
    if (!tile) return;
    roving.prefer(tile);
    const root = el.closest(".visit-widget");
    if (!held || !root?.contains(held) || el.contains(held)) return;
    tile.focus({ preventScroll: true });
    tile.scrollIntoView?.({ block: "nearest" });
  }

  /** @param {Prompts} prompts */
  function show(prompts) {
    const { rows, included, lens } = prompts;
    const { columns, inner } = gridOf(width);
    grid.style.setProperty("--vw-columns", String(columns));
    title.textContent = headline(prompts);
    fill(legend, ...keyOf(lens));
    const before = tiles;
    const weight = weightsOf(rows.map(({ brief, text }) => brief ?? text));
    tiles = rows.map((row, number) => {
      const can = live || (included?.includes(number) ?? false);
      const words = promptWords(row, number, can);
      const tile =
        before[number] ??
        h("button", {
          class: "vw-many-tile",
          "data-prompt": number,
          click: () => open(number),
        });
      setAttribute(tile, "aria-disabled", row.problem || !can ? true : null);
      tile.title = row.problem ? `${row.text}\n${row.problem}` : row.text;
      tile.classList.toggle("problem", Boolean(row.problem));
      // What is seen is letters and numbers apart; what is heard, a sentence.
      fill(
        tile,
        h("span", { class: "vw-offscreen" }, words),
        riverSvg(layoutPrompt(row, number, inner, weight), inner),
      );
      return tile;
    });
    order = [];
  }

  /**
   * @param {Prompts} prompts
   * @param {Order} wanted
   */
  function arrange(prompts, wanted) {
    sorted.selectedIndex = ORDERS.indexOf(wanted);
    const next = inOrder(prompts, wanted);
    if (order.length === next.length && order.every((number, place) => number === next[place])) {
      return;
    }
    order = next;
    const held = /** @type {HTMLElement | null} */ (el.ownerDocument.activeElement);
    fill(
      grid,
      order.map((number) => tiles[number]),
    );
    if (held && grid.contains(held)) held.focus({ preventScroll: true });
  }

  /** @param {number} number */
  function open(number) {
    const { prompts } = getState();
    const row = prompts?.rows[number];
    if (!row || row.problem || tiles[number].getAttribute("aria-disabled")) return;
    dispatch({ type: "open", prompt: number });
  }

  /** @param {KeyboardEvent} event */
  function onKey(event) {
    const key = pressed(event, "west", "east", "upper", "lower", "start", "end");
    const from = order.findIndex((number) => tiles[number] === event.target);
    if (!key || from < 0) return;
    const { columns } = gridOf(width);
    const end = order.length - 1;
    const to = {
      west: from - 1,
      east: from + 1,
      upper: from - columns,
      lower: Math.min(
        from + columns,
        Math.floor(end / columns) > Math.floor(from / columns) ? end : from,
      ),
      start: 0,
      end,
    }[key];
    event.preventDefault();
    // A grid has other neighbours than a row.
    event.stopImmediatePropagation();
    tiles[order[to]]?.focus();
  }

  const sizing = new ResizeObserver(() => {
    const now = Math.floor(grid.clientWidth);
    if (now === 0 || now === width) return;
    width = now;
    if (shown) update(getState(), true);
  });
  sizing.observe(grid);

  return {
    el,
    update,
    roving,
    /** @returns {number[]} The prompts, as they are sorted. */
    sorted() {
      const { prompts, order: wanted } = getState();
      return prompts ? inOrder(prompts, wanted) : [];
    },
    destroy() {
      sizing.disconnect();
      roving.destroy();
    },
  };
}

/**
 * @param {string} lens
 * @returns {HTMLElement[]} What the small rivers show.
 */
function keyOf(lens) {
  const swatches = SHADE_RANKS.map((rank, shade) =>
    h("i", {
      class: `vw-swatch shade-${shade}`,
      title: Number.isFinite(rank) ? `rank up to ${rank}` : "rank over 10,000",
    }),
  );
  const item = (/** @type {(Node | string)[]} */ ...parts) => h("span", {}, ...parts);
  const read = lens === "local" ? "logit" : lens;
  return [
    item(h("i", { class: "vw-swatch hill" }), "probability by layer"),
    item(
      `band: what the stream says (${read} lens), by the token’s rank: 10,000+`,
      h("span", { class: "vw-swatches" }, swatches),
      "1",
    ),
    item(h("i", { class: "vw-swatch mark" }), "layer of its last word"),
  ];
}
