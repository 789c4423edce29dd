/** What is said of the other prompt that the one on screen is compared with: it is “there”. */

import { partnerOf } from "../state/other-side.js";
import { percent, signed, whole } from "./format.js";

/** @import { Detail, FlowGraph, Node } from "../types.js" */

/** Kinds whose token and rank are what the stream says by then. */
const STREAMS = new Set(["embed", "residual", "norm", "logits"]);

/**
 * A node's values in the other prompt, and by how much they differ.
 *
 * @param {Node | Detail} node
 * @param {Node | Detail | null} other
 * @param {FlowGraph} graph
 * @returns {string | null} "there ␣Paris, rank 3, −2.10, difference +4.78"; null where nothing is
 *   compared.
 */
export function thereWords(node, other, graph) {
  const { against } = graph;
  if (!against) return null;
  if (node.only) return onlyThereWords(other ?? node);
  if (node.source !== null && partnerOf(against, node.source) === null) {
    return "its token has no partner there";
  }
  if (!other) return null;
  const facts = [
    other.label !== node.label && other.label,
    STREAMS.has(node.kind) && other.target_rank != null && `rank ${whole(other.target_rank)}`,
    other.logit != null && signed(other.logit),
    other.weight != null && `attention ${percent(other.weight)}`,
    other.activation != null && `activation ${signed(other.activation)}`,
  ].filter(Boolean);
  if (facts.length === 0) return null;
  const both = node.logit != null && other.logit != null;
  if (both) facts.push(differenceWords((node.logit ?? 0) - (other.logit ?? 0)));
  return `there ${facts.join(", ")}`;
}

/**
 * Of a part that this prompt has not: a token, or an expert, that the other alone has.
 *
 * @param {Node | Detail} other
 */
function onlyThereWords({ logit, weight, activation }) {
  const facts = [
    logit != null && `${signed(logit)}, ${differenceWords(-logit)}`,
    weight != null && `attention ${percent(weight)}`,
    activation != null && `activation ${signed(activation)}`,
  ].filter(Boolean);
  return ["only in the other prompt", ...facts].join(", ");
}

/** @param {number} difference Here minus there, in logits. */
const differenceWords = (difference) =>
  signed(difference) === signed(0) ? "no difference" : `difference ${signed(difference)}`;

/**
 * Where the two part.
 *
 * @param {FlowGraph} graph
 * @returns {string | null} "The two part after layer 14"
 */
export function partingWords({ against }) {
  if (!against?.parting) return null;
  const [, layer, stream] = /^L(\d+)\.(pre|mid|post)$/.exec(against.parting) ?? [];
  if (layer === undefined) return "The two part from the start";
  return `The two part ${stream === "post" ? "after" : "within"} layer ${layer}`;
}
