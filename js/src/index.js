/** The bundle's entry: what anywidget calls, and what a saved page calls. */

export { figureFile } from "./shell/figure/headless.js";

import { keepStill } from "./shell/figure/still.js";
import { mountView } from "./shell/view.js";
import { createController } from "./state/controller.js";
import { holdController } from "./state/registry.js";
import { createStandaloneHost } from "./wire/standalone.js";

/** @import { WidgetModel } from "./wire/host.js" */
/** @import { FakeSettings } from "./wire/standalone.js" */
/** @import { Host, StandaloneData } from "./types.js" */

/**
 * @param {{model: WidgetModel, signal?: AbortSignal}} context
 * @returns {() => void}
 */
function initialize({ model, signal }) {
  const { release } = holdController(model);
  signal?.addEventListener("abort", release);
  return release;
}

/**
 * @param {{model: WidgetModel, el: HTMLElement, signal?: AbortSignal}} context
 * @returns {() => void}
 */
function render({ model, el, signal }) {
  const { controller, release } = holdController(model);
  const unmount = mountView(el, controller);
  const stop = keepStill(model, el, controller);
  let mounted = true;
  const cleanup = () => {
    if (!mounted) return;
    mounted = false;
    stop();
    unmount();
    release();
  };
  signal?.addEventListener("abort", cleanup);
  return cleanup;
}

/**
 * Shows a saved graph in a page of its own, without a kernel.
 *
 * @param {HTMLElement} element
 * @param {StandaloneData} data
 * @param {FakeSettings} [settings] For tests: a fake kernel's answers.
 * @returns {{host: Host, destroy: () => void}}
 */
export function mountStandalone(element, data, settings) {
  const host = createStandaloneHost(data, settings);
  const controller = createController(host);
  const unmount = mountView(element, controller);
  return {
    host,
    destroy() {
      unmount();
      controller.destroy();
    },
  };
}

export default { initialize, render };
