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
  prompts: null,
  opened: null,
  order: "given",
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

/** What a prompt has of its own, in a saved page of many. @type {TraitName[]} */
const OF_A_PROMPT = ["prompt", "focus", "target", "foil", "interventions", "status", "graph"];

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
  /** What answers: of many prompts, what was saved of the one that is open. */
  let now = data;

  /** @type {Record<string, (params: any) => any>} */
  const embedded = {
    expand({ layer, revision }) {
      const block = now.expand?.[layer];
      if (!block) throw notIncluded(`Layer ${layer} was`);
      return { ...block, revision };
    },
    project({ nodes, revision, lenient }) {
      const found = nodes.filter((/** @type {string} */ id) => now.project?.[id]);
      if (found.length === 0 && !lenient) throw notIncluded("More about this part was");
      const details = found.map((/** @type {string} */ id) => [id, now.project?.[id]]);
      const gone = nodes.filter((/** @type {string} */ id) => !now.project?.[id]);
      const why = notIncluded("This part was").message;
      const missing = Object.fromEntries(gone.map((/** @type {string} */ id) => [id, why]));
      const { against = null } = now;
      const more = { ...(against ? { against } : {}), ...(lenient ? { missing } : {}) };
      return { revision, nodes: Object.fromEntries(details), ...more };
    },
    audit() {
      if (!now.audit) throw new RequestError("not-included", NO_AUDIT);
      return now.audit;
    },
    routes: ({ revision }) => late("The routes view", "routes", revision),
    attribution: ({ revision }) => late("What each token adds", "attribution", revision),
    predictions: ({ revision }) => late("What is predicted", "predictions", revision),
    sinks: ({ revision }) => late("Where attention is parked", "sinks", revision),
  };

  /**
   * @param {string} what
   * @param {LateName} name
   * @param {number} revision
   */
  function late(what, name, revision) {
    if (!now[name]) throw notIncluded(`${what} was`);
    return { ...now[name], revision };
  }

  /**
   * @param {number} number Of many prompts.
   * @returns {TraitName[]} What else has changed by it.
   */
  function openPrompt(number) {
    const found = number === data.traits.graph?.opened ? data : data.many?.[number];
    if (!found || found === now) return [];
    now = found;
    const own = /** @type {TraitName[]} */ (
      OF_A_PROMPT.filter((name) => found.traits[name] !== undefined)
    );
    for (const name of own) Object.assign(traits, { [name]: found.traits[name] });
    return own;
  }

  return {
    live,
    get: (name) => traits[name],

    set(name, value) {
      traits[name] = value;
      onSet?.(name, value);
      const more =
        name === "opened" && value !== null ? openPrompt(/** @type {number} */ (value)) : [];
      for (const changed of [name, ...more]) {
        for (const listener of [...listeners]) listener(changed);
      }
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
