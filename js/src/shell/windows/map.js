/**
 * The map of effects, in a window of its own: every head or sublayer of every layer; or of what each
 * part of the other prompt brings.
 */

import { layerOf } from "../../state/revisions.js";
import { createChangeGuard, fill, h } from "../../ui/dom.js";
import { createWindow } from "../../ui/window.js";
import { pressed } from "../../words/keys.js";
import { tokenText } from "../../words/words.js";
import { mapRows, nextCell, patchingRows, strongestCell } from "./map-cells.js";

/** @import { Controller } from "../../state/controller.js" */
/** @import { State } from "../../state/state.js" */
/** @import { EffectsMap, PatchedOver, Patching } from "../../types.js" */
/** @import { Popovers } from "../../ui/popover.js" */

/** What all columns take, and all rows, in pixels; and one of them, at most and at least. */
const ROOM = { width: 690, height: 400, most: 22, least: 7 };
/** What stands beside the cells. */
const EDGES = 90;
const OVERS = /** @type {const} */ (["heads", "sublayers", "streams"]);
const PATCHED = /** @type {const} */ (["streams", "attention", "mlps", "heads", "parts"]);
/** What is exchanged, for those choices that do not say it all. */
const TAKES = {
  streams: "the stream before a layer, at one token",
  attention: "what attention adds, at one token",
  mlps: "what the MLP adds, at one token",
  heads: "what a head adds, at all tokens",
  parts: "what a head takes from one token, for this prediction",
};
/** What the two colours say, of effects and of patching. */
const SAYS = {
  effects: ["the prediction loses without it", "gains without it"],
  patching: ["brings the other prompt’s answer", "takes it further away"],
};
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
function createContent({ mapEffects, mapPatching, dispatch, getState }, close) {
  const changed = createChangeGuard();
  /** @type {"effects" | "patching"} */
  let what = "effects";
  /** @type {EffectsMap["over"]} */
  let over = "heads";
  /** @type {PatchedOver} */
  let patched = "streams";
  /** Of parts: the token that heads take from; null for the one that matters most to each. @type {number | null} */
  let source = null;
  /** @type {Patching | null} */
  let known = null;
  /** The cell that is told. @type {import("./map-cells.js").MapCell | null} */
  let told = null;
  /** @type {"measured" | "predicted"} */
  let which = "measured";
  /** @type {(() => ReturnType<typeof mapRows>) | null} Of what was answered. */
  let read = null;
  /** @type {number[]} */
  let columns = [];
  let problem = "";
  let asking = new AbortController();
  /** @type {[number, number]} */
  let at = [0, 0];
  /** @type {ReturnType<typeof mapRows>} */
  let rows = [];

  const kinds = h("span", { class: "vw-presets", role: "group", "aria-label": "What is mapped" });
  const choices = h("span", { class: "vw-presets", role: "group", "aria-label": "What is shown" });
  const heading = h("h2", {}, "Effects");
  const note = h("p", { class: "vw-keep-note" });
  const words = h("span", { role: "status" });
  const run = h(
    "button",
    {
      class: "vw-show-head",
      "data-role": "map-run",
      title: "Run the pass again with it, and look at that run (P)",
      click: bring,
    },
    "run with it",
  );
  const from = h("select", {
    class: "vw-select",
    "data-role": "map-source",
    "aria-label": "The token that heads take from",
    change() {
      source = from.value === "" ? null : Number(from.value);
      begin();
    },
  });
  const line = h("p", { class: "vw-map-words" }, words, run);
  const grid = h("table", {
    class: "vw-map-grid",
    role: "grid",
    "aria-label": "Effects by layer",
    keydown: onKey,
    click: (/** @type {Event} */ event) => go(event.target),
    focusin: (/** @type {Event} */ event) => tell(event.target),
    pointerover: (/** @type {Event} */ event) => tell(event.target),
  });
  const el = createWindow(
    { name: "map", title: heading, close: () => close(true), tools: [kinds, choices] },
    from,
    line,
    h("div", { class: "vw-map-room" }, grid),
    note,
  );

  const layers = getState().graph?.model.n_layers ?? 0;
  // As wide as it will be, so that it is placed where it fits.
  el.style.width = `${EDGES + Math.min(ROOM.width, layers * ROOM.most)}px`;

  async function ask() {
    asking.abort();
    asking = new AbortController();
    const { signal } = asking;
    read = null;
    problem = "";
    show();
    try {
      const rowsNow = await (what === "effects" ? askEffects(signal) : askPatching(signal));
      if (signal.aborted) return;
      read = rowsNow;
    } catch (error) {
      if (signal.aborted) return;
      problem = error instanceof Error ? error.message : String(error);
    }
    begin();
  }

  /** @param {AbortSignal} signal */
  async function askEffects(signal) {
    const map = await mapEffects(over, signal);
    return readerOf(map, mapRows);
  }

  /** @param {AbortSignal} signal */
  async function askPatching(signal) {
    const map = await mapPatching(patched, signal);
    known = map;
    source = null;
    columns = map.layers;
    return () => {
      const { graph } = getState();
      return graph ? patchingRows(map, which, graph, source) : [];
    };
  }

  /**
   * @param {EffectsMap} map
   * @param {(map: EffectsMap, by: typeof which, graph: import("../../types.js").FlowGraph) => typeof rows} rowsOf
   */
  function readerOf(map, rowsOf) {
    columns = map.layers;
    return () => {
      const { graph } = getState();
      return graph ? rowsOf(map, which, graph) : [];
    };
  }

  /** Draws what is shown from its strongest part on. */
  function begin() {
    rows = read?.() ?? [];
    at = strongestCell(rows.map(({ cells }) => cells));
    show();
  }

  function show() {
    const option = (
      /** @type {string} */ text,
      /** @type {boolean} */ on,
      /** @type {() => void} */ click,
    ) => h("button", { class: "vw-preset", "aria-pressed": String(on), click }, text);
    const { graph } = getState();
    const whats =
      graph?.against &&
      /** @type {const} */ (["effects", "patching"]).map((each) =>
        option(each, what === each, () => {
          what = each;
          void ask();
        }),
      );
    const overs =
      what === "effects"
        ? OVERS.map((each) =>
            option(each, over === each, () => {
              over = each;
              void ask();
            }),
          )
        : PATCHED.map((each) =>
            option(each, patched === each, () => {
              patched = each;
              void ask();
            }),
          );
    const whiches = /** @type {const} */ ([
      ["measured", "measured"],
      ["predicted", "foretold"],
    ]).map(([each, name]) =>
      option(name, which === each, () => {
        which = each;
        begin();
      }),
    );
    heading.textContent = what === "effects" ? "Effects" : "Patching";
    redraw(kinds, whats ?? []);
    kinds.hidden = !whats;
    redraw(choices, [...overs, ...whiches]);
    el.setAttribute("aria-busy", String(!read && !problem));
    told = (read && cellAt(at)) || null;
    words.textContent = problem || (read ? (told?.words ?? "") : "Measuring every part…");
    run.hidden = what !== "patching" || !told;
    showSources();
    fill(grid, read && drawn(columns));
    fill(
      note,
      h("i", { class: "vw-help-mark positive", "aria-hidden": true }),
      `${SAYS[what][0]} `,
      h("i", { class: "vw-help-mark negative", "aria-hidden": true }),
      SAYS[what][1],
      what === "patching" && h("span", { class: "vw-map-takes" }, `Exchanged: ${TAKES[patched]}.`),
    );
  }

  /** Of parts: which token heads take from. */
  function showSources() {
    const { graph } = getState();
    const sources = (what === "patching" && patched === "parts" && read && known?.sources) || [];
    from.hidden = sources.length === 0;
    if (!graph || sources.length === 0) return;
    fill(
      from,
      h("option", { value: "" }, "from the token that matters most to each head"),
      sources.map((at) => h("option", { value: at }, `from ${tokenText(graph, at)}`)),
    );
    from.value = source === null ? "" : `${source}`;
  }

  /** Runs the pass with the part that is told. */
  function bring() {
    if (!told) return;
    const position = told.position ?? (patched === "heads" ? "all" : null);
    close(true);
    dispatch({ type: "bring", node: told.node, position });
  }

  /**
   * What was pressed is drawn anew, and stays where the focus is.
   *
   * @param {HTMLElement} group
   * @param {HTMLElement[]} buttons
   */
  function redraw(group, buttons) {
    const held = [...group.children].find((each) => each === el.ownerDocument.activeElement);
    fill(group, buttons);
    if (held) buttons.find(({ textContent }) => textContent === held.textContent)?.focus();
  }

  /** @param {number[]} layers */
  function drawn(layers) {
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
    if (!place) return;
    told = cellAt(place) ?? null;
    words.textContent = told?.words ?? "";
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
    const key = pressed(event, "upper", "lower", "west", "east", "start", "end", "choose", "bring");
    const from = placeOf(event.target);
    if (!key || !from) return;
    event.preventDefault();
    event.stopPropagation();
    if (key === "choose") return go(event.target);
    if (key === "bring") return what === "patching" ? bring() : undefined;
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
      if (!graph?.against) what = "effects";
      if (graph && changed(graph.revision)) void ask();
      const { map: far } = progress;
      if (!read && far) words.textContent = `Measured ${far.done} of ${far.total} parts…`;
    },
  };
}
