/** The chosen node, at length: what the graph holds at once, then what the kernel adds. */

import { MOST_PINS } from "../../state/controller.js";
import { otherNode } from "../../state/other-side.js";
import { isRouteId } from "../../state/revisions.js";
import {
  knownAttention,
  knownDetail,
  knownNode,
  measuredOf,
  outgoingPart,
} from "../../state/selectors.js";
import { copyButton } from "../../ui/copy.js";
import { createChangeGuard, fill, h, iconButton } from "../../ui/dom.js";
import { followVisible } from "../../ui/follow.js";
import { createRoving } from "../../ui/roving.js";
import { routeNodeTitle } from "../../views/routes/words.js";
import { signed } from "../../words/format.js";
import { wordsOf } from "../../words/lenses.js";
import { contribution, nodeFacts, nodeTitle } from "../../words/words.js";
import { bothSides } from "../what-if/both-sides.js";
import { createWhatIf } from "../what-if/section.js";
import { createFindings } from "../windows/findings.js";
import { createWhyWindow } from "../windows/why.js";
import { bothSources, otherTokens, sourceRows } from "./other-section.js";
import {
  attentionSection,
  collapsedTokens,
  fitSection,
  readingsSection,
  sourcesSection,
  targetSection,
  tokensSection,
} from "./panel-sections.js";
import { restSection } from "./rest-section.js";
import { chosenRoute, openLink, routeFacts, routeSections, routeTitle } from "./route-choice.js";

/** @import { Controller } from "../../state/controller.js" */
/** @import { State } from "../../state/state.js" */
/** @import { Detail, FlowGraph, Node } from "../../types.js" */
/** @import { Child } from "../../ui/dom.js" */
/** @import { Popovers } from "../../ui/popover.js" */

/** @type {Record<string, string>} What a node's tokens are to it, whichever lens reads them. */
const TOKENS_HEADING = {
  query: "it looks for",
  key: "it answers to",
  neuron_key: "it looks for",
  logits: "the model says next",
};

/** Kinds whose tokens are what is there by then, not what is added. */
const STREAMS = new Set(["embed", "residual", "norm"]);

/** Kinds whose tokens are what they push down as much as what they push up. */
const WRITERS = new Set([
  "value",
  "head",
  "row",
  "attention",
  "neuron",
  "expert",
  "mlp",
  "opaque",
  "bias",
  "rounding",
  "edit",
]);

/**
 * @param {Controller} controller
 * @param {Popovers} popovers
 */
