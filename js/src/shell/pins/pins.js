/** Up to four nodes side by side: what each adds, what it writes, and what it reads. */

import { layerOfNode } from "../../state/filters.js";
import { isRouteId } from "../../state/revisions.js";
import { knownDetail, knownNode, outgoingPart } from "../../state/selectors.js";
import { createChangeGuard, fill, h, icon, iconButton } from "../../ui/dom.js";
import { createRoving } from "../../ui/roving.js";
import { tokenWords } from "../../ui/token.js";
import { routeNodeTitle } from "../../views/routes/words.js";
import { percent } from "../../words/format.js";
import { parts, strength, wordsOf } from "../../words/lenses.js";
import { nodeFacts, nodeTitle, rankWords, tokenText } from "../../words/words.js";
import { alignTokens } from "./align.js";

/** @import { Controller } from "../../state/controller.js" */
/** @import { State } from "../../state/state.js" */
/** @import { Detail, FlowGraph, Node, ReadToken } from "../../types.js" */

/** Lines of tokens. */
const MOST_LINES = 10;
const MOST_READ = 4;

/**
 * @typedef {object} Pin
 * @property {string} id
 * @property {Detail | Node | null} node What is known of it, or was before the graph changed.
 * @property {boolean} old
 * @property {string | null} missing Why there is nothing to show.
 */

/**
 * @param {Controller} controller
 */
export function createPins(controller) {
  const changed = createChangeGuard();
  /** @type {Map<string, Detail | Node>} What stays on show until the new graph's is there. */
  let last = new Map();
  const room = h("div", { class: "vw-pins-room" });
  const names = h("span", {});
  const fold = h(
    "button",
    {
      class: "vw-pins-fold",
      title: "Unfold the pins, or fold them",
      "data-role": "pins-fold",
      "aria-expanded": false,
      click() {
        unfolded = !unfolded;
        arrange();
      },
    },
    icon("pin"),
    names,
    icon("up"),
  );
  const el = h(
    "section",
    {
      class: "vw-pins",
      "data-role": "pins",
      "aria-label": "Pinned nodes, side by side",
      hidden: true,
    },
    room,
    fold,
  );
  const roving = createRoving(el);
  let tight = false;
  let unfolded = false;

  /** Where there is little room the pins are a line, and their table stands over the picture. */
  function arrange() {
    fold.hidden = !tight;
    fold.setAttribute("aria-expanded", String(unfolded));
    room.hidden = tight && !unfolded;
  }

  /**
   * @param {State} state
   * @param {boolean} isTight
   */
  function update(state, isTight) {
    const { pins, graph, details, oldDetails, detailsMissing, problems, blocks, routes } = state;
    el.hidden = pins.length === 0 || !graph;
    tight = isTight;
    arrange();
    if (el.hidden || !graph) return;
    if (!changed(pins, graph, details, oldDetails, detailsMissing, problems, blocks, routes))
      return;
    const shown = pins.map((id) => pinOf(state, id));
    last = new Map(shown.flatMap(({ id, node }) => (node ? [[id, node]] : [])));
    fill(room, tableOf(shown, state, graph));
    names.textContent = shown.map((pin) => titleOf(pin, graph)).join(", ");
  }

  /**
   * @param {State} state
   * @param {string} id
   * @returns {Pin}
   */
  function pinOf(state, id) {
    const { detailsMissing, problems } = state;
    if (detailsMissing[id]) return { id, node: null, old: false, missing: detailsMissing[id] };
    const now = knownDetail(state, id);
    if (now) return { id, node: now, old: !state.details[id], missing: null };
    const problem = problems.find(({ key }) => key === "details");
    if (problem) return { id, node: null, old: false, missing: problem.message };
    const held = last.get(id);
    return held
      ? { id, node: held, old: true, missing: null }
      : { id, node: knownNode(state, id), old: false, missing: null };
  }

  /**
   * @param {Pin[]} pins
   * @param {State} state
   * @param {FlowGraph} graph
   */
  function tableOf(pins, state, graph) {
    const lists = pins.map(({ node }) => node?.top ?? []);
    const lines = alignTokens(lists, MOST_LINES);
    const lengths = pins.map(({ node }) => {
      const sizes = node ? parts(node.top, node.unit ?? undefined) : [];
      return new Map(node?.top.map(({ id }, at) => [id, sizes[at]]));
    });
    const reads = pins.map(({ node }) => (node ? readsOf(node, graph) : null));
    return h(
      "table",
      { class: "vw-pins-table" },
      h(
        "thead",
        {},
        h(
          "tr",
          {},
          h("td", {}),
          pins.map((pin) => headOf(pin, state, graph)),
        ),
      ),
      h(
        "tbody",
        {},
        row(
          "adds",
          pins.map((pin) => {
            if (pin.missing !== null) return h("span", { class: "vw-pin-missing" }, pin.missing);
            if (pin.node === null) return "asking the kernel…";
            return factsOf(pin.node, state, graph).join(" · ") || "–";
          }),
          pins,
        ),
        row(
          graph.target.text,
          pins.map(({ node }) =>
            node?.target_rank == null
              ? ""
              : [rankWords(node.target_rank), node.target_probability]
                  .filter((told) => told != null)
                  .map((told) => (typeof told === "number" ? percent(told) : told))
                  .join(", "),
          ),
          pins,
          "vw-token",
        ),
        lines.map(({ common, cells }, at) =>
          h(
            "tr",
            { class: common ? "common" : null },
            at === 0 && h("th", { scope: "rowgroup", rowspan: lines.length }, verbsOf(pins, graph)),
            cells.map((token, column) =>
              h(
                "td",
                { class: pins[column].old ? "old" : null },
                token && barOf(token, lengths[column].get(token.id) ?? 0, pins[column].node, graph),
              ),
            ),
          ),
        ),
        reads.some((words) => words !== null) &&
          row(
            "reads",
            reads.map((words) => words ?? ""),
            pins,
          ),
      ),
    );
  }

  /**
   * @param {Pin} pin
   * @param {State} state
   * @param {FlowGraph} graph
   */
  function headOf(pin, state, graph) {
    const { id, node } = pin;
    return h(
      "th",
      { scope: "col" },
      h(
        "span",
        { class: "vw-pin-head" },
        h(
          "button",
          {
            class: "vw-pin-title",
            "data-pin": id,
            title: `Select ${id}`,
            click: () => show(id, state.view),
          },
          h("b", {}, titleOf(pin, graph)),
          node && h("span", { class: "vw-pin-id" }, id),
        ),
        iconButton("close", `Unpin ${id}`, () => controller.dispatch({ type: "unpin", node: id }), {
          "data-pin": `out ${id}`,
        }),
      ),
    );
  }

  /**
   * @param {string} id
   * @param {State["view"]} view
   */
  function show(id, view) {
    const layer = view === "block" && !isOverviewId(id) ? layerOfNode(id) : null;
    controller.dispatch({ type: "reveal", node: id, layer: isRouteId(id) ? null : layer });
  }

  return { el, update, roving, destroy: roving.destroy };
}

