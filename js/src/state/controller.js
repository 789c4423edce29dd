/**
 * Keeps one widget's state: listens to its host, turns what readers do into state, traits and
 * requests, and tells every view. One controller a widget, however many views it has.
 */

import { settingApart } from "../wire/bidi.js";
import { createAsker } from "./asking.js";
import { withHead } from "./filters.js";
import { fromOther, isEditable, withIntervention } from "./interventions.js";
import { withRestClosed, withRestOpened } from "./keep.js";
import { LATE_NAMES } from "./revisions.js";
import { sameValue } from "./same.js";
import { knownNode, opensAnother, problemOf, shownMeasure } from "./selectors.js";
import { initialState, reduce, STEP_NAMES, TRAIT_NAMES } from "./state.js";

/** @import { Display, Filters, Host, Keep, Measure, Token, Traits, ViewName } from "../types.js" */
/** @import { State, StateAction, Steps } from "./state.js" */

/**
 * @typedef {{type: "select", nodes: string[], additive?: boolean} |
 *   {type: "toggle-layer", layer: number} |
 *   {type: "open-layers", layers: number[]} |
 *   {type: "close-layer", layer: number} |
 *   {type: "ask-details"} |
 *   {type: "ask-audit"} |
 *   {type: "compose", composed: import("../types.js").Composed | null} |
 *   {type: "ask-late", problem: string} |
 *   {type: "set-focus", position: number} |
 *   {type: "look-at", position: number, layer?: number | null, nodes?: string[]} |
 *   {type: "set-target", id: number | string, text?: string} |
 *   {type: "set-foil", token: Token | null} |
 *   {type: "set-against", prompt: string | null} |
 *   {type: "set-measure", measure: Measure} |
 *   {type: "set-lens", lens: import("../types.js").LensName} |
 *   {type: "set-view", view: ViewName} |
 *   {type: "set-keep", keep: Keep} |
 *   {type: "set-interventions", interventions: import("../types.js").Intervention[]} |
 *   {type: "bring", node: string, position?: number | "all" | null} |
 *   {type: "open-run", run: import("../types.js").Run} |
 *   {type: "remove-runs", ids: number[]} |
 *   {type: "set-passing", passing: boolean} |
 *   {type: "stop-playing"} |
 *   {type: "set-filters", filters: Filters} |
 *   {type: "set-display", display: Partial<Display>} |
 *   {type: "pin", node: string} |
 *   {type: "unpin", node: string} |
 *   {type: "reveal", node: string, layer: number | null} |
 *   {type: "open-rest", node: string} |
 *   {type: "close-rest", node: string} |
 *   {type: "retrace", prompt: string} |
 *   {type: "open", prompt: number | null} |
 *   {type: "set-order", order: import("../types.js").Order} |
 *   {type: "set-step", step: number, goesOn?: boolean} |
 *   {type: "set-branch", branch: number} |
 *   {type: "branch", at: number, token: number} |
 *   {type: "undo"} | {type: "redo"} |
 *   {type: "retry", key: string} |
 *   {type: "dismiss", key: string} |
 *   {type: "report", key: string, message: string}} UserAction
 */

/** @type {(keyof Steps)[]} Traits that only a kernel can act on. */
const KERNEL_STEPS = [
  "opened",
  "branch",
  "step",
  "focus",
  "against",
  "target",
  "foil",
  "measure",
  "lens",
  "keep",
  "interventions",
];

const UNREACHABLE =
  "The kernel cannot be reached; it may have been restarted. Run the cell again to reconnect. " +
  "What is shown here keeps working.";

const NO_OTHER =
  "There is no other prompt to take it from: compare with one, by the button beside the prompt.";
const NOT_BROUGHT =
  "This part cannot be taken over: take a stream, a head, what it reads, or a neuron that both have.";

const AWAIT_GRAPH_MS = 20_000;

/** So many nodes can be compared. */
export const MOST_PINS = 4;

/**
 * @param {Host} given
 */
