/** Fitting a lens for this model: what it takes, how far it is, and reading with it once it is there. */

import { copyButton } from "../../ui/copy.js";
import { fill, h } from "../../ui/dom.js";
import { createWindow } from "../../ui/window.js";
import { isVoid } from "../../wire/requests.js";
import { lensFits, lensName, lensSays, lensTakes } from "../../words/lenses.js";

/** @import { Controller } from "../../state/controller.js" */
/** @import { LensName } from "../../types.js" */
/** @import { Popovers } from "../../ui/popover.js" */

/**
 * A fit goes on while its window is closed, until it is stopped.
 *
 * @param {Controller} controller
 * @param {Popovers} popovers
 * @param {() => void} onChange Called when a fit begins and ends.
 */
export function createFitWindow({ fitLens, getState, dispatch }, popovers, onChange) {
  /** @type {{lens: LensName, asking: AbortController} | null} */
  let fitting = null;
  let failed = "";
  /** @type {{lens: LensName, show: () => void} | null} */
  let shown = null;

  /** @param {LensName} lens */
  async function begin(lens) {
    const asking = new AbortController();
    fitting = { lens, asking };
    failed = "";
    shown?.show();
    onChange();
    try {
      await fitLens(lens, asking.signal);
      if (shown?.lens === lens) popovers.close({ focus: true });
      dispatch({ type: "set-lens", lens });
    } catch (error) {
      if (!isVoid(error)) failed = error instanceof Error ? error.message : String(error);
    } finally {
      fitting = null;
      shown?.show();
      onChange();
    }
  }

  /**
   * @param {HTMLElement} anchor
   * @param {LensName} lens
   */
  function open(anchor, lens) {
    const name = lensName(lens);
    const code = lensFits(lens) ?? "";
    const words = h("p", { role: "status" });
    const bar = h("div", { class: "vw-fit-bar", "aria-hidden": true });
    const action = h("button", { class: "vw-button" });
    const close = () => popovers.close({ focus: true });
    const el = createWindow(
      { name: "fit-window", title: `Fit the ${name} lens`, close },
      h("p", {}, `It tells of a vector ${lensSays(lens)}.`),
      h("p", { class: "vw-keep-note" }, lensTakes(lens)),
      words,
      bar,
      h("div", { class: "vw-keep-foot" }, action),
      h(
        "p",
        { class: "vw-fit-code" },
        "In a cell: ",
        h("code", {}, code),
        " ",
        copyButton("copy", () => code),
      ),
    );

    function show() {
      const mine = fitting?.lens === lens ? fitting : null;
      const { fit: far } = getState().progress;
      const known = mine && far && far.total > 0;
      words.textContent = mine
        ? known
          ? `Passage ${Math.min(far.done + 1, far.total)} of ${far.total}…`
          : "The kernel begins…"
        : fitting
          ? `The ${lensName(fitting.lens)} lens is being fitted: this one after it.`
          : failed;
      words.hidden = words.textContent === "";
      bar.hidden = !mine;
      bar.style.setProperty("--vw-part", String(known ? far.done / far.total : 0));
      action.onclick = () => (mine ? mine.asking.abort() : void begin(lens));
      action.disabled = fitting !== null && !mine;
      fill(action, mine ? "Stop" : failed ? "Try again" : "Fit it");
    }

    if (!fitting) failed = "";
    show();
    // Chosen, not toggled: of another lens it takes the place of the one that is open.
    popovers.close();
    popovers.show(anchor, el, {
      label: `Fit the ${name} lens`,
      align: "end",
      onClose: () => (shown = null),
    });
    shown = { lens, show };
  }

  return { open, fitting: () => fitting?.lens ?? null, update: () => shown?.show() };
}
