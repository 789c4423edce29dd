/** Says what the filters have put aside, for as long as they do. */

import { isFiltered } from "../../state/filters.js";
import { NO_FILTERS } from "../../state/state.js";
import { createChangeGuard, h } from "../../ui/dom.js";

/** @import { Controller } from "../../state/controller.js" */
/** @import { State } from "../../state/state.js" */
/** @import { Filters } from "../../types.js" */

/**
 * @param {Filters} filters
 * @param {number} n Layers of the model.
 * @returns {string} "Layers 0–19 are dimmed; some heads of layer 23 are drawn as one. They stay in
 *   every sum."
 */
export function filterWords({ layers, heads }, n) {
  const clauses = [];
  if (layers) {
    const dimmed = [
      layers[0] > 0 && range(0, layers[0] - 1),
      layers[1] < n - 1 && range(layers[1] + 1, n - 1),
    ].filter(Boolean);
    const one = dimmed.length === 1 && !String(dimmed[0]).includes("–");
    clauses.push(`layer${one ? "" : "s"} ${dimmed.join(" and ")} ${one ? "is" : "are"} dimmed`);
  }
  const of = Object.keys(heads)
    .map(Number)
    .sort((a, b) => a - b);
  if (of.length > 0) {
    const which = of.length === 1 ? `layer ${of[0]}` : `layers ${of.join(", ")}`;
    clauses.push(`some heads of ${which} are drawn as one`);
  }
  if (clauses.length === 0) return "";
  const words = clauses.join("; ");
  return `${words[0].toUpperCase()}${words.slice(1)}. What is hidden stays in every sum.`;
}

/**
 * @param {number} from
 * @param {number} to
 */
const range = (from, to) => (from === to ? `${from}` : `${from}–${to}`);

/** @param {Controller} controller */
export function createFilterNote(controller) {
  const changed = createChangeGuard();
  const words = h("span", {});
  const reset = h(
    "button",
    {
      class: "vw-link",
      "data-role": "show-all",
      click: () => controller.dispatch({ type: "set-filters", filters: NO_FILTERS }),
    },
    "show all",
  );
  const el = h(
    "div",
    { class: "vw-filter-note", "data-role": "filter-note", role: "status", hidden: true },
    words,
    " ",
    reset,
  );

  /** @param {State} state */
  function update({ filters, graph }) {
    if (!changed(filters, graph)) return;
    el.hidden = !graph || !isFiltered(filters);
    words.textContent = graph ? filterWords(filters, graph.model.n_layers) : "";
  }

  return { el, update };
}
