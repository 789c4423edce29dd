/** What is drawn plainly, by layer and by head: pure. Whatever is not stays in every sum. */

/** @import { Filters } from "../types.js" */

/**
 * @param {Filters} filters
 * @returns {boolean} Whether anything is not drawn plainly.
 */
export const isFiltered = ({ layers, heads }) => layers !== null || Object.keys(heads).length > 0;

/**
 * @param {Filters} filters
 * @param {number} first
 * @param {number} last
 * @param {number} n Layers of the model.
 * @returns {Filters} Showing these layers; of all of them there is nothing to say.
 */
export function withLayers(filters, first, last, n) {
  const [low, high] = [Math.min(first, last), Math.max(first, last)];
  return { ...filters, layers: low <= 0 && high >= n - 1 ? null : [low, high] };
}

/**
 * Shows a head, or hides it among the others. The last one shown stays.
 *
 * @param {Filters} filters
 * @param {number} layer
 * @param {number} head
 * @param {number[]} drawn The layer's heads that there are to choose from.
 * @returns {Filters}
 */
export function withHeadToggled(filters, layer, head, drawn) {
  const now = filters.heads[layer] ?? drawn;
  const next = now.includes(head) ? now.filter((each) => each !== head) : [...now, head];
  if (!drawn.some((each) => next.includes(each))) return filters;
  const all = drawn.every((each) => next.includes(each));
  return withHeads(filters, layer, all ? null : next);
}

/**
 * @param {Filters} filters
 * @param {number} layer
 * @param {number[] | null} chosen Null for all.
 * @returns {Filters}
 */
export function withHeads(filters, layer, chosen) {
  const { [layer]: _, ...others } = filters.heads;
  if (!chosen?.length) return { ...filters, heads: others };
  return { ...filters, heads: { ...others, [layer]: [...chosen].sort((a, b) => a - b) } };
}

/**
 * @param {Filters} filters
 * @param {string} id Of a node that is to be seen.
 * @returns {Filters} Showing its head, too, where it is of one that is hidden.
 */
export function withHead(filters, id) {
  const [, layer, head] = /^L(\d+)\.H(\d+)(?:\.|$)/.exec(id) ?? [];
  const chosen = filters.heads[layer];
  if (!chosen || chosen.includes(Number(head))) return filters;
  return withHeads(filters, Number(layer), [...chosen, Number(head)]);
}

/**
 * @param {string | null | undefined} id Of a node, in either graph.
 * @returns {number | null} The layer that it is of.
 */
export function layerOfNode(id) {
  const found = /^(?:Pb?\d+\.)?L(\d+)\./.exec(id ?? "");
  return found ? Number(found[1]) : null;
}

/**
 * @param {[number, number] | null | undefined} layers Those shown plainly; null for all.
 * @param {number | null} layer
 */
export const isOutside = (layers, layer) =>
  layers != null && layer !== null && (layer < layers[0] || layer > layers[1]);
