/** The picture that the kernel keeps in the notebook, for readers who have no kernel. */

import { encodeRequest } from "../../wire/codec.js";
import { pngFile } from "./files.js";
import { figureOf } from "./headless.js";

/** @import { Controller } from "../../state/controller.js" */
/** @import { WidgetModel } from "../../wire/host.js" */

/** Of the file, in bytes: it is in the notebook beside every widget. */
const MOST = 400_000;
const WIDTH = 1008;
/** The largest that is small enough is kept. */
const SCALES = [2, 1.5, 1, 0.7, 0.5];
const PAUSE_MS = 1000;

/**
 * Draws it once all that is on screen has come, whenever the kernel wants one.
 *
 * @param {WidgetModel} model
 * @param {HTMLElement} el Where the widget is shown.
 * @param {Controller} controller
 * @returns {() => void}
 */
export function keepStill(model, el, { getState }) {
  let drawn = false;
  const timer = setInterval(async () => {
    const state = getState();
    // The kernel takes its wish back once it has what it wants.
    drawn &&= model.get("picture");
    if (drawn || !model.get("picture") || !state.graph || el.querySelector(".busy")) return;
    drawn = true;
    try {
      const svg = figureOf(state, el, { dark: false, width: WIDTH });
      for (const scale of SCALES) {
        const file = await pngFile(svg, scale);
        if (file.size > MOST) continue;
        const reader = new FileReader();
        reader.readAsDataURL(file);
        await new Promise((resolve) => reader.addEventListener("load", resolve));
        return model.send(encodeRequest("picture", "keep_picture", { png: reader.result, scale }));
      }
    } catch {
      // Nobody waits for it.
    }
  }, PAUSE_MS);
  return () => clearInterval(timer);
}
