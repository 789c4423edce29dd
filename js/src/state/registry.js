/**
 * One controller a widget, shared by all of its views and let go with the last of them.
 *
 * `initialize` should come before `render`, and once; some front ends call it again, or leave it
 * out. So whoever comes first makes the controller, and everyone counts.
 */

import { createModelHost, isSameModel } from "../wire/host.js";
import { createStandaloneHost } from "../wire/standalone.js";
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
  const saved = model.get("saved");
  const live = saved ? null : createModelHost(model);
  const controller = createController(live ?? createStandaloneHost(saved, { onSet: tell }));
  /** @type {Entry} */
  const entry = {
    model,
    controller,
    holders: 0,
    destroy() {
      controller.destroy();
      live?.destroy();
    },
  };

  /**
   * A page that was saved is told what is chosen on it, where it can be told anything.
   * @param {string} name
   * @param {unknown} value
   */
  function tell(name, value) {
    try {
      model.set(name, value);
      model.save_changes();
    } catch {}
  }
  entries.add(entry);
  return entry;
}