export function createController(given) {
  const host = settingApart(given);
  /** @type {State} */
  let state = reduce(
    { ...initialState, live: host.live },
    { type: "traits", traits: readTraits(host) },
  );
  /** @type {Set<(state: State) => void>} */
  const listeners = new Set();
  let destroyed = false;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let graphTimer;

  const stopListening = host.onChange(TRAIT_NAMES, (name) => {
    const value = host.get(name);
    if (name !== "graph" && sameValue(/** @type {any} */ (state)[name], value)) return;
    if (name === "graph" || name === "status") hearFromKernel();
    // What arrives with a graph belongs to it, in whatever order it is told.
    apply({ type: "traits", traits: name === "graph" ? readTraits(host) : { [name]: value } });
    if (name === "status") reportStatus();
    asker.fillIn();
  });
  const asker = createAsker(host, {
    getState: () => state,
    apply,
    isWatched: () => listeners.size > 0 && !destroyed,
    shareSteps,
  });

  reportStatus();
  // Asking waits for the first view: a notebook full of saved widgets should not wake the kernel.
  /**
   * @param {(state: State) => void} listener
   */
  function subscribe(listener) {
    listeners.add(listener);
    if (listeners.size === 1) asker.fillIn();
    return () => {
      listeners.delete(listener);
    };
  }

  /** @param {StateAction} action */
  function apply(action) {
    const next = reduce(state, action);
    if (next === state || destroyed) return;
    const dropped = action.type !== "change" && next.selection !== state.selection;
    state = next;
    if (dropped && !sameValue(host.get("selection"), state.selection)) {
      host.set("selection", state.selection);
    }
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
        return asker.fillIn();
      case "ask-audit":
        apply({ type: "audit-unasked" });
        return asker.fillIn();
      case "compose":
        return apply(action);
      case "ask-late":
        for (const name of LATE_NAMES) {
          if (problemOf(name) === action.problem) apply({ type: "late-unasked", name });
        }
        return asker.fillIn();
      case "close-layer":
        return changeSteps({ expanded: state.expanded.filter((layer) => layer !== action.layer) });
      case "set-focus":
        return changeSteps({ focus: action.position });
      case "look-at": {
        const { position: focus, layer } = action;
        const expanded = layer == null ? state.expanded : [layer];
        const selection = action.nodes ?? state.selection;
        return changeSteps({ focus, view: "block", expanded, selection });
      }
      case "set-target":
        return changeSteps({ target: { id: action.id, text: action.text ?? textOf(action.id) } });
      case "set-foil":
        return changeSteps({ foil: action.token });
      case "set-against": {
        const { prompt: against } = action;
        // What the other prompt says goes with it.
        const said = against === null ? state.graph?.against?.prediction[0]?.id : undefined;
        const foil = said !== undefined && state.foil?.id === said ? null : state.foil;
        return changeSteps({ against, foil });
      }
      case "set-measure":
        return changeSteps({ measure: action.measure });
      case "set-lens":
        return changeSteps({ lens: action.lens });
      case "set-view":
        return changeSteps({ view: action.view });
      case "set-keep":
        return changeSteps({ keep: action.keep });
      case "set-interventions":
        return changeSteps({ interventions: action.interventions });
      case "bring":
        return bring(action.node, action.position ?? null);
      case "open-run":
        return openRun(action.run);
      case "remove-runs":
        apply({ type: "runs-removed", ids: action.ids });
        return shareSteps();
      case "set-passing":
        apply({ type: "passing", passing: action.passing });
        return asker.fillIn();
      case "stop-playing":
        apply({ type: "traits", traits: { playing: false } });
        host.set("playing", false);
        return asker.fillIn();
      case "set-filters":
        return changeSteps({ filters: action.filters });
      case "set-display":
        apply({ type: "display", display: { ...state.display, ...action.display } });
        return shareSteps();
      case "pin":
        if (state.pins.includes(action.node) || state.pins.length >= MOST_PINS) return;
        return changeSteps({ pins: [...state.pins, action.node] });
      case "unpin":
        return changeSteps({ pins: state.pins.filter((id) => id !== action.node) });
      case "reveal": {
        const { node, layer } = action;
        const open = layer === null || state.expanded.includes(layer);
        apply({ type: "dismiss", key: "expand" });
        return changeSteps({
          selection: [node],
          expanded: open ? state.expanded : [...state.expanded, layer],
          filters: withHead(state.filters, node),
        });
      }
      case "open-rest":
        if (!host.live) return;
        return changeSteps({ keep: withRestOpened(state.keep, action.node) });
      case "close-rest":
        return changeSteps({ keep: withRestClosed(state.keep, action.node) });
      case "retrace":
        return asker.retrace(action.prompt);
      case "open":
        apply({ type: "dismiss", key: "opened" });
        return changeSteps({ opened: action.prompt });
      case "set-order":
        apply({ type: "order", order: action.order });
        return shareSteps();
      case "set-step":
        return changeSteps({ step: action.step }, action.goesOn);
      case "set-branch":
        return changeSteps({ branch: action.branch });
      case "branch":
        return asker.branch(action.at, action.token);
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
        return apply(action);
    }
  }

  /**
   * Takes a part from the other prompt, or back to what it was.
   *
   * @param {string} node
   * @param {number | "all" | null} position
   */
  function bring(node, position) {
    const { graph, interventions: list } = state;
    if (!host.live || !graph) return;
    if (!graph.against) return tellBringing(NO_OTHER);
    if (!isEditable(node)) return tellBringing(NOT_BROUGHT);
    const next = fromOther(node, position);
    const known = list.some((item) => sameValue(item, next));
    changeSteps({
      interventions: known ? list.filter(({ id }) => id !== node) : withIntervention(list, next),
    });
  }

  /** @param {string} message */
  const tellBringing = (message) =>
    apply({ type: "problem", problem: { key: "bring", message, quiet: true } });

  /**
   * Goes back to a run: its prompt first, which only a request can set.
   *
   * @param {import("../types.js").Run} run
   */
  async function openRun({ prompt, step, branch, against, focus, target, foil, interventions }) {
    if (step === null && prompt !== state.prompt) await asker.retrace(prompt);
    if (step === null && prompt !== state.prompt) return;
    const of = step === null ? {} : { step, branch };
    changeSteps({ ...of, against, focus, target, foil, interventions });
  }

  /**
   * @param {Partial<Steps>} changes
   * @param {boolean} [goesOn]
   */
  function changeSteps(changes, goesOn) {
    apply({ type: "change", changes, goesOn });
    shareSteps();
  }

  /** Hands on to the host whatever the state now says differently, and asks for what it needs. */
  function shareSteps() {
    let recomputes = false;
    let reachable = true;
    let usable = true;
    for (const name of /** @type {const} */ ([...STEP_NAMES, "runs", "display", "order"])) {
      if (sameValue(host.get(name) ?? initialState[name], state[name])) continue;
      const delivered = host.set(name, state[name]);
      const aside = name === "display" || name === "order" || name === "runs";
      if (aside || !KERNEL_STEPS.includes(name)) continue;
      // Back to all prompts, and to the one that was open last, no graph is to come.
      if (name === "opened" && !opensAnother(state)) continue;
      recomputes = true;
      reachable &&= delivered;
      // Another measure is on screen at once: only what is kept by it waits for the kernel. Effects
      // are not in every graph.
      usable &&= delivered || (name === "measure" && state.measure === shownMeasure(state));
    }
    if (recomputes) apply({ type: "reach", live: host.live && reachable });
    if (!usable) {
      apply({ type: "problem", problem: { key: "kernel", message: UNREACHABLE } });
    } else if (recomputes && state.live) {
      clearTimeout(graphTimer);
      graphTimer = setTimeout(() => apply({ type: "silence", silent: true }), AWAIT_GRAPH_MS);
    }
    asker.fillIn();
  }

  function reportStatus() {
    const { state: word, message } = state.status;
    if (word !== "busy" && message) {
      apply({ type: "problem", problem: { key: "status", message, quiet: word === "ready" } });
    } else {
      apply({ type: "dismiss", key: "status" });
    }
  }

  function hearFromKernel() {
    clearTimeout(graphTimer);
    apply({ type: "reach", live: host.live });
    apply({ type: "silence", silent: asker.isSilent() });
  }

  /** @param {number | string} id */
  function textOf(id) {
    const { graph } = state;
    const followed = [graph?.target, graph?.foil].filter((target) => target != null);
    const known = [...followed, ...(graph?.prediction ?? []), ...state.selection.flatMap(tokensOf)];
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
    searchVocabulary: asker.searchVocabulary,
    readAudit: asker.readAudit,
    mapEffects: asker.mapEffects,
    mapPatching: asker.mapPatching,
    fitLens: asker.fitLens,
    scoreParts: asker.scoreParts,
    find: asker.find,
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
