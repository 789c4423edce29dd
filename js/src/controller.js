/**
 * Keeps one widget's state: listens to its host, turns what readers do into state, traits and
 * requests, and tells every view. One controller a widget, however many views it has.
 */

import { isVoid } from "./requests.js";
import {
  auditPending,
  awaitsGraph,
  knownNode,
  missingDetails,
  pendingLayers,
} from "./selectors.js";
import { initialState, reduce, STEP_NAMES, sameValue, TRAIT_NAMES } from "./state.js";

/** @import { Host, Measure, Token, Traits } from "./types.js" */
/** @import { State, StateAction, Steps } from "./state.js" */

/**
 * @typedef {{type: "select", nodes: string[], additive?: boolean} |
 *   {type: "toggle-layer", layer: number} |
 *   {type: "open-layers", layers: number[]} |
 *   {type: "close-layer", layer: number} |
 *   {type: "ask-details"} |
 *   {type: "ask-audit"} |
 *   {type: "set-focus", position: number} |
 *   {type: "set-target", id: number, text?: string} |
 *   {type: "set-foil", token: Token | null} |
 *   {type: "set-measure", measure: Measure} |
 *   {type: "retrace", prompt: string} |
 *   {type: "undo"} | {type: "redo"} |
 *   {type: "retry", key: string} |
 *   {type: "dismiss", key: string} |
 *   {type: "report", key: string, message: string} |
 *   {type: "announce", text: string}} UserAction
 */

/** @type {(keyof Steps)[]} Traits that only a kernel can act on. */
const KERNEL_STEPS = ["focus", "target", "foil"];

const UNREACHABLE =
  "The kernel cannot be reached; it may have been restarted. Run the cell again to reconnect. " +
  "What is shown here keeps working.";

const AWAIT_GRAPH_MS = 20_000;
const ASK_LATER_MS = 500;

/**
 * @param {Host} host
 */
