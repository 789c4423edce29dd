/**
 * What the views of one widget agree on, as a pure reducer: `(state, action) → state`.
 *
 * What a view keeps to itself (what the pointer is over, its width, its theme) is not here.
 */

import { takeBlock, takeDetails, takeGraph, takeLate } from "./revisions.js";
import { sameValue } from "./same.js";

/**
 * @import { Attribution, Audit, Block, Detail, Display, Filters, FlowGraph, Keep, LateName,
 *   Measure, Predictions, Routes, Status, TraitName, Traits, ViewName } from "../types.js"
 */

/**
 * @typedef {object} Steps What a reader changes, and can take back.
 * @property {number | null} branch
 * @property {number | null} step
 * @property {number[]} expanded
 * @property {string[]} selection
 * @property {number} focus
 * @property {string | null} against
 * @property {Traits["target"]} target
 * @property {Traits["foil"]} foil
 * @property {Measure} measure
 * @property {import("../types.js").LensName} lens
 * @property {Keep} keep
 * @property {import("../types.js").Intervention[]} interventions
 * @property {ViewName} view
 * @property {string[]} pins
 * @property {Filters} filters
 *
 * @typedef {object} Problem
 * @property {string} key One problem a key: a later one replaces the earlier.
 * @property {string} message A sentence to show.
 * @property {any} [retry] The action that tries again.
 * @property {boolean} [quiet] No problem at all: something to know.
 *
 * @typedef {object} StateFacts
 * @property {string} prompt
 * @property {import("../types.js").Generation | null} generation
 * @property {Display} display
 * @property {import("../types.js").Run[]} runs
 * @property {boolean} playing Whether the kernel plays the tape.
 * @property {boolean} passing Whether this page plays it: steps that pass by are not asked about.
 * @property {import("../types.js").LensName[]} lenses That can be chosen at once.
 * @property {FlowGraph | null} graph
 * @property {Status} status
 * @property {boolean} live Whether a kernel stands behind the host, as far as is known.
 * @property {Record<number, Block>} blocks Block graphs of layers. One of an earlier revision of the
 *   same prompt and focus is shown until the new one is here.
 * @property {number[]} asked Layers whose block has been asked for and not arrived.
 * @property {Record<string, Detail>} details Of nodes, all of the graph's revision.
 * @property {Record<string, Detail>} oldDetails Of an earlier revision that asked the same of the
 *   model: shown until the new ones are here.
 * @property {string[]} detailsAsked
 * @property {Record<string, string>} detailsMissing Why there are none of a pinned node.
 * @property {Audit | null} audit Of the graph's revision.
 * @property {Record<number, import("../types.js").LayerEffects>} effects Measured, by open layer.
 * @property {boolean} auditAsked Also while a failed one waits to be tried again.
 * @property {Routes | null} routes As all late replies: of the revision it names, which may be an
 *   earlier one of the same prompt while the new one is on its way.
 * @property {Attribution | null} attribution
 * @property {Predictions | null} predictions
 * @property {LateName[]} lateAsked What has been asked for this revision, also if in vain.
 * @property {LateName[]} lateMissing What a saved page, or a kernel that is gone, cannot give.
 * @property {Record<string, {done: number, total: number}>} progress By what it is the progress of.
 * @property {Problem[]} problems
 * @property {boolean} silent The kernel has not answered for long.
 * @property {Past[]} past
 * @property {Past[]} future
 *
 * @typedef {Steps & {removed?: import("../types.js").Run[]}} Past `removed`: runs that this step
 *   took out of the list.
 *
 * @typedef {Steps & StateFacts} State
 *
 * @typedef {{type: "traits", traits: Partial<Traits>} |
 *   {type: "change", changes: Partial<Steps>, goesOn?: boolean} |
 *   {type: "branched", from: State} |
 *   {type: "runs-removed", ids: number[]} |
 *   {type: "passing", passing: boolean} |
 *   {type: "undo"} | {type: "redo"} |
 *   {type: "block-asked", layer: number} |
 *   {type: "block", block: Block} |
 *   {type: "block-failed", layer: number} |
 *   {type: "block-deferred", layer: number} |
 *   {type: "details-asked", ids: string[]} |
 *   {type: "display", display: Display} |
 *   {type: "details", revision: number, details: Record<string, Detail>,
 *     against?: Record<string, Detail>, missing?: Record<string, string>} |
 *   {type: "details-failed", ids: string[]} |
 *   {type: "effects", layer: number, effects: import("../types.js").LayerEffects | null} |
 *   {type: "audit-asked"} |
 *   {type: "audit", revision: number | undefined, audit: Audit} |
 *   {type: "audit-unasked"} |
 *   {type: "late-asked", name: LateName} |
 *   {type: "late", name: LateName, reply: any} |
 *   {type: "late-unasked", name: LateName} |
 *   {type: "late-missing", name: LateName} |
 *   {type: "progress", of: string, done: number, total: number} |
 *   {type: "progress-end", of: string} |
 *   {type: "reach", live: boolean} |
 *   {type: "silence", silent: boolean} |
 *   {type: "problem", problem: Problem} |
 *   {type: "dismiss", key: string}} StateAction
 */

