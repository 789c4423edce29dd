/** What the words are read with; a lens that has to be fitted first opens the window that does so. */

import { createChangeGuard, fill, h, icon } from "../../ui/dom.js";
import { LENSES, lensFits, lensName, lensSays } from "../../words/lenses.js";
import { createFitWindow } from "../windows/fit.js";

/** @import { Controller } from "../../state/controller.js" */
/** @import { State } from "../../state/state.js" */
/** @import { LensName } from "../../types.js" */
/** @import { Popovers } from "../../ui/popover.js" */

/**
 * @param {Controller} controller
 * @param {Popovers} popovers
 */
export function createLensChoice(controller, popovers) {
  const { live, dispatch, getState } = controller;
  const changed = createChangeGuard();
  const reader = h("select", {
    class: "vw-select",
    "data-role": "lens",
    "aria-label": "Read with: the lens that names what a vector says",
    change: choose,
  });
  const el = h("label", { class: "vw-field" }, "read with ", reader, icon("chevron"));
  const fits = createFitWindow(controller, popovers, () => show(getState()));

  function choose() {
    const chosen = /** @type {LensName} */ (reader.value);
    const { lens, lenses } = getState();
    if (chosen === lens || lenses.includes(chosen))
      return dispatch({ type: "set-lens", lens: chosen });
    reader.value = lens;
    fits.open(reader, chosen);
  }

  /** @param {State} state */
  function update(state) {
    fits.update();
    if (changed(state.lens, state.lenses, state.live, state.progress.fit)) show(state);
  }

  /** @param {State} state */
  function show({ lens: chosen, lenses, live: reachable, progress }) {
    const known = /** @type {LensName[]} */ (Object.keys(LENSES));
    const names = known.includes(chosen) ? known : [...known, chosen];
    const kernel = reachable && live;
    fill(
      reader,
      names.map((value) => {
        const there = value === chosen || lenses.includes(value);
        const fitted = lensFits(value) === null ? "" : farWords(value, progress.fit);
        const disabled = value !== chosen && !(kernel && (there || fitted));
        const title = there ? lensSays(value) : "Not fitted for this model yet";
        return h("option", { value, title, disabled }, lensName(value), !there && fitted);
      }),
    );
    reader.value = chosen;
    el.title = `Words: ${lensSays(chosen)}`;
  }

  /**
   * @param {LensName} value That has to be fitted.
   * @param {State["progress"][string] | undefined} far
   */
  function farWords(value, far) {
    if (fits.fitting() !== value) return "…";
    return far?.total ? `, fitting ${Math.min(far.done + 1, far.total)}/${far.total}` : ", fitting";
  }

  return { el, update };
}
