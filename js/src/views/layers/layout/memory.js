/** What a layout keeps from one picture to the next: an open layer that is as it was stays as it is. */

/** @typedef {import("../../../types.js").FlowGraph} FlowGraph */
/** @typedef {import("../../../types.js").Node} Node */
/** @typedef {import("./block.js").PlacedBlock} PlacedBlock */
/** @typedef {import("./blockContent.js").BlockContent} BlockContent */

/**
 * @template T
 * @typedef {object} Kept
 * @property {readonly unknown[]} of What it was made from.
 * @property {T} made
 */

/** @typedef {ReturnType<typeof createMemory>} Memory */

export function createMemory() {
  /** @type {Map<number, Kept<BlockContent>>} */
  const contents = new Map();
  /** @type {Map<number, Kept<PlacedBlock>>} */
  const blocks = new Map();
  return { contents, blocks };
}

/**
 * What was made before from the same things, or what is made now.
 * @template T
 * @param {Map<number, Kept<T>>} kept
 * @param {number} layer
 * @param {readonly unknown[]} of Compared one by one, by identity.
 * @param {() => T} make
 * @returns {T}
 */
export function remembered(kept, layer, of, make) {
  const before = kept.get(layer);
  if (before && before.of.length === of.length && of.every((each, at) => each === before.of[at])) {
    return before.made;
  }
  const made = make();
  kept.set(layer, { of, made });
  return made;
}
