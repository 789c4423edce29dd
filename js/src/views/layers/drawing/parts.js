/**
 * Groups of what is drawn together: the closed layers, and each open one. Only those that changed
 * are touched, which is what keeps a picture of all layers at hand.
 */

import { select } from "d3-selection";
import { leave, staying } from "../../shared/motion.js";

/** @typedef {import("../layout/scene.js").ScenePart} ScenePart */
/** @typedef {import("d3-selection").Selection<SVGGElement, unknown, any, any>} Group */

/** @type {WeakMap<Element, readonly unknown[]>} What a group shows. */
const shown = new WeakMap();

/**
 * @typedef {import("../../shared/motion.js").Motion & {now: (part: ScenePart) => boolean}} Turn How to
 *   draw, and which parts: the others keep what they show.
 */

/**
 * @template T
 * @typedef {object} Kind What of a part stands in a group.
 * @property {(part: ScenePart) => readonly T[]} contentOf The same array where it is the same.
 * @property {(datum: T) => string} keyOf
 * @property {(group: Group, content: readonly T[]) => void} draw
 */

/**
 * @template T
 * @param {Group} group
 * @param {ScenePart[]} parts
 * @param {Turn} motion
 * @param {Kind<T>} kind
 */
export function drawParts(group, parts, motion, { contentOf, keyOf, draw }) {
  const joined = /** @type {import("d3-selection").Selection<SVGGElement, ScenePart, any, any>} */ (
    group.selectAll(staying("g.vw-part"))
  ).data(parts, (part) => part.key);
  const gone = joined.exit();
  const merged = joined
    .enter()
    .append("g")
    .attr("class", "vw-part")
    .attr("data-part", (part) => part.key)
    .merge(joined);
  if (merged.size() > joined.size() || gone.size() > 0) adopt(group, merged, contentOf, keyOf);
  leave(gone.selectAll(":scope > *"), motion);
  leave(gone, motion);
  merged.each(function update(part) {
    const content = contentOf(part);
    if (shown.get(this) === content || !motion.now(part)) return;
    shown.set(this, content);
    draw(/** @type {Group} */ (select(/** @type {SVGGElement} */ (this))), content);
  });
}

/**
 * What belongs to another part now, as the whole of a layer that was opened, goes over there, so
 * that it glides to its new place.
 * @template T
 * @param {Group} group
 * @param {import("d3-selection").Selection<SVGGElement, ScenePart, any, any>} parts
 * @param {Kind<T>["contentOf"]} contentOf
 * @param {Kind<T>["keyOf"]} keyOf
 */
function adopt(group, parts, contentOf, keyOf) {
  /** @type {Map<string, Element>} */
  const drawn = new Map();
  group.selectAll(staying("g.vw-part > *")).each(function note(datum) {
    if (datum) drawn.set(keyOf(/** @type {T} */ (datum)), /** @type {Element} */ (this));
  });
  parts.each(function take(part) {
    for (const datum of contentOf(part)) {
      const element = drawn.get(keyOf(datum));
      if (element && element.parentNode !== this) this.append(element);
    }
  });
}

/**
 * @param {Group} group
 * @param {string[]} keys
 * @returns {Group} The groups of some parts.
 */
export function partsOf(group, keys) {
  const wanted = new Set(keys);
  const all = /** @type {import("d3-selection").Selection<SVGGElement, ScenePart, any, any>} */ (
    group.selectAll(staying("g.vw-part"))
  );
  return /** @type {Group} */ (/** @type {unknown} */ (all.filter(({ key }) => wanted.has(key))));
}

/**
 * Sets a class where it is not as it should be: setting it where it is costs as much as a change.
 * @template D
 * @param {import("d3-selection").Selection<any, D, any, any>} selection
 * @param {string} name
 * @param {(datum: D) => boolean} test
 */
export function flag(selection, name, test) {
  selection.each(function mark(datum) {
    const is = test(datum);
    if (this.classList.contains(name) !== is) this.classList.toggle(name, is);
  });
}
