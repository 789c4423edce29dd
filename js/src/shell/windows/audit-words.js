/** What the audit says: its sentences, its scale, and itself as text to paste. Pure. */

import { counted, plain, powerOfTen, signed } from "../../words/format.js";
import { tokenText } from "../../words/words.js";

/** @import { Audit, FlowGraph } from "../../types.js" */

/** @type {Record<string, string>} What an identity means; those of a later kernel stand alone. */
const MEANINGS = {
  "mid = pre + attention, post = mid + MLP": "each half of a layer adds what it writes",
  "attention = Σ heads + bias": "heads add up to what attention writes",
  "head = Σ sources": "a head is the sum over the tokens it reads",
  "MLP = Σ neurons + bias": "neurons add up to what the MLP writes",
  "attention rows = output_attentions": "attention weights are the model’s own",
  "query direction · x + c = score": "what a query looks for gives its scores",
  "key direction · x + c = score": "what a memory key answers to does, too",
  "Σ logit parts = logit": "parts add up to the first choice’s logit",
  "lens of the last stream = logits": "the lens ends in the model’s own output",
};

/** @param {string} identity */
export const meaningOf = (identity) => MEANINGS[identity] ?? null;

/**
 * @param {Audit} audit
 * @param {Audit["rows"][number]} row
 */
export const isOver = (audit, { error, tolerance = audit.tolerance }) =>
  error !== null && error > tolerance;

/**
 * @param {Audit} audit
 * @returns {string} In a sentence or two: does everything add up, and if not, how far off it is.
 */
export function verdict(audit) {
  const { rows, tolerance, exact, max_error: worst, dtype } = audit;
  const allowed = `the ${powerOfTen(tolerance)} that rounding alone may cause in ${dtype}`;
  const silent = rows.filter(({ error }) => error === null).length;
  if (silent === rows.length) return "Nothing could be compared: this model could not be asked.";
  const unasked = silent
    ? ` ${counted(silent, "identity", "identities")} could not be asked of this model.`
    : "";
  if (exact && worst !== null) {
    return `Exact to rounding: the largest error is ${powerOfTen(worst)}, below ${allowed}.${unasked}`;
  }
  const over = rows.filter((row) => isOver(audit, row));
  const widest = over.find(({ error }) => error === worst);
  if (!widest || worst === null) return `Not exact: an error is not a number.${unasked}`;
  return (
    `Not exact: ${over.length} of ${counted(rows.length, "identity", "identities")} ` +
    `${over.length === 1 ? "is" : "are"} off by more than ${allowed}; “${widest.identity}” ` +
    `by ${powerOfTen(worst)}. Read ribbons with care.${unasked}`
  );
}

/** @param {FlowGraph} graph */
const layersOf = ({ model }) =>
  model.n_layers === 1 ? "its layer" : `all ${model.n_layers} layers`;

/**
 * @param {FlowGraph} graph
 * @returns {string} What is being done while one waits.
 */
export function waitingWords(graph) {
  const token = tokenText(graph, graph.position);
  return (
    `Asking the model itself: two fresh passes over the prompt, then every identity in ` +
    `${layersOf(graph)} at ${token}. This takes seconds, more for a large model; closing calls it off.`
  );
}

/**
 * @param {Audit} audit
 * @param {FlowGraph} graph
 * @returns {string}
 */
export function comparedWith({ position }, graph) {
  return (
    `Compared with two fresh passes of the model itself, one in its own attention implementation ` +
    `and one eager, at token ${position} (${tokenText(graph, position)}). An error is ` +
    `‖ours − the model’s‖ ∕ ‖the model’s‖, the largest over ${layersOf(graph)}.`
  );
}

/**
 * @param {Audit} audit
 * @param {FlowGraph} graph
 * @returns {string | null} How much of the prediction is what half precision added to the stream.
 */
export function roundingWords({ dtype }, { nodes, target, foil }) {
  const parts = nodes.flatMap(({ kind, logit }) => (kind === "rounding" ? [logit ?? 0] : []));
  if (parts.length === 0) return null;
  const total = parts.reduce((sum, part) => sum + part, 0);
  const pieces = parts.reduce((sum, part) => sum + Math.abs(part), 0);
  const over = foil ? ` over “${foil.text}”` : "";
  return (
    `In ${dtype} the stream itself is rounded at every step. That makes ${signed(total)} of the ` +
    `logit of “${target.text}”${over}, in pieces of ${plain(pieces)} in all.`
  );
}

/**
 * A log scale in whole decades that holds every error, and the tolerance well inside.
 *
 * @param {Audit} audit
 */
export function errorScale({ rows, tolerance }) {
  const sizes = rows.flatMap(({ error }) => (error ? [Math.log10(error)] : []));
  const limit = Math.log10(tolerance);
  const low = Math.floor(Math.min(limit - 1, ...sizes) - 0.2);
  const high = Math.ceil(Math.max(limit + 0.5, ...sizes) + 0.2);
  return {
    low: 10 ** low,
    high: 10 ** high,
    decades: high - low,
    /** @param {number} error */
    place: (error) => (error > 0 ? (Math.log10(error) - low) / (high - low) : 0),
  };
}

/** @param {number | null} error */
const inText = (error) => (error === null ? "not asked" : error.toExponential(1));

/**
 * @param {Audit} audit
 * @param {FlowGraph} graph
 * @returns {string} As a paper's appendix takes it.
 */
export function auditMarkdown(audit, graph) {
  const cell = (/** @type {string} */ text) => text.replaceAll("|", "\\|");
  const rows = audit.rows.map((row) => {
    const { identity, error } = row;
    const holds = error === null ? "" : isOver(audit, row) ? "no" : "yes";
    return `| ${cell(identity)} | ${inText(error)} | ${holds} |`;
  });
  return [
    "| identity | largest relative error | within tolerance |",
    "|---|---:|---|",
    ...rows,
    "",
    `${graph.model.name} (${audit.dtype}), tolerance ${inText(audit.tolerance)}, prompt ` +
      `${JSON.stringify(graph.prompt)}. ${comparedWith(audit, graph)}`,
    "",
  ].join("\n");
}

/**
 * @param {Audit} audit
 * @returns {string} For a spreadsheet or a script: one identity a line, errors as they came.
 */
export function auditTsv({ rows, tolerance }) {
  const lines = rows.map(({ identity, error, tolerance: own = tolerance }) =>
    [identity, error ?? "", own].join("\t"),
  );
  return `${["identity\terror\ttolerance", ...lines].join("\n")}\n`;
}
