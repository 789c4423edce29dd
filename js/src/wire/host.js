/** Adapts an anywidget model to the host that the rest of the front end talks to. */

import { createRequestClient } from "./requests.js";

/** @import { Host, RequestOptions } from "../types.js" */

/**
 * @typedef {object} WidgetModel The part of anywidget's model that is used.
 * @property {(name: string) => any} get
 * @property {(name: string, value: any) => void} set
 * @property {() => any} save_changes
 * @property {(message: any) => void} send
 * @property {(event: string, callback: (...args: any[]) => void) => void} on
 * @property {(event: string, callback?: (...args: any[]) => void) => void} off
 */

/**
 * @param {WidgetModel} model
 * @param {{silenceMs?: number}} [settings]
 * @returns {Host & {destroy: () => void}}
 */
export function createModelHost(model, settings) {
  const client = createRequestClient(
    {
      send: (message) => model.send(message),
      onMessage(listener) {
        /** @param {unknown} message */
        const receive = (message) => listener(message);
        model.on("msg:custom", receive);
        return () => model.off("msg:custom", receive);
      },
    },
    settings,
  );

  /** @type {Set<() => void>} */
  const subscriptions = new Set();

  return {
    live: true,

    /** @type {Host["get"]} */
    get: (name) => model.get(name),

    /** @type {Host["set"]} */
    set(name, value) {
      try {
        model.set(name, value);
        // With a kernel that is gone this throws in some front ends and rejects in others.
        const saved = model.save_changes();
        if (typeof saved?.catch === "function") saved.catch(() => {});
        return true;
      } catch {
        return false;
      }
    },

    onChange(names, listener) {
      const callbacks = names.map((name) => {
        const callback = () => listener(name);
        model.on(`change:${name}`, callback);
        return { name, callback };
      });
      const off = () => {
        for (const { name, callback } of callbacks) model.off(`change:${name}`, callback);
        subscriptions.delete(off);
      };
      subscriptions.add(off);
      return off;
    },

    /**
     * @param {string} method
     * @param {Record<string, unknown>} params
     * @param {RequestOptions} [options]
     */
    request: (method, params, options) => client.request(method, params, options),

    destroy() {
      for (const off of [...subscriptions]) off();
      client.destroy();
    },
  };
}

/**
 * Whether two of anywidget's model objects stand for one widget. It hands `initialize` and `render`
 * two different proxies of it, so identity must be read off what they hold: the very same objects.
 *
 * @param {WidgetModel} a
 * @param {WidgetModel} b
 */
export function isSameModel(a, b) {
  if (a === b) return true;
  const held = a.get("saved") ? ["saved"] : ["graph", "status", "expanded", "selection"];
  return held.every((name) => {
    const value = a.get(name);
    return typeof value === "object" && value !== null && value === b.get(name);
  });
}
