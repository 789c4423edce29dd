/** Which paths a part of the routes graph is on: down to the tokens and up to the prediction. */

/** @typedef {import("./scene.js").RoutesScene} RoutesScene */
/** @typedef {import("../../../types.js").Edge} Edge */

/**
 * @typedef {object} Traced
 * @property {Set<string>} up Nodes that the parts flow into, themselves included.
 * @property {Set<string>} down Nodes that flow into the parts, themselves included.
 */

/**
 * @param {Edge[]} edges
 * @returns {(ids: string[]) => Traced}
 */
export function createTracer(edges) {
  /** @type {Map<string, string[]>} */
  const into = new Map();
  /** @type {Map<string, string[]>} */
  const from = new Map();
  const push = (
    /** @type {Map<string, string[]>} */ map,
    /** @type {string} */ key,
    /** @type {string} */ value,
  ) => {
    const known = map.get(key);
    if (known) known.push(value);
    else map.set(key, [value]);
  };
  for (const { source, target } of edges) {
    push(into, target, source);
    push(from, source, target);
  }
  return (ids) => ({ up: reach(ids, from), down: reach(ids, into) });
}

/**
 * @param {string[]} ids
 * @param {Map<string, string[]>} next
 */
function reach(ids, next) {
  const seen = new Set(ids);
  const waiting = [...ids];
  for (let id = waiting.pop(); id !== undefined; id = waiting.pop()) {
    for (const other of next.get(id) ?? []) {
      if (seen.has(other)) continue;
      seen.add(other);
      waiting.push(other);
    }
  }
  return seen;
}

/**
 * The drawn things that lie on the paths traced.
 * @param {RoutesScene} scene
 * @param {Traced} traced
 * @returns {Set<string>} Keys of stretches and ribbons, ids of marks, tokens and streams.
 */
export function litBy({ stretches, ribbons, outlines, marks }, { up, down }) {
  const either = (/** @type {string} */ id) => up.has(id) || down.has(id);
  return new Set([
    ...up,
    ...down,
    ...stretches
      .filter(
        ({ source, target }) =>
          up.has(source) || down.has(target) || (down.has(source) && up.has(target)),
      )
      .map(({ key }) => key),
    ...[...ribbons, ...outlines]
      .filter(({ passage }) => passage.carriers.some(({ node }) => either(node.id)))
      .map(({ key }) => key),
    ...marks.filter(({ nodes }) => nodes.some(either)).map(({ id }) => id),
  ]);
}
