/** The panel's sections, each a pure drawing of some numbers. */

import { copyButton } from "../../ui/copy.js";
import { h } from "../../ui/dom.js";
import { tokenWords } from "../../ui/token.js";
import { percent, signed } from "../../words/format.js";
import { LENSES, lensFits, lensName, parts, strength, unitWords } from "../../words/lenses.js";
import { rankWords, tokenText } from "../../words/words.js";

/** @import { State } from "../../state/state.js" */
/** @import { Detail, DetailFacts, FlowGraph, LensName, Named, Node, ReadToken, Unit } from "../../types.js" */
/** @import { Child } from "../../ui/dom.js" */

/** As many as the kernel's reply will hold: rows are kept free for them so that nothing jumps. */
const TOKENS = 10;
/** So many of the prompt's tokens stand in the panel without scrolling. */
const SURELY_FITS = 16;

/**
 * @param {Child | Child[]} title
 * @param {...(HTMLElement | null | false)} children
 */
function section(title, ...children) {
  return h("section", { class: "vw-section" }, h("h3", {}, title), ...children);
}

/**
 * @param {string} title
 * @param {ReadToken[]} tokens
 * @param {Named} target
 * @param {{waits?: boolean, unit?: Unit | null, lens?: string}} [options] Whether more are on their
 *   way; what their scores are; the lens that read them.
 */
export function tokensSection(title, tokens, target, { waits = false, unit, lens } = {}) {
  if (tokens.length === 0) return null;
  const free = waits ? Math.max(0, TOKENS - tokens.length) : 0;
  const told = unitWords(unit ?? undefined);
  return section(
    [title, lens && h("span", { class: "vw-by" }, ` · ${lens} lens`)],
    told !== null && h("p", { class: "vw-side-note" }, told),
    h(
      "ol",
      { class: "vw-probs", "aria-busy": waits ? "true" : null },
      barsOf(tokens, target, unit ?? undefined),
      Array.from({ length: free }, () => h("li", { class: "vw-prob free", "aria-hidden": true })),
    ),
  );
}

/**
 * @param {string} title
 * @param {ReadToken[]} tokens
 * @param {Named} target
 * @param {Detail["readings"]} [readings] What other lenses make of it.
 */
export function collapsedTokens(title, tokens, target, readings = []) {
  if (tokens.length === 0) return null;
  return h(
    "details",
    { class: "vw-section vw-least" },
    h("summary", {}, title),
    h(
      "ul",
      { class: "vw-least-tokens" },
      tokens.map((token) =>
        h(
          "li",
          {
            class: token.id === target.id ? "vw-token target" : "vw-token",
            title: token.logit === undefined ? null : `logit ${signed(token.logit)}`,
          },
          tokenWords(token),
        ),
      ),
    ),
    readings.length > 0 &&
      listOf(
        readings.map(({ bottom, ...reading }) => ({ ...reading, top: bottom })),
        target,
        "least-readings",
      ),
  );
}

/**
 * What other lenses make of the same vector.
 *
 * @param {Detail["readings"]} readings
 * @param {Named} target
 */
export const readingsSection = (readings, target) =>
  readings?.length
    ? section("the same, read otherwise", listOf(readings, target, "readings"))
    : null;

/**
 * @param {Pick<NonNullable<Detail["readings"]>[number], "lens" | "unit" | "top">[]} readings
 * @param {Named} target
 * @param {string} role
 */
const listOf = (readings, target, role) =>
  h(
    "dl",
    { class: "vw-readings", "data-role": role },
    readings.flatMap(({ lens, unit, top }) => [
      h("dt", {}, lensName(lens)),
      h(
        "dd",
        {},
        top.map((token) =>
          h(
            "span",
            {
              class: token.id === target.id ? "vw-token target" : "vw-token",
              title: strength(token, unit),
            },
            tokenWords(token),
          ),
        ),
      ),
    ]),
  );

/**
 * How to get the lenses that were not fitted for this model.
 *
 * @param {State} state
 */
export function fitSection({ live, lenses }) {
  const known = /** @type {LensName[]} */ (Object.keys(LENSES));
  const missing = known.flatMap((name) => (lenses.includes(name) ? [] : (lensFits(name) ?? [])));
  if (!live || missing.length === 0) return null;
  return h(
    "details",
    { class: "vw-fit", "data-role": "fit" },
    h("summary", { "data-role": "fit-summary" }, "read with another lens"),
    h("p", {}, "“Read with” in the toolbar fits it, once for this model; so does a cell:"),
    missing.map((code) =>
      h(
        "p",
        {},
        h("code", {}, code),
        " ",
        copyButton("copy", () => code),
      ),
    ),
  );
}

/**
 * @param {ReadToken[]} tokens
 * @param {Named} target
 * @param {Unit} [unit]
 */
function barsOf(tokens, target, unit) {
  const lengths = parts(tokens, unit);
  return tokens.map((token, at) => {
    const bar = h("span", { class: "vw-prob-fill", "aria-hidden": true });
    bar.style.setProperty("--vw-part", String(lengths[at]));
    return h(
      "li",
      {
        class: token.id === target.id ? "vw-prob target" : "vw-prob",
        title: token.logit === undefined ? null : `logit ${signed(token.logit)}`,
      },
      bar,
      h("span", { class: "vw-token" }, tokenWords(token)),
      h("span", { class: "vw-prob-value" }, strength(token, unit)),
    );
  });
}