export function createPanel(controller, popovers) {
  const changed = createChangeGuard();
  // Columns that are balanced scroll down, as one that is filled to its height would not.
  const flow = h("div", { class: "vw-side-flow" });
  const content = h("div", { class: "vw-side-content" }, flow);
  const el = h(
    "aside",
    { class: "vw-side", "data-role": "panel", "aria-label": "Selection", hidden: true },
    content,
  );
  /** @type {string | undefined} */
  let shown;
  const stopFollowing = followVisible(el, content);
  const roving = createRoving(el, { scroller: content });
  const whatIf = createWhatIf(controller, popovers);
  const why = createWhyWindow(controller, popovers);
  const findings = createFindings(controller, popovers);

  /** @param {State} state */
  function update(state) {
    const { selection, graph, details, blocks, detailsAsked, problems, expanded, keep } = state;
    const { routes, live } = state;
    el.hidden = selection.length === 0 || !graph;
    if (el.hidden || !graph) return;
    const before = leastOne();
    if (before) before.open = state.display.least;
    const held = [selection, graph, details, blocks, detailsAsked, problems, expanded, keep];
    if (!changed(...held, routes, live, state.pins, state.effects, state.interventions)) return;
    const key = selection.join(" ");
    fill(flow, contentOf(state, graph));
    const least = leastOne();
    if (least) keepLeast(least, state);
    if (shown !== key) content.scrollTop = 0;
    shown = key;
  }

  const leastOne = () =>
    /** @type {HTMLDetailsElement | null} */ (content.querySelector("details.vw-least"));

  /**
   * @param {HTMLDetailsElement} least
   * @param {State} state
   */
  function keepLeast(least, { display }) {
    least.open = display.least;
    least.addEventListener("toggle", () => {
      if (least.open === controller.getState().display.least) return;
      controller.dispatch({ type: "set-display", display: { least: least.open } });
    });
  }

  /**
   * @param {State} state
   * @param {FlowGraph} graph
   */
  function contentOf(state, graph) {
    const { selection } = state;
    const route = chosenRoute(state);
    if (!route) return selection.length === 1 ? oneNode(state, graph) : manyNodes(state, graph);
    const [id] = selection;
    const node = selection.length === 1 ? knownNode(state, id) : null;
    const waits = !knownDetail(state, id) && isWaiting(state, id);
    return [
      heading(routeTitle(route, graph), selection.length === 1 ? id : null),
      ...routeSections(route, state, controller),
      ...(node ? sections(state, graph, node, waits) : []),
      footer(selection.join(", ")),
    ].flat();
  }

  /**
   * @param {State} state
   * @param {FlowGraph} graph
   */
  function oneNode(state, graph) {
    const [id] = state.selection;
    const node = knownNode(state, id);
    if (!node) return unknownNode(state, id);
    const waits = !knownDetail(state, id) && isWaiting(state, id);
    const edge = outgoingPart(state, id);
    const detail = /** @type {Partial<Detail>} */ (node);
    const part = {
      share: detail.share ?? edge?.share ?? null,
      whole: detail.whole ?? edge?.target ?? null,
      measured: measuredOf(state, id),
      other: otherNode(state, id),
    };
    const onRoute = isRouteId(id);
    const facts = [...(onRoute ? routeFacts(node, state) : []), ...nodeFacts(node, graph, part)];
    return [
      heading(
        onRoute ? routeNodeTitle(node, graph) : nodeTitle(node, graph),
        id,
        facts.map((fact) => h("span", {}, fact)),
      ),
      bothSides(node, part.other, graph, { list: state.interventions, controller }),
      whatIf(id, state, graph),
      findings(id, state, graph),
      onRoute && openLink(node, state, controller),
      ...(node.kind === "rest" ? restSection(node, { ...controller, keep: state.keep }) : []),
      ...sections(state, graph, node, waits),
      footer(id, state),
    ];
  }

  /**
   * @param {State} state
   * @param {FlowGraph} graph
   * @param {Node} node
   * @param {boolean} waits
   */
  function sections(state, graph, node, waits) {
    const detail = /** @type {Partial<Detail>} */ (node);
    const top = node.kind === "logits" && node.top.length === 0 ? graph.prediction : node.top;
    const target = graph.target;
    const lens = wordsOf(graph, node);
    const other = otherNode(state, node.id);
    const says = STREAMS.has(node.kind) ? lens.stream : lens.most;
    // What was knocked out says nothing, whatever a lens reads in that.
    if (node.norm === 0) return [h("p", { class: "vw-side-note" }, "It says nothing: it is zero.")];
    return [
      detail.reads && tokensSection("it looks for", detail.reads.top.slice(0, 5), target),
      tokensSection(TOKENS_HEADING[node.kind] ?? says, top, target, {
        waits,
        unit: node.unit,
        lens: node.kind === "logits" ? undefined : lens.name,
      }),
      !node.only && otherTokens(other, graph),
      WRITERS.has(node.kind) && collapsedTokens(lens.least, node.bottom, target, detail.readings),
      readingsSection(detail.readings, target),
      targetSection(node, graph, detail.foil ?? null, other),
      !node.only &&
        attentionSection(
          graph,
          detail.attention ?? null,
          node.kind === "head" ? knownAttention(state, node) : new Map(),
          node.kind === "query" ? null : node.source,
          controller.live && node.head !== null && !isRouteId(node.id) && detail.attention
            ? (anchor, position) => why.toggle(anchor, `L${node.layer}.H${node.head}`, position)
            : null,
        ),
      detail.sources && sourcesOf(graph, node, other, controller),
      problemNote(state),
    ];
  }

  /**
   * @param {State} state
   * @param {string} id
   */
  function unknownNode(state, id) {
    return [
      heading(
        id,
        null,
        isWaiting(state, id)
          ? "asking the kernel…"
          : "This graph has no such part. It may belong to another focus or prompt.",
      ),
      state.detailsMissing[id] && h("p", { class: "vw-side-note" }, state.detailsMissing[id]),
      problemNote(state),
      footer(id),
    ];
  }

  /**
   * @param {State} state
   * @param {FlowGraph} graph
   */
  function manyNodes(state, graph) {
    const nodes = state.selection.map((id) => ({ id, node: knownNode(state, id) }));
    const total = sumOf(nodes.map(({ node }) => node));
    return [
      heading(
        `${nodes.length} parts`,
        null,
        total !== null && `together ${signed(total)} for ${graph.target.text}`,
      ),
      h(
        "ul",
        { class: "vw-selected" },
        nodes.map(({ id, node }) =>
          h(
            "li",
            {},
            h(
              "button",
              {
                class: "vw-selected-part",
                title: node ? titleOf(node, graph) : id,
                click: () => controller.dispatch({ type: "select", nodes: [id] }),
              },
              h("span", { class: "vw-token" }, node?.label ?? "–"),
              h("span", { class: "vw-selected-name" }, id),
              node?.logit != null &&
                h("span", { class: node.logit < 0 ? "negative" : "positive" }, signed(node.logit)),
            ),
            iconButton("close", `Take ${id} out`, () =>
              controller.dispatch({ type: "select", nodes: [id], additive: true }),
            ),
          ),
        ),
      ),
      problemNote(state),
      footer(state.selection.join(", ")),
    ];
  }

  /**
   * @param {string} title
   * @param {string | null} [id] Of the one node that it is about.
   * @param {Child | Child[]} [facts]
   */
  function heading(title, id = null, facts = null) {
    return h(
      "div",
      { class: "vw-side-head" },
      h("h2", {}, title),
      facts && h("p", { class: "vw-side-facts" }, facts),
      id !== null && pinButton(id),
      iconButton(
        "close",
        "Close the panel (Escape)",
        () => controller.dispatch({ type: "select", nodes: [] }),
        { "data-role": "close-panel" },
      ),
    );
  }

  /** @param {string} id */
  function pinButton(id) {
    const { pins } = controller.getState();
    const pinned = pins.includes(id);
    const full = !pinned && pins.length >= MOST_PINS;
    const label = full
      ? `${MOST_PINS} nodes are pinned: take one out first`
      : pinned
        ? "Unpin"
        : "Pin, to compare it with others";
    return iconButton(
      "pin",
      label,
      () => controller.dispatch({ type: pinned ? "unpin" : "pin", node: id }),
      { "data-role": "pin", "aria-pressed": String(pinned), disabled: full },
    );
  }

  /** @param {State} state */
  function problemNote(state) {
    const problem = state.problems.find(({ key }) => key === "details");
    if (!problem) return null;
    return h(
      "p",
      { class: "vw-side-note", role: "status", "aria-live": "off" },
      problem.message,
      problem.retry && " ",
      problem.retry &&
        h(
          "button",
          {
            class: "vw-link",
            "data-role": "retry-details",
            click: () => controller.dispatch({ type: "retry", key: "details" }),
          },
          "try again",
        ),
    );
  }

  /**
   * @param {string} id
   * @param {State} [state] For what can be said of one node's lenses.
   */
  function footer(id, state) {
    const label = id.length > 24 ? "copy ids" : `copy ${id}`;
    const button = copyButton(label, () => id, { "data-role": "copy-id" });
    return h("div", { class: "vw-side-foot" }, state && fitSection(state), button);
  }

  function destroy() {
    stopFollowing();
    roving.destroy();
  }

  return { el, update, roving, destroy };
}

