/** What is done to parts of the pass: a list that is only ever replaced as a whole. */

/** @import { Intervention } from "../types.js" */

const EDITABLE =
  /^(embed|L\d+\.(pre|mid|post|attn|mlp|mix|(attn|mlp)\.bias|H\d+(\.(Q|[KV]\d+))?|[ONE]\d+))$/;

/**
 * @param {string} id
 * @returns {boolean} Whether something can be done to the node. What sums up others has no part of
 *   its own.
 */
export const isEditable = (id) => EDITABLE.test(id);

/** What a patch from the other prompt is labelled, by the kernel too. */
export const FROM_OTHER = "against";

/**
 * A part as it is in the other prompt.
 *
 * @param {string} id
 * @param {number | "all" | null} position Where; null for the focus.
 * @returns {Intervention}
 */
export const fromOther = (id, position) => ({
  id,
  action: "patch",
  positions: position === null ? "focus" : position === "all" ? "all" : [position],
  label: FROM_OTHER,
});

/**
 * @param {Intervention[]} list
 * @param {Intervention} next In the place of what was done to its part before.
 */
export const withIntervention = (list, next) => [...list.filter(({ id }) => id !== next.id), next];

/**
 * @param {Intervention[]} list
 * @param {number} at
 */
export const withoutIntervention = (list, at) => list.filter((_, place) => place !== at);

/**
 * @param {Intervention[] | undefined} list
 * @returns {Map<string, "out" | "changed">} How each part that something is done to looks.
 */
export const editsOf = (list = []) =>
  new Map(
    list.map(({ id, action }) => [id, action === "zero" || action === 0 ? "out" : "changed"]),
  );
