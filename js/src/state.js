/**
 * What the views of one widget agree on, as a pure reducer: `(state, action) → state`.
 *
 * What a view keeps to itself (what the pointer is over, its width, its theme) is not here.
 */

/** @import { Audit, Block, Detail, FlowGraph, Measure, Status, TraitName, Traits } from "./types.js" */

/**
 * @typedef {object} Steps What a reader changes, and can take back.
 * @property {number[]} expanded
 * @property {string[]} selection
 * @property {number} focus
 * @property {Traits["target"]} target
 * @property {Traits["foil"]} foil
 * @property {Measure} measure
 *
 * @typedef {object} Problem
 * @property {string} key One problem a key: a later one replaces the earlier.
 * @property {string} message A sentence to show.
 * @property {any} [retry] The action that tries again.
 *
 * @typedef {object} StateFacts
 * @property {string} prompt
 * @property {FlowGraph | null} graph
 * @property {Status} status
 * @property {Record<number, Block>} blocks Block graphs of layers, all of the graph's revision.
 * @property {number[]} asked Layers whose block has been asked for and not arrived.
 * @property {Record<string, Detail>} details Of nodes, all of the graph's revision.
 * @property {string[]} detailsAsked
 * @property {Audit | null} audit Of the graph's revision.
 * @property {boolean} auditAsked Also while a failed one waits to be tried again.
 * @property {Record<string, {done: number, total: number}>} progress By what it is the progress of.
 * @property {Problem[]} problems
 * @property {boolean} silent The kernel has not answered for long.
 * @property {Steps[]} past
 * @property {Steps[]} future
 * @property {{text: string, count: number}} announcement For screen readers.
 *
 * @typedef {Steps & StateFacts} State
 *
 * @typedef {{type: "traits", traits: Partial<Traits>} |
 *   {type: "change", changes: Partial<Steps>} |
 *   {type: "undo"} | {type: "redo"} |
 *   {type: "block-asked", layer: number} |
 *   {type: "block", block: Block} |
 *   {type: "block-failed", layer: number} |
 *   {type: "block-deferred", layer: number} |
 *   {type: "details-asked", ids: string[]} |
 *   {type: "details", revision: number, details: Record<string, Detail>} |
 *   {type: "details-failed", ids: string[]} |
 *   {type: "audit-asked"} |
 *   {type: "audit", revision: number | undefined, audit: Audit} |
 *   {type: "audit-unasked"} |
 *   {type: "progress", of: string, done: number, total: number} |
 *   {type: "progress-end", of: string} |
 *   {type: "silence", silent: boolean} |
 *   {type: "problem", problem: Problem} |
 *   {type: "dismiss", key: string} |
 *   {type: "announce", text: string}} StateAction
 */

/** @type {(keyof Steps)[]} */
export const STEP_NAMES = ["expanded", "selection", "focus", "target", "foil", "measure"];

/** @type {TraitName[]} */
export const TRAIT_NAMES = ["prompt", "graph", "status", ...STEP_NAMES];

const HISTORY_LIMIT = 100;