/**
 * @param {Pin} pin
 * @param {FlowGraph} graph
 */
function titleOf({ id, node }, graph) {
  if (!node) return id;
  return isRouteId(id) ? routeNodeTitle(node, graph) : nodeTitle(node, graph);
}

/** @param {string} id */
const isOverviewId = (id) => !/^L\d+\./.test(id) || /^L\d+\.(attn|mix|mlp|post)$/.test(id);

/**
 * @param {string} name
 * @param {(Node | string | HTMLElement)[]} cells
 * @param {Pin[]} pins
 * @param {string} [face]
 */
function row(name, cells, pins, face) {
  return h(
    "tr",
    {},
    h("th", { scope: "row", class: face }, name),
    cells.map((content, at) =>
      h("td", { class: pins[at].old ? "old" : null }, /** @type {any} */ (content)),
    ),
  );
}

/**
 * @param {Node | Detail} node
 * @param {State} state
 * @param {FlowGraph} graph
 */
function factsOf(node, state, graph) {
  const edge = outgoingPart(state, node.id);
  const detail = /** @type {Partial<Detail>} */ (node);
  const share = detail.share ?? edge?.share ?? null;
  return nodeFacts(node, graph, { share, whole: detail.whole ?? edge?.target ?? null });
}

/**
 * @param {Pin[]} pins
 * @param {FlowGraph} graph
 * @returns {string} What they do with their tokens, where all do the same.
 */
function verbsOf(pins, graph) {
  const verbs = new Set(
    pins.flatMap(({ node }) => {
      if (!node || node.kind === "logits") return [];
      const { does, foretells } = wordsOf(graph, node);
      return node.kind === "residual" ? foretells : does;
    }),
  );
  return verbs.size === 1 ? [...verbs][0] : "says";
}

/**
 * @param {ReadToken} token
 * @param {number} length Of its bar, the longest 1.
 * @param {Node | null} node
 * @param {FlowGraph} graph
 */
function barOf(token, length, node, graph) {
  const bar = h("span", { class: "vw-prob-fill", "aria-hidden": true });
  bar.style.setProperty("--vw-part", String(length));
  return h(
    "span",
    { class: token.id === graph.target.id ? "vw-prob target" : "vw-prob" },
    bar,
    h("span", { class: "vw-token" }, tokenWords(token)),
    h("span", { class: "vw-prob-value" }, strength(token, node?.unit ?? undefined)),
  );
}

/**
 * What a node reads: tokens that a head attends to, or what a neuron looks for.
 *
 * @param {Node | Detail} node
 * @param {FlowGraph} graph
 */
function readsOf(node, graph) {
  const { attention, reads } = /** @type {Partial<Detail>} */ (node);
  if (attention) {
    const strongest = attention
      .map((weight, position) => ({ weight, position }))
      .filter(({ weight }) => weight >= 0.005)
      .sort((a, b) => b.weight - a.weight)
      .slice(0, MOST_READ);
    return words(strongest.map(({ weight, position }) => [tokenText(graph, position), weight]));
  }
  if (reads) return words(reads.top.slice(0, MOST_READ).map(({ text }) => [text, null]));
  return node.source === null ? null : words([[tokenText(graph, node.source), node.weight]]);
}

/** @param {[string, number | null][]} tokens */
function words(tokens) {
  return h(
    "span",
    { class: "vw-pin-reads" },
    tokens.map(([text, weight]) =>
      h(
        "span",
        {},
        h("span", { class: "vw-token" }, text),
        weight !== null && ` ${percent(weight)}`,
      ),
    ),
  );
}
