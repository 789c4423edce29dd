/** Which layers and heads are drawn plainly: a small form in a window of its own. */

import { isFiltered, withHeads, withHeadToggled, withLayers } from "../../state/filters.js";
import { mergedGraph } from "../../state/selectors.js";
import { NO_FILTERS } from "../../state/state.js";
import { createChangeGuard, fill, h } from "../../ui/dom.js";
import { createWindow } from "../../ui/window.js";

/** @import { Controller } from "../../state/controller.js" */
/** @import { State } from "../../state/state.js" */
/** @import { Filters } from "../../types.js" */
/** @import { Popovers } from "../../ui/popover.js" */

const HINT = "What is not shown is dimmed, or drawn as one. It stays in every sum.";

/**
 * @param {Filters} filters
 * @returns {string} What the toolbar calls it: "all", "layers 20–29", "some heads".
 */
export function showName({ layers, heads }) {
  const some = Object.keys(heads).length > 0;
  const [first, last] = layers ?? [0, 0];
  const which = first === last ? `layer ${first}` : `layers ${first}–${last}`;
  if (layers) return some ? `${which}, some heads` : which;
  return some ? "some heads" : "all";
}

/**
 * @param {Controller} controller
 * @param {Popovers} popovers
 */
export function createShowWindow(controller, popovers) {
  /** @type {ReturnType<typeof createContent> | null} */
  let shown = null;

  /** @param {HTMLElement} anchor */
  function toggle(anchor) {
    const content = createContent(controller, () => popovers.close({ focus: true }));
    content.update(controller.getState());
    const again = shown !== null;
    popovers.show(anchor, content.el, { label: "What is shown", onClose: () => (shown = null) });
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
  const set = (/** @type {Filters} */ filters) => dispatch({ type: "set-filters", filters });
  const [from, to] = ["Show layers from", "Show layers up to"].map((label) =>
    h("input", {
      type: "number",
      class: "vw-number",
      min: 0,
      step: 1,
      inputmode: "numeric",
      "aria-label": label,
      change: applyLayers,
    }),
  );
  const reset = h(
    "button",
    {
      class: "vw-link",
      "data-role": "reset-filters",
      click: () => set(NO_FILTERS),
    },
    "Show all",
  );
  const heads = h("div", { class: "vw-show-heads" });
  const el = createWindow(
    { name: "show", role: "show-window", title: "What is shown", close },
    h("div", { class: "vw-show-layers" }, h("h3", {}, "Layers"), from, "to", to),
    heads,
    h("p", { class: "vw-keep-note" }, HINT),
    h("div", { class: "vw-keep-foot" }, h("span"), reset),
  );

  function applyLayers() {
    const { graph, filters } = getState();
    if (!graph) return;
    const last = graph.model.n_layers - 1;
    const read = (/** @type {HTMLInputElement} */ field, /** @type {number} */ fallback) => {
      const value = field.value.trim() === "" ? fallback : Math.round(Number(field.value));
      return Number.isFinite(value) ? Math.max(0, Math.min(last, value)) : fallback;
    };
    set(withLayers(filters, read(from, 0), read(to, last), last + 1));
    show(getState());
  }

  /** @param {State} state */
  function update(state) {
    if (changed(state.filters, mergedGraph(state), state.expanded)) show(state);
  }

  /** @param {State} state */
  function show(state) {
    const { filters, graph, expanded } = state;
    if (!graph) return;
    const last = graph.model.n_layers - 1;
    const [first, final] = filters.layers ?? [0, last];
    from.max = to.max = String(last);
    from.value = String(first);
    to.value = String(final);
    reset.disabled = !isFiltered(filters);
    const { activeElement } = /** @type {Document | ShadowRoot} */ (el.getRootNode());
    const role = heads.contains(activeElement) ? activeElement?.getAttribute("data-head") : null;
    const open = [...expanded]
      .sort((a, b) => a - b)
      .map((layer) => ({
        layer,
        drawn: headsIn(state, layer),
      }));
    fill(
      heads,
      open
        .filter(({ drawn }) => drawn.length > 1)
        .map(({ layer, drawn }) => headsRow(layer, drawn, filters)),
      open.length === 0 &&
        h("p", { class: "vw-keep-note" }, "Open a layer to choose among its heads."),
    );
    if (role)
      /** @type {HTMLElement | null} */ (heads.querySelector(`[data-head="${role}"]`))?.focus();
  }

  /**
   * @param {number} layer
   * @param {number[]} drawn
   * @param {Filters} filters
   */
  function headsRow(layer, drawn, filters) {
    const chosen = filters.heads[layer];
    return h(
      "div",
      { class: "vw-show-layer", role: "group", "aria-label": `Heads of layer ${layer}` },
      h("h3", {}, `Layer ${layer}`),
      h(
        "span",
        { class: "vw-show-chips" },
        drawn.map((head) =>
          h(
            "button",
            {
              class: "vw-show-head",
              "data-head": `${layer}.${head}`,
              "aria-pressed": String(!chosen || chosen.includes(head)),
              "aria-label": `Head ${head}`,
              click: () => set(withHeadToggled(getState().filters, layer, head, drawn)),
            },
            `H${head}`,
          ),
        ),
      ),
      chosen &&
        h(
          "button",
          {
            class: "vw-link",
            "data-head": `${layer}.all`,
            click: () => set(withHeads(getState().filters, layer, null)),
          },
          "all",
        ),
    );
  }

  return { el, update };
}

/**
 * @param {State} state
 * @param {number} layer
 * @returns {number[]} The heads that the layer draws apart.
 */
function headsIn(state, layer) {
  const nodes = mergedGraph(state)?.nodes ?? [];
  return nodes
    .flatMap((node) => (node.kind === "head" && node.layer === layer ? (node.head ?? []) : []))
    .sort((a, b) => a - b);
}