/** @type {State} */
export const initialState = {
  prompt: "",
  graph: null,
  status: { state: "ready", message: null, max_error: null, exact: null },
  expanded: [],
  selection: [],
  focus: 0,
  target: null,
  foil: null,
  measure: "logit",
  blocks: {},
  asked: [],
  details: {},
  detailsAsked: [],
  audit: null,
  auditAsked: false,
  progress: {},
  problems: [],
  silent: false,
  past: [],
  future: [],
  announcement: { text: "", count: 0 },
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
      return change(state, action.changes);
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
      };
    case "details-asked":
      return { ...state, detailsAsked: action.ids };
    case "details":
      if (action.revision !== state.graph?.revision) return state;
      return {
        ...state,
        details: { ...state.details, ...action.details },
        detailsAsked: state.detailsAsked.filter((id) => !(id in action.details)),
      };
    case "details-failed":
      return {
        ...state,
        detailsAsked: state.detailsAsked.filter((id) => !action.ids.includes(id)),
      };
    case "audit-asked":
      return { ...state, auditAsked: true };
    case "audit":
      if (action.revision !== state.graph?.revision) return state;
      return { ...state, audit: action.audit, auditAsked: false };
    case "audit-unasked":
      return state.auditAsked ? { ...state, auditAsked: false } : state;
    case "progress": {
      const { of, done, total } = action;
      return { ...state, progress: { ...state.progress, [of]: { done, total } } };
    }
    case "progress-end": {
      if (!(action.of in state.progress)) return state;
      const { [action.of]: _, ...progress } = state.progress;
      return { ...state, progress };
    }
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
    case "announce":
      return {
        ...state,
        announcement: { text: action.text, count: state.announcement.count + 1 },
      };
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
    if (name === "keep" || rest[name] === undefined) continue;
    // @ts-expect-error the value belongs to the name
    next[name] = rest[name];
  }
  if (graph !== undefined) next = takeGraph(next, isGraph(graph) ? graph : null);
  return next;
}

/**
 * A new revision makes everything void that was asked of the earlier one.
 *
 * @param {State} state
 * @param {FlowGraph | null} graph
 * @returns {State}
 */
function takeGraph(state, graph) {
  if (graph && graph.revision === state.graph?.revision) return { ...state, graph };
  return {
    ...state,
    graph,
    blocks: {},
    asked: [],
    details: {},
    detailsAsked: [],
    audit: null,
    auditAsked: false,
    progress: {},
    problems: [],
    silent: false,
  };
}

/**
 * @param {State} state
 * @param {Block} block
 * @returns {State}
 */
function takeBlock(state, block) {
  if (block.revision !== state.graph?.revision) return state;
  return {
    ...state,
    asked: without(state.asked, block.layer),
    blocks: { ...state.blocks, [block.layer]: block },
  };
}

/**
 * @param {State} state
 * @param {Partial<Steps>} changes
 * @returns {State}
 */
function change(state, changes) {
  const differs = /** @type {(keyof Steps)[]} */ (Object.keys(changes)).some(
    (name) => !sameValue(state[name], changes[name]),
  );
  if (!differs) return state;
  return {
    ...state,
    ...changes,
    past: [...state.past, stepsOf(state)].slice(-HISTORY_LIMIT),
    future: [],
  };
}

/**
 * @param {State} state
 * @returns {State}
 */
function undo(state) {
  const steps = state.past.at(-1);
  if (!steps) return state;
  return {
    ...state,
    ...steps,
    past: state.past.slice(0, -1),
    future: [stepsOf(state), ...state.future],
  };
}

/**
 * @param {State} state
 * @returns {State}
 */
function redo(state) {
  const [steps, ...future] = state.future;
  if (!steps) return state;
  return { ...state, ...steps, past: [...state.past, stepsOf(state)], future };
}

/**
 * @param {State} state
 * @returns {Steps}
 */
function stepsOf(state) {
  const { expanded, selection, focus, target, foil, measure } = state;
  return { expanded, selection, focus, target, foil, measure };
}

/**
 * Whether two trait values say the same. Tokens are the same by number: the kernel adds their text.
 *
 * @param {unknown} a
 * @param {unknown} b
 * @returns {boolean}
 */
export function sameValue(a, b) {
  if (Object.is(a, b)) return true;
  if (Array.isArray(a) && Array.isArray(b)) {
    return a.length === b.length && a.every((value, index) => value === b[index]);
  }
  if (isToken(a) && isToken(b)) return a.id === b.id;
  return false;
}

/**
 * @param {unknown} value
 * @returns {value is {id: number}}
 */
function isToken(value) {
  return typeof value === "object" && value !== null && "id" in value;
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
 * @param {Problem[]} problems
 * @param {string} key
 */
const withoutProblem = (problems, key) => problems.filter((problem) => problem.key !== key);