/**
 * @param {FlowGraph} graph
 * @param {Node | Detail} node
 * @param {Partial<Detail> | null} other The same in the other prompt.
 * @param {Controller} controller
 */
function sourcesOf(graph, node, other, { live, dispatch }) {
  const { against } = graph;
  const { sources, attention } = /** @type {Partial<Detail>} */ (node);
  if (!sources) return null;
  if (!against || !other?.sources) return sourcesSection(graph, sources);
  const both = { ...graph, against };
  const rows = sourceRows(both, sources, other, attention ?? null);
  const bring = (/** @type {string} */ id) => dispatch({ type: "bring", node: id });
  return bothSources(both, rows, live && node.kind === "head" ? { of: node.id, bring } : null);
}

/**
 * @param {State} state
 * @param {string} id
 */
function isWaiting(state, id) {
  const failed = state.problems.some(({ key }) => key === "details");
  return state.detailsAsked.includes(id) && !failed;
}

/**
 * @param {Node} node
 * @param {FlowGraph} graph
 */
function titleOf(node, graph) {
  return [nodeTitle(node, graph), contribution(node, graph)].filter(Boolean).join(": ");
}

/**
 * The sum of contributions, where no part can lie within another.
 *
 * @param {(Node | null)[]} nodes
 */
function sumOf(nodes) {
  const kinds = new Set(nodes.map((node) => node?.kind));
  if (kinds.size !== 1 || kinds.has("residual") || kinds.has("norm")) return null;
  if (nodes.some((node) => node?.logit == null)) return null;
  return nodes.reduce((sum, node) => sum + (node?.logit ?? 0), 0);
}