export function createController(host) {
  /** @type {State} */
  let state = reduce(initialState, { type: "traits", traits: readTraits(host) });
  /** @type {Set<(state: State) => void>} */
  const listeners = new Set();
  let silentRequests = 0;
  let destroyed = false;
  let auditReaders = 0;
  let auditing = new AbortController();
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let graphTimer;

  const stopListening = host.onChange(TRAIT_NAMES, (name) => {
    const value = host.get(name);
    if (name !== "graph" && sameValue(/** @type {any} */ (state)[name], value)) return;
    if (name === "graph" || name === "status") hearFromKernel();
    apply({ type: "traits", traits: { [name]: value } });
    if (name === "status") reportStatus();
    fillIn();
  });

  reportStatus();
  // Asking waits for the first view: a notebook full of saved widgets should not wake the kernel.
  /**
   * @param {(state: State) => void} listener
   */
  function subscribe(listener) {
    listeners.add(listener);
    if (listeners.size === 1) fillIn();
    return () => {
      listeners.delete(listener);
    };
  }

  /** @param {StateAction} action */
  function apply(action) {
    const next = reduce(state, action);
    if (next === state || destroyed) return;
    state = next;
    for (const listener of [...listeners]) listener(state);
  }

  /**
   * @param {UserAction} action
   */
  function dispatch(action) {
    switch (action.type) {
      case "select":
        return changeSteps({ selection: select(state.selection, action) });
      case "toggle-layer":
        apply({ type: "dismiss", key: "expand" });
        return changeSteps({ expanded: toggle(state.expanded, action.layer) });
      case "open-layers":
        return changeSteps({ expanded: [...new Set([...state.expanded, ...action.layers])] });
      case "ask-details":
        apply({ type: "details-failed", ids: state.detailsAsked });
        return fillIn();
      case "ask-audit":
        apply({ type: "audit-unasked" });
        return fillIn();
      case "close-layer":
        return changeSteps({ expanded: state.expanded.filter((layer) => layer !== action.layer) });
      case "set-focus":
        return changeSteps({ focus: action.position });
      case "set-target":
        return changeSteps({ target: { id: action.id, text: action.text ?? textOf(action.id) } });
      case "set-foil":
        return changeSteps({ foil: action.token });
      case "set-measure":
        return changeSteps({ measure: action.measure });
      case "retrace":
        return retrace(action.prompt);
      case "undo":
      case "redo":
        apply(action);
        return shareSteps();
      case "retry": {
        const problem = state.problems.find(({ key }) => key === action.key);
        apply({ type: "dismiss", key: action.key });
        if (problem?.retry) dispatch(problem.retry);
        return;
      }
      case "report":
        return apply({ type: "problem", problem: { key: action.key, message: action.message } });
      case "dismiss":
      case "announce":
        return apply(action);
    }
  }

  /** @param {Partial<Steps>} changes */
  function changeSteps(changes) {
    apply({ type: "change", changes });
    shareSteps();
  }

  /** Hands on to the host whatever the state now says differently, and asks for what it needs. */
  function shareSteps() {
    let reachable = true;
    let recomputes = false;
    for (const name of STEP_NAMES) {
      if (sameValue(host.get(name), state[name])) continue;
      const delivered = host.set(name, state[name]);
      if (!KERNEL_STEPS.includes(name)) continue;
      recomputes = true;
      reachable &&= delivered;
    }
    if (!reachable) {
      apply({ type: "problem", problem: { key: "kernel", message: UNREACHABLE } });
    } else if (recomputes && host.live) {
      clearTimeout(graphTimer);
      graphTimer = setTimeout(() => apply({ type: "silence", silent: true }), AWAIT_GRAPH_MS);
    }
    fillIn();
  }

  /** Asks for everything that the state shows and does not have. */
  function fillIn() {
    if (!state.graph || listeners.size === 0 || destroyed) return;
    for (const layer of pendingLayers(state)) {
      if (!state.asked.includes(layer)) void expand(layer);
    }
    const missing = missingDetails(state);
    if (missing.some((id) => !state.detailsAsked.includes(id))) void project(missing);
    if (auditReaders > 0 && !state.audit && !state.auditAsked) void audit();
  }

  /** @param {number} layer */
  async function expand(layer) {
    const revision = revisionNow();
    const of = `layer ${layer}`;
    apply({ type: "block-asked", layer });
    try {
      const block = await host.request("expand", { layer, revision }, listenTo(of));
      // A block of another revision is dropped: the graph it belongs to is on its way.
      apply({ type: "block", block });
    } catch (error) {
      if (isVoid(error) || revision !== revisionNow()) return;
      if (awaitsGraph(state)) return askLater(revision, { type: "block-deferred", layer });
      apply({ type: "block-failed", layer });
      shareSteps();
      // One sentence for however many layers fail of one cause; one try again for all of them.
      const before = state.problems.find(({ key }) => key === "expand")?.retry?.layers ?? [];
      report("expand", error, { type: "open-layers", layers: [...before, layer] });
    } finally {
      if (revision === revisionNow()) apply({ type: "progress-end", of });
    }
  }

  /** @param {string[]} ids */
  async function project(ids) {
    const revision = revisionNow();
    apply({ type: "details-asked", ids });
    try {
      const reply = await host.request("project", { nodes: ids, revision }, listenTo("details"));
      apply({ type: "details", revision: reply.revision, details: reply.nodes });
      apply({ type: "dismiss", key: "details" });
    } catch (error) {
      if (isVoid(error) || revision !== revisionNow()) return;
      if (awaitsGraph(state)) return askLater(revision, { type: "details-failed", ids });
      // Still counted as asked, or the next change of anything would ask again.
      report("details", error, { type: "ask-details" });
    } finally {
      if (revision === revisionNow()) apply({ type: "progress-end", of: "details" });
    }
  }

  /**
   * While somebody reads the audit it is kept up to date with the graph; with the last reader gone,
   * an audit under way is called off.
   *
   * @returns {() => void}
   */
  function readAudit() {
    auditReaders += 1;
    fillIn();
    let reading = true;
    return () => {
      if (!reading) return;
      reading = false;
      auditReaders -= 1;
      if (auditReaders > 0) return;
      auditing.abort();
      apply({ type: "audit-unasked" });
      apply({ type: "dismiss", key: "audit" });
      apply({ type: "progress-end", of: "audit" });
    };
  }

  async function audit() {
    const revision = revisionNow();
    auditing = new AbortController();
    const { signal } = auditing;
    apply({ type: "audit-asked" });
    try {
      const reply = await host.request("audit", { revision }, { ...listenTo("audit"), signal });
      apply({ type: "audit", revision, audit: reply });
    } catch (error) {
      if (isVoid(error) || signal.aborted || revision !== revisionNow()) return;
      if (awaitsGraph(state)) return askLater(revision, { type: "audit-unasked" });
      // Still counted as asked, or the next change of anything would ask again.
      report("audit", error, { type: "ask-audit" });
    } finally {
      if (revision === revisionNow() && !auditPending(state)) {
        apply({ type: "progress-end", of: "audit" });
      }
    }
  }

  /**
   * The kernel refuses questions about a graph that it is just replacing: the new one is on its way,
   * and if it does not come the question stands.
   *
   * @param {number | undefined} revision
   * @param {StateAction} unasked
   */
  function askLater(revision, unasked) {
    setTimeout(() => {
      if (destroyed || revision !== revisionNow()) return;
      apply(unasked);
      fillIn();
    }, ASK_LATER_MS);
  }

  /** @param {string} prompt */
  async function retrace(prompt) {
    try {
      await host.request("retrace", { prompt }, listenTo("prompt"));
      apply({ type: "dismiss", key: "retrace" });
    } catch (error) {
      if (!isVoid(error)) report("retrace", error, { type: "retrace", prompt });
    } finally {
      apply({ type: "progress-end", of: "prompt" });
    }
  }

  /**
   * @param {string} query
   * @param {AbortSignal} [signal]
   * @returns {Promise<Token[]>}
   */
  async function searchVocabulary(query, signal) {
    const reply = await host.request("vocabulary", { query, limit: 20 }, { signal });
    return reply.tokens;
  }

  /** @param {string} of */
  function listenTo(of) {
    return {
      /** @type {(done: number, total: number) => void} */
      onProgress: (done, total) => apply({ type: "progress", of, done, total }),
      /** @type {(silent: boolean) => void} */
      onSilence(silent) {
        silentRequests += silent ? 1 : -1;
        apply({ type: "silence", silent: silentRequests > 0 });
      },
    };
  }

  /**
   * @param {string} key
   * @param {unknown} error
   * @param {UserAction} retry
   */
  function report(key, error, retry) {
    const message = error instanceof Error ? error.message : String(error);
    // Where no kernel stands behind the page, trying again would only fail again.
    const problem = host.live ? { key, message, retry } : { key, message };
    apply({ type: "problem", problem });
    apply({ type: "announce", text: message });
  }

  function reportStatus() {
    const { state: word, message } = state.status;
    if (word === "error" && message) {
      apply({ type: "problem", problem: { key: "status", message } });
    } else {
      apply({ type: "dismiss", key: "status" });
    }
  }

  function hearFromKernel() {
    clearTimeout(graphTimer);
    apply({ type: "silence", silent: silentRequests > 0 });
  }

  const revisionNow = () => state.graph?.revision;

  /** @param {number} id */
  function textOf(id) {
    const { graph } = state;
    const known = [...(graph?.prediction ?? []), ...state.selection.flatMap(tokensOf)];
    return known.find((token) => token.id === id)?.text;
  }

  /** @param {string} node */
  function tokensOf(node) {
    const known = knownNode(state, node);
    return known ? [...known.top, ...known.bottom] : [];
  }

  function destroy() {
    destroyed = true;
    clearTimeout(graphTimer);
    stopListening();
    listeners.clear();
  }

  return {
    getState: () => state,
    subscribe,
    dispatch,
    searchVocabulary,
    readAudit,
    live: host.live,
    destroy,
  };
}

/** @typedef {ReturnType<typeof createController>} Controller */

/**
 * @param {Host} host
 * @returns {Partial<Traits>}
 */
function readTraits(host) {
  return Object.fromEntries(TRAIT_NAMES.map((name) => [name, host.get(name) ?? undefined]));
}

/**
 * @param {string[]} selection
 * @param {{nodes: string[], additive?: boolean}} action
 */
function select(selection, { nodes, additive }) {
  if (!additive) return nodes;
  return nodes.reduce((selected, id) => toggle(selected, id), selection);
}

/**
 * @template T
 * @param {T[]} list
 * @param {T} item
 */
function toggle(list, item) {
  return list.includes(item) ? list.filter((other) => other !== item) : [...list, item];
}
