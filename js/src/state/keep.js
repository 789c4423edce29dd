/** What pruning keeps: the kernel's defaults, the presets, and one way to write each. */

/** @import { Count, Keep, Limit, Limits } from "../types.js" */

/** @typedef {"heads" | "memories" | "neurons" | "rows"} KeptKind */
/** @typedef {Required<Limits>} FullLimits */

/** @type {KeptKind[]} */
export const KINDS = ["heads", "memories", "neurons", "rows"];

/** @type {Required<Keep>} */
export const DEFAULT_KEEP = {
  heads: 10,
  memories: 2,
  neurons: 12,
  rows: 0,
  threshold: null,
  mass: null,
  by: "measure",
  more: {},
  routes: { count: null, threshold: 0.01, mass: null },
  routes_by: "influence",
};

/** @type {FullLimits} */
const UNLIMITED = { count: null, threshold: null, mass: null };

/** @type {Record<string, Required<Keep>>} By what they are called on screen. */
export const PRESETS = {
  Default: DEFAULT_KEEP,
  "VISIT’s": { ...DEFAULT_KEEP, neurons: [18, 7], rows: [18, 7], by: "visit" },
  Everything: {
    ...DEFAULT_KEEP,
    heads: UNLIMITED,
    memories: UNLIMITED,
    neurons: UNLIMITED,
    // W_O rows stay in their heads: all of them would be as many rows as the stream has dimensions.
    routes: { ...UNLIMITED, threshold: 0 },
  },
};

/**
 * @param {Keep} keep
 * @param {KeptKind | "routes"} kind
 * @returns {FullLimits}
 */
export function limitsOf(keep, kind) {
  const limit = keep[kind] ?? DEFAULT_KEEP[kind];
  return isCount(limit) ? { ...UNLIMITED, count: limit } : { ...UNLIMITED, ...limit };
}

/**
 * @param {Keep} keep
 * @param {KeptKind} kind
 * @returns {number} How many its count lets through.
 */
export function mostOf(keep, kind) {
  const { count } = limitsOf(keep, kind);
  if (Array.isArray(count)) return count[0] + count[1];
  return count ?? Number.POSITIVE_INFINITY;
}

/**
 * As the kernel writes it: all of it said, and what only is a count as a count.
 *
 * @param {Keep} keep
 * @returns {Required<Keep>}
 */
export function wholeKeep(keep) {
  const whole = { ...DEFAULT_KEEP, ...keep };
  for (const kind of /** @type {const} */ ([...KINDS, "routes"])) {
    whole[kind] = compact(limitsOf(whole, kind));
  }
  return whole;
}

/**
 * @param {FullLimits} limits
 * @returns {Limit}
 */
function compact({ count, threshold, mass }) {
  const onlyCount = count !== null && threshold === null && mass === null;
  return onlyCount ? count : { count, threshold, mass };
}

/**
 * @param {Keep} a
 * @param {Keep} b
 */
export function sameKeep(a, b) {
  return a === b || written(a) === written(b);
}

/** @param {Keep} keep Numbers on the wire have six digits. */
function written(keep) {
  const { more, ...rest } = wholeKeep(keep);
  const names = Object.keys(DEFAULT_KEEP).filter((name) => name !== "more");
  const said = names.map((name) => rest[/** @type {keyof typeof rest} */ (name)]);
  return JSON.stringify([said, Object.entries(more).sort()], (_, value) =>
    typeof value === "number" ? Number(value.toPrecision(6)) : value,
  );
}

/**
 * @param {Limit} limit
 * @returns {limit is Count}
 */
const isCount = (limit) => typeof limit === "number" || Array.isArray(limit);

/** @type {[RegExp, KeptKind][]} The rest nodes that can be opened. */
const OPENED = [
  [/^L\d+\.attn\.rest$/, "heads"],
  [/^L\d+\.H\d+\.rest$/, "memories"],
  [/^L\d+\.mlp\.rest$/, "neurons"],
];

const LEAST_STEP = 6;
const MOST_STEP = 24;

/**
 * How many more of a rest node are drawn when it is opened once.
 *
 * @param {Keep} keep
 * @param {string} id
 * @returns {number | null} Null where it cannot be opened.
 */
export function restStep(keep, id) {
  const kind = OPENED.find(([pattern]) => pattern.test(id))?.[1];
  if (!kind) return null;
  return Math.min(MOST_STEP, Math.max(LEAST_STEP, mostOf(keep, kind)));
}

/**
 * @param {Keep} keep
 * @param {string} id
 * @returns {Keep}
 */
export function withRestOpened(keep, id) {
  const step = restStep(keep, id);
  if (step === null) return keep;
  const whole = wholeKeep(keep);
  return { ...whole, more: { ...whole.more, [id]: (whole.more[id] ?? 0) + step } };
}

/**
 * @param {Keep} keep
 * @param {string} id
 * @returns {Keep}
 */
export function withRestClosed(keep, id) {
  const whole = wholeKeep(keep);
  const { [id]: _, ...more } = whole.more;
  return { ...whole, more };
}