/** @type {(keyof Steps)[]} */
export const STEP_NAMES = [
  // The kernel takes focus and target as of these.
  "branch",
  "step",
  "expanded",
  "selection",
  "focus",
  // Before what is followed: that comes with the other prompt, unless it is said.
  "against",
  "target",
  "foil",
  "measure",
  "lens",
  "keep",
  "interventions",
  "view",
  "pins",
  "filters",
];

/** @type {TraitName[]} */
export const TRAIT_NAMES = [
  "prompt",
  "graph",
  "status",
  "display",
  "lenses",
  "generation",
  "runs",
  "playing",
  ...STEP_NAMES,
];

/** Nothing is filtered. @type {Filters} */
export const NO_FILTERS = { layers: null, heads: {} };

const HISTORY_LIMIT = 100;

/** @type {State} */
export const initialState = {
  prompt: "",
  generation: null,
  branch: null,
  step: null,
  graph: null,
  status: { state: "ready", message: null, max_error: null, exact: null },
  expanded: [],
  selection: [],
  focus: 0,
  against: null,
  target: null,
  foil: null,
  measure: "logit",
  lens: "logit",
  lenses: [],
  keep: {},
  interventions: [],
  runs: [],
  playing: false,
  passing: false,
  view: "block",
  pins: [],
  filters: NO_FILTERS,
  display: { under: ["attribution", "predictions"], least: false, unfolded: false, search: null },
  live: true,
  blocks: {},
  asked: [],
  details: {},
  oldDetails: {},
  detailsAsked: [],
  detailsMissing: {},
  audit: null,
  effects: {},
  auditAsked: false,
  routes: null,
  attribution: null,
  predictions: null,
  lateAsked: [],
  lateMissing: [],
  progress: {},
  problems: [],
  silent: false,
  past: [],
  future: [],
};

/**
 * @param {State} state
 * @param {StateAction} action
 * @returns {State}
 */
export function reduce(state, action) {
  switch (action.type) {
    case "traits":
      return takeTraits(state, action.traits);
    case "change":
      return change(state, action.changes, action.goesOn);
    case "branched":
      return { ...state, past: remembered(action.from), future: [] };
    case "runs-removed":
      return removeRuns(state, action.ids);
    case "passing":
      return state.passing === action.passing ? state : { ...state, passing: action.passing };
    case "undo":
      return undo(state);
    case "redo":
      return redo(state);
    case "block-asked":
      return { ...state, asked: withOne(state.asked, action.layer) };
    case "block":
      return takeBlock(state, action.block);
    case "block-deferred":
      return { ...state, asked: without(state.asked, action.layer) };
    case "block-failed":
      return {
        ...state,
        asked: without(state.asked, action.layer),
        expanded: without(state.expanded, action.layer),
        blocks: withoutKey(state.blocks, action.layer),
      };
    case "display":
      return sameValue(state.display, action.display)
        ? state
        : { ...state, display: action.display };
    case "details-asked":
      return { ...state, detailsAsked: action.ids };
    case "details":
      return takeDetails(state, action);
    case "details-failed":
      return {
        ...state,
        detailsAsked: state.detailsAsked.filter((id) => !action.ids.includes(id)),
      };
    case "effects": {
      const { layer, effects } = action;
      const others = withoutKey(state.effects, layer);
      return { ...state, effects: effects ? { ...others, [layer]: effects } : others };
    }
    case "audit-asked":
      return { ...state, auditAsked: true };
    case "audit":
      if (action.revision !== state.graph?.revision) return state;
      return { ...state, audit: action.audit, auditAsked: false };
    case "audit-unasked":
      return state.auditAsked ? { ...state, auditAsked: false } : state;
    case "late-asked":
      return { ...state, lateAsked: withOne(state.lateAsked, action.name) };
    case "late":
      return takeLate(state, action.name, action.reply);
    case "late-missing":
      return { ...state, lateMissing: withOne(state.lateMissing, action.name) };
    case "late-unasked":
      return { ...state, lateAsked: without(state.lateAsked, action.name) };
    case "progress": {
      const { of, done, total } = action;
      return { ...state, progress: { ...state.progress, [of]: { done, total } } };
    }
    case "progress-end": {
      if (!(action.of in state.progress)) return state;
      return { ...state, progress: withoutKey(state.progress, action.of) };
    }
    case "reach":
      return state.live === action.live ? state : { ...state, live: action.live };
    case "silence":
      return state.silent === action.silent ? state : { ...state, silent: action.silent };
    case "problem":
      return {
        ...state,
        problems: [...withoutProblem(state.problems, action.problem.key), action.problem],
      };
    case "dismiss":
      if (state.problems.every(({ key }) => key !== action.key)) return state;
      return { ...state, problems: withoutProblem(state.problems, action.key) };
  }
}

