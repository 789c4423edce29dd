/**
 * One controller a widget, shared by all of its views and let go with the last of them.
 *
 * `initialize` should come before `render`, and once; some front ends call it again, or leave it
 * out. So whoever comes first makes the controller, and everyone counts.
 */

import { createModelHost, isSameModel } from "../wire/host.js";
import { createController } from "./controller.js";

/** @import { WidgetModel } from "../wire/host.js" */
/** @import { Controller } from "./controller.js" */

/**
 * @typedef {object} Entry
 * @property {WidgetModel} model
 * @property {Controller} controller
 * @property {number} holders
 * @property {() => void} destroy
 */

/** @type {Set<Entry>} */
const entries = new Set();

/**
 * @param {WidgetModel} model
 * @returns {{controller: Controller, release: () => void}}
 */
export function holdController(model) {
  const entry = findEntry(model) ?? createEntry(model);
  entry.holders += 1;
  let held = true;
  return {
    controller: entry.controller,
    release() {
      if (!held) return;
      held = false;
      entry.holders -= 1;
      if (entry.holders > 0) return;
      entries.delete(entry);
      entry.destroy();
    },
  };
}

/** @param {WidgetModel} model */
function findEntry(model) {
  return [...entries].find((entry) => isSameModel(entry.model, model));
}

/**
 * @param {WidgetModel} model
 * @returns {Entry}
 */
function createEntry(model) {
  const host = createModelHost(model);
  const controller = createController(host);
  /** @type {Entry} */
  const entry = {
    model,
    controller,
    holders: 0,
    destroy() {
      controller.destroy();
      host.destroy();
    },
  };
  entries.add(entry);
  return entry;
}
