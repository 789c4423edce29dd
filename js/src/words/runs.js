/** What is said of a run: what was done, and what the prediction was before and after. */

import { percent, signed, whole } from "./format.js";
import { interventionWords, nameOfPart } from "./interventions.js";

/** @import { FlowGraph, Run } from "../types.js" */

/**
 * @param {Run} run
 * @param {FlowGraph} graph What is on screen, for names.
 * @returns {string} "L23 · head 4 patched from the other at ␣of"
 */
export function runWords(run, graph) {
  // Names of tokens are known of the prompt on show alone.
  const own = run.prompt === graph.prompt;
  const of = { ...graph, position: run.focus };
  const done = run.interventions.map((item) =>
    own
      ? `${nameOfPart(item.id, graph)} ${interventionWords(item, of)}`
      : `${item.id} ${interventionWords({ ...item, positions: "all" }, of).replace(/ everywhere$/, "")}`,
  );
  return own ? done.join("; ") : `in “${run.prompt}”: ${done.join("; ")}`;
}

/**
 * @param {Run} run
 * @returns {string} "␣Paris 96.0% → ␣Tokyo 41.0%; ␣Tokyo −3.10 → +2.40 over ␣Paris"
 */
export function runFacts({ target, foil, before, after }) {
  const first = (/** @type {Run["before"]} */ { first: said }) =>
    said ? `${said.text} ${percent(said.probability)}` : "–";
  const lead = (/** @type {Run["before"]} */ standing) =>
    standing.foil
      ? signed(standing.target.logit - standing.foil.logit)
      : standing.target.probability === null || standing.target.rank === null
        ? signed(standing.target.logit)
        : `${percent(standing.target.probability)}, rank ${whole(standing.target.rank)}`;
  const aim = foil ? `${target.text} over ${foil.text}` : target.text;
  return `says ${first(before)} → ${first(after)} · ${aim} ${lead(before)} → ${lead(after)}`;
}
