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
  const [changed, moved] = [createChangeGuard(), createChangeGuard()];
  const reader = h("select", {
    class: "vw-select",
    "data-role": "lens",
    "aria-label": "Read with: the lens that names what a vector says",
    change: choose,
  });
  const el = h("label", { class: "vw-field" }, "read with ", reader, icon("chevron"));
  /** How far a fit is, while its window may be closed. */
  const far = h("button", {
    class: "vw-link",
    "data-role": "fit-progress",
    "aria-haspopup": "dialog",
    "aria-expanded": "false",
    hidden: true,
    click: () => fits.toggle(far, /** @type {LensName} */ (fits.fitting())),
  });
  const fits = createFitWindow(controller, popovers, showFit);

  function choose() {
    const chosen = /** @type {LensName} */ (reader.value);
    const { lens, lenses } = getState();
    if (chosen === lens || lenses.includes(chosen))
      return dispatch({ type: "set-lens", lens: chosen });
    reader.value = lens;
    fits.toggle(reader, chosen);
  }

  /** @param {State} state */
  function update(state) {
    fits.update();
    if (moved(state.progress.fit)) showFit();
    if (changed(state.lens, state.lenses, state.live)) show(state);
  }

  /** @param {State} state */
  function show({ lens: chosen, lenses, live: reachable }) {
    const known = /** @type {LensName[]} */ (Object.keys(LENSES));
    const names = known.includes(chosen) ? known : [...known, chosen];
    const kernel = reachable && live;
    fill(
      reader,
      names.map((value) => {
        const there = value === chosen || lenses.includes(value);
        const fitted = lensFits(value) === null ? "" : "…";
        const disabled = value !== chosen && !(kernel && (there || fitted));
        const title = there ? lensSays(value) : `Not fitted for this model yet${fitted}`;
        return h("option", { value, title, disabled }, lensName(value), !there && fitted);
      }),
    );
    reader.value = chosen;
    el.title = `Words: ${lensSays(chosen)}`;
  }

  function showFit() {
    const lens = fits.fitting();
    far.hidden = lens === null;
    if (!lens) return;
    const { done = 0, total = 0 } = getState().progress.fit ?? {};
    const part = total > 0 ? ` ${Math.min(done + 1, total)}/${total}` : "";
    far.textContent = `fitting ${lensName(lens)}${part}`;
  }

  return { el, far, update };
}
