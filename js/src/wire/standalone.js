/**
 * A host without a kernel: it answers from what a saved page carries, and says what it does not.
 * Tests drive the whole front end through it too, with handlers of their own.
 */

import { RequestError } from "./requests.js";

/** @import { Host, LateName, RequestOptions, StandaloneData, TraitName, Traits } from "../types.js" */

/**
 * @typedef {object} FakeSettings
 * @property {boolean} [live] Whether to offer what needs a kernel. Tests do.
 * @property {Record<string, (params: any, options: RequestOptions) => any>} [handlers] Answers in
 *   place of the embedded ones, by method; may return a promise or throw.
 * @property {(name: TraitName, value: any) => void} [onSet] Told what the front end sets.
 */

/** @type {Traits} */
const DEFAULTS = {
  prompt: "",
  generation: null,
  branch: null,
  step: null,
  focus: 0,
  against: null,
  target: null,
  foil: null,
  graph: {},
  expanded: [],
  selection: [],
  measure: "logit",
  lens: "logit",
  lenses: [],
  keep: {},
  interventions: [],
  runs: [],
  playing: false,
  view: "block",
  pins: [],
  filters: { layers: null, heads: {} },
  display: { under: ["attribution", "predictions"], least: false, unfolded: false, search: null },
  status: { state: "ready", message: null, max_error: null, exact: null },
};

const NO_AUDIT =
  "This page was saved without its audit. In the notebook that it comes from, " +
  "widget.save_html(path, audit=True) saves it along.";

/**
 * @param {StandaloneData} data
 * @param {FakeSettings} [settings]
 * @returns {Host}
 */
export function createStandaloneHost(data, { live = false, handlers = {}, onSet } = {}) {
  /** @type {Traits} */
  const traits = { ...DEFAULTS, ...data.traits };
  /** @type {Set<(name: TraitName) => void>} */
  const listeners = new Set();

  /** @type {Record<string, (params: any) => any>} */
  const embedded = {
    expand({ layer, revision }) {
      const block = data.expand?.[layer];
      if (!block) throw notIncluded(`Layer ${layer} was`);
      return { ...block, revision };
    },
    project({ nodes, revision, lenient }) {
      const found = nodes.filter((/** @type {string} */ id) => data.project?.[id]);
      if (found.length === 0 && !lenient) throw notIncluded("More about this part was");
      const details = found.map((/** @type {string} */ id) => [id, data.project?.[id]]);
      const gone = nodes.filter((/** @type {string} */ id) => !data.project?.[id]);
      const why = notIncluded("This part was").message;
      const missing = Object.fromEntries(gone.map((/** @type {string} */ id) => [id, why]));
      const { against = null } = data;
      const more = { ...(against ? { against } : {}), ...(lenient ? { missing } : {}) };
      return { revision, nodes: Object.fromEntries(details), ...more };
    },
    audit() {
      if (!data.audit) throw new RequestError("not-included", NO_AUDIT);
      return data.audit;
    },
    routes: ({ revision }) => late("The routes view", "routes", revision),
    attribution: ({ revision }) => late("What each token adds", "attribution", revision),
    predictions: ({ revision }) => late("What is predicted", "predictions", revision),
  };

  /**
   * @param {string} what
   * @param {LateName} name
   * @param {number} revision
   */
  function late(what, name, revision) {
    if (!data[name]) throw notIncluded(`${what} was`);
    return { ...data[name], revision };
  }

  return {
    live,
    get: (name) => traits[name],

    set(name, value) {
      traits[name] = value;
      onSet?.(name, value);
      for (const listener of [...listeners]) listener(name);
      return true;
    },

    onChange(names, listener) {
      /** @param {TraitName} name */
      const filtered = (name) => {
        if (names.includes(name)) listener(name);
      };
      listeners.add(filtered);
      return () => {
        listeners.delete(filtered);
      };
    },

    async request(method, params, options = {}) {
      const handler = handlers[method] ?? embedded[method];
      if (!handler) {
        throw new RequestError("no-kernel", "This page has no kernel to compute that with.");
      }
      return handler(params, options);
    },
  };
}

/** @param {string} what */
function notIncluded(what) {
  return new RequestError(
    "not-included",
    `${what} not included in this page. Open the notebook it was saved from to look further.`,
  );
}
