/** What is done to parts of the pass, in words. */

import { FROM_OTHER } from "../state/interventions.js";
import { percent, whole } from "./format.js";
import { partName, tokenText } from "./words.js";

/** @import { FlowGraph, Intervention, LayerEffects, Node, NodeKind, Standing } from "../types.js" */

/** @type {Record<string, NodeKind>} By the last piece of an id. */
const KINDS = {
  embed: "embed",
  pre: "residual",
  mid: "residual",
  post: "residual",
  attn: "attention",
  mlp: "mlp",
  mix: "opaque",
  bias: "bias",
  H: "head",
  Q: "query",
  K: "key",
  V: "value",
  O: "row",
  N: "neuron",
  E: "expert",
};

/**
 * @param {string} id
 * @param {FlowGraph} graph
 * @returns {string} "L23 · head 4", also of what is not drawn.
 */
export function nameOfPart(id, graph) {
  const [, layer] = /^L(\d+)\./.exec(id) ?? [];
  const [, word = "", number = ""] = /([A-Za-z]+)(\d*)$/.exec(id) ?? [];
  const kind = KINDS[word];
  if (!kind || (layer === undefined && word !== "embed")) return id;
  const head = /\.H(\d+)/.exec(id)?.[1];
  const told = {
    id,
    kind,
    layer: layer === undefined ? null : Number(layer),
    head: head === undefined ? null : Number(head),
    source: number !== "" && /[KV]/.test(word) ? Number(number) : null,
    neuron: word === "N" ? Number(number) : null,
  };
  const name = partName(/** @type {Node} */ (told), graph);
  return layer === undefined ? name : `L${layer} · ${name}`;
}

/** So much of another prompt is said: its end, which is where parts are taken from. */
const TAIL = 28;

/** @param {string} prompt */
const tailOf = (prompt) =>
  prompt.length > TAIL ? `… ${prompt.slice(-TAIL).replace(/^\S*\s/, "")}` : prompt;

/** @param {Intervention} item */
function actionWords({ action, label, prompt }) {
  if (action === "patch" && label === FROM_OTHER) return "patched from the other";
  if (prompt !== undefined) return `patched from “${tailOf(prompt)}”`;
  if (action === "zero" || action === 0) return "knocked out";
  if (action === "mean") return "put to its mean";
  if (typeof action === "number") return action === 0.5 ? "halved" : `× ${action}`;
  return label ?? action;
}

/** How what something is done to is told of in the picture. */
export const EDITED = { out: "knocked out", changed: "changed" };

/**
 * @param {Intervention} item
 * @param {FlowGraph} graph
 * @returns {string} "knocked out at ␣of"
 */
export function interventionWords(item, graph) {
  const { positions = "focus" } = item;
  if (positions === "all") return `${actionWords(item)} everywhere`;
  const at = positions === "focus" ? [graph.position] : positions;
  const tokens = at.map((position) => tokenText(graph, position));
  return `${actionWords(item)} at ${at.length > 3 ? `${at.length} tokens` : tokens.join(", ")}`;
}

/**
 * @param {Standing} standing
 * @returns {string} "85%, rank 1"; the logit of a direction
 */
const standingWords = ({ probability, rank, logit }) =>
  probability === null || rank === null
    ? logit.toFixed(2)
    : `${percent(probability)}, rank ${whole(rank)}`;

/**
 * @param {FlowGraph} graph
 * @returns {string | null} "␣Tokyo was 85.0%, rank 1; now 12.0%, rank 4": null of the pass as it is.
 */
export function outcome({ before, target }) {
  if (!before) return null;
  return `${target.text} was ${standingWords(before.target)}; now ${standingWords(target)}`;
}

/**
 * @param {LayerEffects} effects
 * @returns {string} "ρ 0.97 · 9 of the 10 strongest foretold"
 */
export function measuredWords({ failed, rho, found, of }) {
  if (failed !== undefined) return failed && `effects not measured: ${failed}`;
  if (of === undefined) return "measuring effects…";
  const rank = rho == null ? "" : `ρ ${rho.toFixed(2).replace("-", "−")} · `;
  return of ? `${rank}${found} of the ${of} strongest foretold` : "";
}