/**
 * @param {State} state
 * @param {Partial<Traits>} traits
 * @returns {State}
 */
function takeTraits(state, traits) {
  const { graph, ...rest } = traits;
  /** @type {State} */
  let next = { ...state };
  for (const name of /** @type {(keyof typeof rest)[]} */ (Object.keys(rest))) {
    if (rest[name] === undefined) continue;
    // @ts-expect-error the value belongs to the name
    next[name] = rest[name];
  }
  if (graph !== undefined) next = takeGraph(next, isGraph(graph) ? graph : null);
  return next;
}

/**
 * @param {State} state
 * @param {Partial<Steps>} changes
 * @param {boolean} [goesOn] Whether it is one with the step before it.
 * @returns {State}
 */
function change(state, changes, goesOn = false) {
  const differs = /** @type {(keyof Steps)[]} */ (Object.keys(changes)).some(
    (name) => !sameValue(state[name], changes[name]),
  );
  if (!differs) return state;
  return {
    ...state,
    ...changes,
    past: goesOn ? state.past : remembered(state),
    future: [],
  };
}

/**
 * @param {State} state
 * @returns {State}
 */
function undo(state) {
  const last = state.past.at(-1);
  if (!last) return state;
  const { removed = [], ...steps } = last;
  return {
    ...state,
    ...steps,
    // Those that came meanwhile stay.
    runs: removed.length > 0 ? inOrder([...state.runs, ...removed]) : state.runs,
    past: state.past.slice(0, -1),
    future: [{ ...stepsOf(state), removed }, ...state.future],
  };
}

/**
 * @param {State} state
 * @returns {State}
 */
function redo(state) {
  const [next, ...future] = state.future;
  if (!next) return state;
  const { removed = [], ...steps } = next;
  const past = [...state.past, { ...stepsOf(state), removed }];
  return { ...state, ...steps, runs: withoutRuns(state.runs, removed), past, future };
}

/**
 * @param {State} state
 * @param {number[]} ids
 * @returns {State}
 */
function removeRuns(state, ids) {
  const removed = state.runs.filter(({ id }) => ids.includes(id));
  if (removed.length === 0) return state;
  const past = [...state.past, { ...stepsOf(state), removed }].slice(-HISTORY_LIMIT);
  return { ...state, runs: withoutRuns(state.runs, removed), past, future: [] };
}

/** @param {import("../types.js").Run[]} runs */
const inOrder = (runs) => [...runs].sort((a, b) => a.id - b.id);

/**
 * @param {import("../types.js").Run[]} runs
 * @param {import("../types.js").Run[]} removed
 */
function withoutRuns(runs, removed) {
  if (removed.length === 0) return runs;
  return runs.filter(({ id }) => !removed.some((run) => run.id === id));
}

/** @param {State} state */
const remembered = (state) => [...state.past, stepsOf(state)].slice(-HISTORY_LIMIT);

/**
 * @param {State} state
 * @returns {Steps}
 */
function stepsOf(state) {
  const steps = STEP_NAMES.map((name) => [name, state[name]]);
  return /** @type {Steps} */ (Object.fromEntries(steps));
}

/**
 * Before the first trace the trait is an empty object.
 *
 * @param {Traits["graph"] | null} value
 * @returns {value is FlowGraph}
 */
function isGraph(value) {
  return Array.isArray(value?.nodes) && Array.isArray(value?.edges);
}

/**
 * @template T
 * @param {T[]} list
 * @param {T} item
 */
const withOne = (list, item) => (list.includes(item) ? list : [...list, item]);

/**
 * @template T
 * @param {T[]} list
 * @param {T} item
 */
const without = (list, item) => list.filter((other) => other !== item);

/**
 * @template T
 * @param {Record<string | number, T>} record
 * @param {string | number} key
 */
function withoutKey(record, key) {
  const { [key]: _, ...rest } = record;
  return rest;
}

/**
 * @param {Problem[]} problems
 * @param {string} key
 */
const withoutProblem = (problems, key) => problems.filter((problem) => problem.key !== key);