/**
 * Where the target (and foil) stand in the node's own projection.
 *
 * @param {Node} node
 * @param {FlowGraph} graph
 * @param {DetailFacts["foil"]} foil
 * @param {Node | Detail | null} [other] The same node in the other prompt.
 */
export function targetSection(node, graph, foil, other = null) {
  const { target_rank: rank, target_probability: probability } = node;
  if (rank === null || probability === null) return null;
  /** @type {[Named, Standing, Standing | null][]} */
  const rows = [[graph.target, { rank, probability }, standingOf(other)]];
  const otherFoil = /** @type {Partial<Detail> | null} */ (other)?.foil ?? null;
  if (foil && graph.foil) rows.push([graph.foil, foil, otherFoil]);
  return section(
    rows.length > 1 ? "target and foil here" : "the target here",
    h(
      "ul",
      { class: "vw-standing" },
      rows.map(([token, standing, there]) =>
        h(
          "li",
          {},
          h("span", { class: "vw-token" }, token.text),
          h("span", {}, rankWords(standing.rank)),
          h("span", { class: "vw-prob-value" }, percent(standing.probability)),
          there &&
            h(
              "span",
              { class: "vw-standing-there" },
              `there ${rankWords(there.rank)}, ${percent(there.probability)}`,
            ),
        ),
      ),
    ),
  );
}

/** @typedef {{rank: number, probability: number}} Standing */

/**
 * @param {Node | Detail | null} node
 * @returns {Standing | null}
 */
const standingOf = (node) =>
  node?.target_rank == null || node.target_probability == null
    ? null
    : { rank: node.target_rank, probability: node.target_probability };

/**
 * A head's attention, drawn on the prompt's text; for a memory, the one token that left it.
 *
 * @param {FlowGraph} graph
 * @param {number[] | null} attention A weight for each token of the prompt, once the kernel has answered.
 * @param {Map<number, number>} known Those weights that the graph holds.
 * @param {number | null} source
 * @param {((anchor: HTMLElement, position: number) => void) | null} [why] Shows why it looks there.
 */
export function attentionSection(graph, attention, known, source, why = null) {
  if (!attention && known.size === 0 && source === null) return null;
  /** @param {number} position */
  const weightAt = (position) => attention?.[position] ?? known.get(position) ?? null;
  const seen = graph.tokens.filter(({ position }) => position <= graph.position);
  /** @type {HTMLElement[]} */
  const chips = seen.map(({ position, text }) => {
    const weight = source === position ? 1 : weightAt(position);
    const told = source === null && weight !== null ? `${text}: ${percent(weight)}` : null;
    const attributes = { class: weight === null ? "vw-read unknown" : "vw-read", title: told };
    const chip =
      why && attention
        ? h(
            "button",
            {
              ...attributes,
              title: `${told}; why?`,
              "aria-haspopup": "dialog",
              "data-source": position,
              click: () => why(chip, position),
            },
            text,
          )
        : h("span", attributes, text);
    // The eye judges areas: the square root keeps small weights visible.
    chip.style.setProperty("--vw-part", String(Math.round(Math.sqrt(weight ?? 0) * 100)));
    chip.classList.toggle("strong", (weight ?? 0) > 0.3);
    return chip;
  });
  const title = source === null ? "it reads from" : "left by";
  // So many scroll, which the keyboard has to be able to do as well.
  const scrolls = seen.length > SURELY_FITS && { tabindex: 0, role: "region", "aria-label": title };
  /** @param {Event} event */
  const strongest = ({ currentTarget }) => {
    const weights = attention ?? [];
    const most = weights.indexOf(Math.max(...weights));
    why?.(/** @type {HTMLElement} */ (currentTarget), seen[most]?.position ?? 0);
  };
  const ask =
    why &&
    attention &&
    h(
      "button",
      { class: "vw-link", "data-role": "why", "aria-haspopup": "dialog", click: strongest },
      "why there?",
    );
  const words = ask ? [title, " · ", ask] : title;
  return section(words, h("div", { class: "vw-reads", ...scrolls }, ...chips));
}

/**
 * @param {FlowGraph} graph
 * @param {NonNullable<DetailFacts["sources"]>} sources
 */
export function sourcesSection(graph, sources) {
  if (sources.length === 0) return null;
  const foil = graph.foil ? ` over ${graph.foil.text}` : "";
  return h(
    "table",
    { class: "vw-sources" },
    h(
      "thead",
      {},
      h(
        "tr",
        {},
        h("th", { scope: "col" }, "token"),
        h("th", { scope: "col" }, "attention"),
        h("th", { scope: "col", title: `What it brings for ${graph.target.text}${foil}` }, "adds"),
      ),
    ),
    h(
      "tbody",
      {},
      sources.map(({ position, weight, logit }) =>
        h(
          "tr",
          {},
          h("td", { class: "vw-token" }, tokenText(graph, position)),
          h("td", {}, percent(weight)),
          h(
            "td",
            { class: logit === null ? null : logit < 0 ? "negative" : "positive" },
            logit === null ? "" : signed(logit),
          ),
        ),
      ),
    ),
  );
}
