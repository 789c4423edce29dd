/** What is said of findings: sinks and outliers, and what heads read of heads. */

import { percent, plain, signed } from "./format.js";

/** @import { Composed, FlowGraph, Sinks } from "../types.js" */

/** What edges between heads end at. */
export const READS = /** @type {const} */ ({ query: "query", key: "key", value: "value" });

/**
 * What is to be said of a token.
 *
 * @param {Sinks | null} sinks
 * @param {number} position
 * @returns {string[]}
 */
export function sinkWords(sinks, position) {
  const parked = sinks?.sinks.find((each) => each.position === position);
  const long = sinks?.outliers.find((each) => each.position === position);
  return [
    parked &&
      `An attention sink: in layer ${parked.layer} later tokens give it ${percent(parked.attention)} of their attention (${parked.heads} of ${parked.of} heads are parked here)`,
    long &&
      `An outlier: its stream is ${times(long.ratio)} the others’ length, in layer ${long.layer}`,
  ].filter((words) => words !== undefined);
}

/** @param {number} ratio */
export const times = (ratio) => `${ratio >= 10 ? Math.round(ratio) : plain(ratio)} times`;

/**
 * Runs of layers in which the stream on show is far longer than the other tokens'.
 *
 * @param {Sinks | null | undefined} sinks
 * @returns {{from: number, to: number, words: string}[]}
 */
export function outlierRuns(sinks) {
  /** @type {{from: number, to: number, layer: number, ratio: number}[]} */
  const runs = [];
  for (const { layer, ratio } of sinks?.streams ?? []) {
    const last = runs.at(-1);
    if (!last || last.to !== layer - 1) runs.push({ from: layer, to: layer, layer, ratio });
    else {
      last.to = layer;
      if (ratio > last.ratio) Object.assign(last, { layer, ratio });
    }
  }
  return runs.map(({ from, to, layer, ratio }) => {
    const where = from === to ? `before layer ${from}` : `before layers ${from} to ${to}`;
    const most = from === to ? "" : `, most in layer ${layer}`;
    return {
      from,
      to,
      words: `An outlier: ${where} this stream is ${from === to ? "" : "up to "}${times(ratio)} as long as the others’ median${most}`,
    };
  });
}

/**
 * @param {Composed["edges"][number]} edge
 * @returns {string} "head 1 of layer 19 → query of head 4 of layer 23: here +7 % of it; by weights 0.083"
 */
export function edgeWords({ source, target, reads, score, traced }) {
  const here = traced === null ? "" : `here ${signed(100 * traced)} % of it; `;
  return `${headName(source)} → ${reads} of ${headName(target)}: ${here}by weights ${plain(score)}`;
}

/** @param {string} id */
function headName(id) {
  const [layer, head] = id.slice(1).split(".H");
  return `head ${head} of layer ${layer}`;
}

/**
 * Whether findings can be asked of a node.
 *
 * @param {string} id
 * @param {FlowGraph} graph
 */
export const hasFindings = (id, graph) => /^L\d+\.[HN]\d+$/.test(id) && !graph.before;
