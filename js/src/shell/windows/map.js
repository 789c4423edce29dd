/** The map of effects: every head or sublayer of every layer, in a window of its own. */

import { layerOf } from "../../state/revisions.js";
import { createChangeGuard, fill, h, iconButton } from "../../ui/dom.js";
import { pressed } from "../../words/keys.js";
import { mapRows, nextCell, strongestCell } from "./map-cells.js";

/** @import { Controller } from "../../state/controller.js" */
/** @import { State } from "../../state/state.js" */
/** @import { EffectsMap } from "../../types.js" */
/** @import { Popovers } from "../../ui/popover.js" */

/** What all columns take, and all rows, in pixels; and one of them, at most and at least. */
const ROOM = { width: 690, height: 400, most: 22, least: 7 };
/** What stands beside the cells. */
const EDGES = 90;
/** Every so many layers have their number. */
const NUMBERED = 5;

/**
 * @param {Controller} controller
 * @param {Popovers} popovers
 */
export function createMapWindow(controller, popovers) {
  /** @type {ReturnType<typeof createContent> | null} */
  let shown = null;

  /** @param {HTMLElement} anchor */
  function toggle(anchor) {
    const again = shown !== null;
    const content = createContent(controller, (focus) => popovers.close({ focus }));
    popovers.show(anchor, content.el, {
      label: "Map of effects",
      align: "end",
      onClose() {
        shown?.stop();
        shown = null;
      },
    });
    if (again) return;
    shown = content;
    content.update(controller.getState());
  }

  return { toggle, update: (/** @type {State} */ state) => shown?.update(state) };
}

/**
 * @param {Controller} controller
 * @param {(focus: boolean) => void} close
 */
