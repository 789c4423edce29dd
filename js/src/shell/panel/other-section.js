/** What the panel says of a node in the other prompt: its tokens, and where it reads there. */

import { partnerOf } from "../../state/other-side.js";
import { h } from "../../ui/dom.js";
import { tokenWords } from "../../ui/token.js";
import { probability } from "../../words/figures.js";
import { signed } from "../../words/format.js";
import { strength } from "../../words/lenses.js";
import { tokenText } from "../../words/words.js";

/** @import { Against, Detail, FlowGraph, Node } from "../../types.js" */

/** So many of its tokens there are told. */
const TOLD = 5;

/**
 * @param {Node | Detail | null} other
 * @param {FlowGraph} graph
 */
export function otherTokens(other, { target, foil, against }) {
  if (!other || !against) return null;
  const own = other.kind === "logits" && other.top.length === 0 ? against.prediction : other.top;
  if (own.length === 0) return null;
  const roleOf = (/** @type {number} */ id) =>
    id === target.id ? " target" : id === foil?.id ? " foil" : "";
  return h(
    "dl",
    { class: "vw-readings vw-there", "data-role": "there" },
    h("dt", { title: `In “${against.prompt}”` }, "there"),
    h(
      "dd",
      {},
      own.slice(0, TOLD).map((token) =>
        h(
          "span",
          {
            class: `vw-token${roleOf(token.id)}`,
            title: strength(token, other.unit ?? undefined),
          },
          tokenWords(token),
        ),
      ),
    ),
  );
}

/**
 * @typedef {object} SourceRow A token that a head reads, here and there.
 * @property {string} text "␣Japan", "␣Japan / ␣France", "– / ␣old"
 * @property {number | null} here Its position here; null where a token of there has no partner.
 * @property {boolean} both Whether it is a token of both.
 * @property {number | null} weight
 * @property {number | null} logit
 * @property {number | null} otherWeight
 * @property {number | null} otherLogit
 */

/**
 * @param {FlowGraph & {against: Against}} graph
 * @param {NonNullable<Detail["sources"]>} sources
 * @param {Partial<Detail>} other
 * @param {number[] | null} attention
 * @returns {SourceRow[]} What is read here, then what is read there alone.
 */
export function sourceRows(graph, sources, other, attention) {
  const { against } = graph;
  const theirs = new Map((other.sources ?? []).map((source) => [source.position, source]));
  const nameThere = (/** @type {number} */ at) => against.tokens[at]?.text ?? `token ${at}`;
  const rows = sources.map(({ position, weight, logit }) => {
    const there = partnerOf(against, position);
    const read = there === null ? undefined : theirs.get(there);
    if (there !== null) theirs.delete(there);
    const text = tokenText(graph, position);
    const named = there === null ? "–" : nameThere(there);
    return {
      text: named === text ? text : `${text} / ${named}`,
      here: position,
      both: there !== null,
      weight,
      logit,
      otherWeight: read?.weight ?? (there === null ? null : (other.attention?.[there] ?? null)),
      otherLogit: read?.logit ?? null,
    };
  });
  const hereOf = new Map(against.pairs.map(([here, there]) => [there, here]));
  const more = [...theirs.values()].map(({ position, weight, logit }) => {
    const here = hereOf.get(position);
    const named = nameThere(position);
    const text = here === undefined ? "–" : tokenText(graph, here);
    return {
      text: named === text ? text : `${text} / ${named}`,
      here: here ?? null,
      both: here !== undefined,
      weight: here === undefined ? null : (attention?.[here] ?? null),
      logit: null,
      otherWeight: weight,
      otherLogit: logit,
    };
  });
  return [...rows, ...more];
}

/**
 * @param {FlowGraph & {against: Against}} graph
 * @param {SourceRow[]} rows
 * @param {{of: string, bring: (id: string) => void} | null} [hands] Of a head: what a row's other
 *   side is brought over by.
 */
export function bothSources(graph, rows, hands = null) {
  const foil = graph.foil ? ` over ${graph.foil.text}` : "";
  const head = (/** @type {string} */ text, /** @type {string} */ title = "") =>
    h("th", { scope: "col", title: title || null }, text);
  const part = (/** @type {number | null} */ value) =>
    h("td", {}, value === null ? "" : probability(value));
  const adds = (/** @type {number | null} */ value) =>
    h(
      "td",
      { class: value === null ? null : value < 0 ? "negative" : "positive" },
      value === null ? "" : signed(value),
    );
  return h(
    "table",
    { class: "vw-sources vw-both", "data-role": "both-sources" },
    h(
      "thead",
      {},
      h(
        "tr",
        {},
        head("token"),
        head("reads", "How much of its attention it gets"),
        head("there", `The same in “${graph.against.prompt}”`),
        head("adds", `What it brings for ${graph.target.text}${foil}`),
        head("there", `The same in “${graph.against.prompt}”`),
      ),
    ),
    h(
      "tbody",
      {},
      rows.map(({ text, here, both, weight, otherWeight, logit, otherLogit }) => {
        const id = hands && both && here !== null ? `${hands.of}.V${here}` : null;
        return h(
          "tr",
          { "data-part": id },
          h("td", { class: "vw-token" }, text),
          part(weight),
          part(otherWeight),
          adds(logit),
          id && hands ? brings(id, text, otherLogit, hands.bring) : adds(otherLogit),
        );
      }),
    ),
  );
}

/**
 * What a head takes from a token there, to be dragged onto its row or pressed.
 *
 * @param {string} id
 * @param {string} text
 * @param {number | null} value
 * @param {(id: string) => void} bring
 */
function brings(id, text, value, bring) {
  const said = value === null ? "–" : signed(value);
  return h(
    "td",
    { class: value === null ? null : value < 0 ? "negative" : "positive" },
    h(
      "button",
      {
        class: "vw-bring",
        "data-bring": id,
        "data-role": `bring ${id}`,
        title: "Bring it here: drag it onto its row or its place in the picture, or press",
        "aria-label": `${said}: bring what the head takes from ${text} there over here`,
        click: () => bring(id),
      },
      said,
    ),
  );
}
