/** The search over the view on screen: a field, how many were found, and ways from one to the next. */

import { sameValue } from "../../state/same.js";
import { findHits, litBy } from "../../state/search.js";
import { createChangeGuard, h, icon, iconButton } from "../../ui/dom.js";
import { whole } from "../../words/format.js";
import { pressed } from "../../words/keys.js";

/** @import { Controller } from "../../state/controller.js" */
/** @import { Found, Hit } from "../../state/search.js" */
/** @import { State } from "../../state/state.js" */
/** @import { Display } from "../../types.js" */

/** How long a picture takes to come to rest. */
const REST_MS = 340;
/** How long a layer may take to come. */
const PATIENCE_MS = 20_000;
/** How long typing pauses before what is typed is a part of the view's state. */
const TYPED_MS = 300;

/**
 * @param {Controller} controller
 * @param {{main: HTMLElement, home: () => HTMLElement, onChange: () => void}} shell `main`: where the
 *   views stand; `home`: what gets the focus where nothing else had it.
 */
export function createSearch(controller, { main, home, onChange }) {
  const changed = createChangeGuard();
  /** @type {Found} */
  let found = { hits: [], note: null };
  /** @type {Set<string> | null} */
  let lit = null;
  /** @type {string | null} */
  let current = null;
  /** @type {HTMLElement | null} */
  let before = null;
  let seeksUntil = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let seeking;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let typing;
  /** @type {Display["search"]} What the state says, as far as is known here. */
  let told = null;

  const input = h("input", {
    type: "text",
    class: "vw-search-input",
    dir: "auto",
    placeholder: "token, L23.H4, or what a node says",
    "aria-label": "Search this view: tokens, node ids such as L23.H4, and what nodes say",
    autocomplete: "off",
    spellcheck: "false",
    input: search,
  });
  const count = h("span", { class: "vw-search-count", "data-role": "search-count" });
  const previous = iconButton("up", "Previous (Shift+Enter)", () => go(-1));
  const next = iconButton("chevron", "Next (Enter)", () => go(1));
  const note = h("span", { class: "vw-search-note", "data-role": "search-note" });
  const said = h("span", { class: "vw-offscreen", role: "status" });
  const el = h(
    "div",
    { class: "vw-search", role: "search", "data-role": "search", hidden: true, keydown: onKey },
    icon("search"),
    input,
    count,
    previous,
    next,
    note,
    said,
    iconButton("close", "Close the search (Escape)", close),
  );

  function open() {
    if (el.hidden) {
      const { activeElement } = /** @type {Document | ShadowRoot} */ (el.getRootNode());
      before = /** @type {HTMLElement | null} */ (activeElement);
      el.hidden = false;
      refresh();
      tell();
    }
    input.focus({ preventScroll: true });
    input.select();
  }

  /** @returns {boolean} Whether there was one to close. */
  function close() {
    if (el.hidden) return false;
    const within = el.contains(/** @type {Document} */ (el.getRootNode()).activeElement);
    el.hidden = true;
    current = null;
    clearTimeout(seeking);
    refresh();
    tell();
    const back = before?.isConnected && before.getClientRects().length > 0 ? before : home();
    if (within) back.focus({ preventScroll: true });
    return true;
  }

  function search() {
    current = null;
    refresh();
    clearTimeout(typing);
    typing = setTimeout(tell, TYPED_MS);
  }

  /** The search is a part of what decides the picture. */
  function tell() {
    clearTimeout(typing);
    const search = el.hidden ? null : { query: input.value, hit: current };
    if (sameValue(search, told)) return;
    told = search;
    controller.dispatch({ type: "set-display", display: { search } });
  }

  /** @param {State} state */
  function hear({ display }) {
    const search = display.search ?? null;
    if (sameValue(search, told)) return;
    clearTimeout(typing);
    told = search;
    current = search?.hit ?? null;
    el.hidden = search === null;
    if (search && input.value !== search.query) input.value = search.query;
  }

  /** @param {KeyboardEvent} event */
  function onKey(event) {
    const key = pressed(event, "next", "previous", "out");
    if (!key || event.isComposing) return;
    // A button's own Enter presses it.
    if (key !== "out" && event.target !== input) return;
    event.preventDefault();
    event.stopPropagation();
    if (key === "out") close();
    else go(key === "next" ? 1 : -1);
  }

  /** @param {1 | -1} step */
  function go(step) {
    const { hits } = found;
    if (hits.length === 0) return;
    const at = hits.findIndex(({ key }) => key === current);
    const to = at < 0 ? (step > 0 ? 0 : hits.length - 1) : at + step;
    const hit = hits[(to + hits.length) % hits.length];
    current = hit.key;
    seeksUntil = Date.now() + PATIENCE_MS;
    reveal(hit);
    refresh();
    tell();
    said.textContent = `${count.textContent}: ${hit.text}`;
    seek();
  }

  /** @param {Hit} hit */
  function reveal({ id, layer, opens }) {
    if (id !== null) controller.dispatch({ type: "reveal", node: id, layer: opens ? layer : null });
  }

  /** Once the picture has come to rest, what was gone to is brought into sight. */
  function seek() {
    clearTimeout(seeking);
    if (current === null || Date.now() > seeksUntil) return;
    seeking = setTimeout(() => {
      const shown = main.querySelector(".vw-stage-slot:not([hidden]) .selected");
      const isThere = shown && shown.getClientRects().length > 0;
      if (!isThere) return;
      shown.scrollIntoView?.({ block: "nearest", inline: "nearest" });
      seeksUntil = 0;
    }, REST_MS);
  }

  function refresh() {
    look(controller.getState());
    onChange();
  }

  /** @param {State} state */
  function look(state) {
    const query = el.hidden ? "" : input.value;
    const { graph, blocks, expanded, view, routes, lateMissing } = state;
    if (changed(query, graph, blocks, expanded, view, routes, lateMissing)) {
      found = findHits(state, query);
      lit = litBy(found);
    }
    show(query);
  }

  /** @param {string} query */
  function show(query) {
    const { hits } = found;
    const at = hits.findIndex(({ key }) => key === current);
    const of = whole(hits.length);
    if (query.trim() === "") count.textContent = "";
    else if (hits.length === 0) count.textContent = "none";
    else count.textContent = at < 0 ? `${of} found` : `${whole(at + 1)} of ${of}`;
    note.textContent = found.note ?? "";
    previous.disabled = next.disabled = hits.length === 0;
  }

  return {
    el,
    open,
    close,
    /** @param {State} state */
    update(state) {
      const open = !el.hidden;
      hear(state);
      if (el.hidden && !open) return;
      look(state);
      seek();
    },
    /** What is lit, by node id and as "token 3"; null while nothing is. */
    found: () => lit,
    /** The position of the prompt's token that was gone to. */
    at: () => found.hits.find(({ key }) => key === current)?.position ?? null,
    destroy() {
      clearTimeout(seeking);
      clearTimeout(typing);
    },
  };
}