function createContent({ mapEffects, dispatch, getState }, close) {
  const changed = createChangeGuard();
  /** @type {EffectsMap["over"]} */
  let over = "heads";
  /** @type {"measured" | "predicted"} */
  let which = "measured";
  /** @type {EffectsMap | null} */
  let map = null;
  let problem = "";
  let asking = new AbortController();
  /** @type {[number, number]} */
  let at = [0, 0];
  /** @type {ReturnType<typeof mapRows>} */
  let rows = [];

  const choices = h("span", { class: "vw-presets", role: "group", "aria-label": "What is shown" });
  const words = h("p", { class: "vw-map-words", role: "status" });
  const grid = h("table", {
    class: "vw-map-grid",
    role: "grid",
    "aria-label": "Effects by layer",
    keydown: onKey,
    click: (/** @type {Event} */ event) => go(event.target),
    focusin: (/** @type {Event} */ event) => tell(event.target),
    pointerover: (/** @type {Event} */ event) => tell(event.target),
  });
  const el = h(
    "div",
    { class: "vw-show vw-map", "data-role": "map", "data-first": true, tabindex: -1 },
    h(
      "div",
      { class: "vw-keep-head" },
      h("h2", {}, "Effects"),
      choices,
      iconButton("close", "Close (Escape)", () => close(true)),
    ),
    words,
    h("div", { class: "vw-map-room" }, grid),
    h(
      "p",
      { class: "vw-keep-note" },
      h("i", { class: "vw-help-mark positive", "aria-hidden": true }),
      "the prediction loses without it ",
      h("i", { class: "vw-help-mark negative", "aria-hidden": true }),
      "gains without it",
    ),
  );

  const layers = getState().graph?.model.n_layers ?? 0;
  // As wide as it will be, so that it is placed where it fits.
  el.style.width = `${EDGES + Math.min(ROOM.width, layers * ROOM.most)}px`;

  async function ask() {
    asking.abort();
    asking = new AbortController();
    const { signal } = asking;
    map = null;
    problem = "";
    show();
    try {
      const reply = await mapEffects(over, signal);
      if (signal.aborted) return;
      map = reply;
    } catch (error) {
      if (signal.aborted) return;
      problem = error instanceof Error ? error.message : String(error);
    }
    begin();
  }

  /** Draws what is shown from its strongest part on. */
  function begin() {
    const { graph } = getState();
    rows = map && graph ? mapRows(map, which, graph) : [];
    at = strongestCell(rows.map(({ cells }) => cells));
    show();
  }

  function show() {
    const option = (
      /** @type {string} */ text,
      /** @type {boolean} */ on,
      /** @type {() => void} */ click,
    ) => h("button", { class: "vw-preset", "aria-pressed": String(on), click }, text);
    const overs = /** @type {const} */ (["heads", "sublayers", "streams"]).map((each) =>
      option(each, over === each, () => {
        over = each;
        void ask();
        refocus(each);
      }),
    );
    const whiches = /** @type {const} */ ([
      ["measured", "measured"],
      ["predicted", "foretold"],
    ]).map(([each, name]) =>
      option(name, which === each, () => {
        which = each;
        begin();
        refocus(name);
      }),
    );
    fill(choices, overs, whiches);
    el.setAttribute("aria-busy", String(!map && !problem));
    words.textContent = problem || (map ? (cellAt(at)?.words ?? "") : "Measuring every part…");
    fill(grid, map && drawn(map));
  }

  /** What was pressed is drawn anew. @param {string} text */
  function refocus(text) {
    [...choices.children].forEach((each) => {
      if (each.textContent === text) /** @type {HTMLElement} */ (each).focus();
    });
  }

  /** @param {EffectsMap} shown */
  function drawn({ layers }) {
    const sizeOf = (/** @type {number} */ room, /** @type {number} */ count) =>
      Math.max(ROOM.least, Math.min(ROOM.most, Math.floor(room / count)));
    grid.style.setProperty("--vw-wide", `${sizeOf(ROOM.width, layers.length)}px`);
    grid.style.setProperty("--vw-tall", `${sizeOf(ROOM.height, rows.length)}px`);
    const head = h(
      "tr",
      {},
      h("th", { scope: "col" }, "layer"),
      layers.map((layer) =>
        h(
          "th",
          { scope: "col" },
          layer % NUMBERED === 0
            ? h("span", {}, `${layer}`)
            : h("span", { class: "vw-offscreen" }, `${layer}`),
        ),
      ),
    );
    return [
      head,
      ...rows.map(({ name, cells }, row) =>
        h(
          "tr",
          {},
          h("th", { scope: "row" }, name),
          cells.map((cell, column) => {
            if (!cell) return h("td", {});
            const isHere = row === at[0] && column === at[1];
            const td = h("td", {
              class: `vw-map-cell ${cell.tone}`,
              "data-id": cell.id,
              "data-at": `${row} ${column}`,
              tabindex: isHere ? 0 : -1,
              "aria-label": cell.words,
            });
            td.style.setProperty("--vw-part", `${Math.round(cell.part * 100)}%`);
            return td;
          }),
        ),
      ),
    ];
  }

  /** @param {[number, number]} place */
  const cellAt = ([row, column]) => rows[row]?.cells[column];

  /** @param {EventTarget | null} target */
  const placeOf = (target) => {
    const told = target instanceof HTMLElement ? target.dataset.at : undefined;
    return told === undefined
      ? null
      : /** @type {[number, number]} */ (told.split(" ").map(Number));
  };

  /** @param {EventTarget | null} target */
  function tell(target) {
    const place = placeOf(target);
    if (place) words.textContent = cellAt(place)?.words ?? "";
  }

  /** @param {EventTarget | null} target */
  function go(target) {
    const place = placeOf(target);
    const cell = place && cellAt(place);
    if (!cell) return;
    close(true);
    const { node, position } = cell;
    if (position === null) return dispatch({ type: "reveal", node, layer: layerOf(node) });
    dispatch({ type: "look-at", position, layer: layerOf(node), nodes: [node] });
  }

  /** @param {KeyboardEvent} event */
  function onKey(event) {
    const key = pressed(event, "upper", "lower", "west", "east", "start", "end", "choose");
    const from = placeOf(event.target);
    if (!key || !from) return;
    event.preventDefault();
    event.stopPropagation();
    if (key === "choose") return go(event.target);
    at = nextCell(
      rows.map(({ cells }) => cells),
      from,
      key,
    );
    for (const td of grid.querySelectorAll("td[data-at]")) {
      const isHere = /** @type {HTMLElement} */ (td).dataset.at === at.join(" ");
      td.setAttribute("tabindex", isHere ? "0" : "-1");
      if (isHere) /** @type {HTMLElement} */ (td).focus();
    }
  }

  return {
    el,
    stop: () => asking.abort(),
    update: (/** @type {State} */ { graph, progress }) => {
      if (graph && changed(graph.revision)) void ask();
      const { map: far } = progress;
      if (!map && far) words.textContent = `Measured ${far.done} of ${far.total} parts…`;
    },
  };
}
