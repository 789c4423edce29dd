/** Why a head looks at a token: who wrote what its query and its key read, as a small matrix. */

import { layerOf } from "../../state/revisions.js";
import { fill, h } from "../../ui/dom.js";
import { createWindow } from "../../ui/window.js";
import { percent, signed } from "../../words/format.js";
import { nameOfPart } from "../../words/interventions.js";
import { tokenText } from "../../words/words.js";

/** @import { Controller } from "../../state/controller.js" */
/** @import { FlowGraph, ScoreMatrix, ScoreSide } from "../../types.js" */
/** @import { Popovers } from "../../ui/popover.js" */

/**
 * @param {Controller} controller
 * @param {Popovers} popovers
 */
export function createWhyWindow({ scoreParts, dispatch, getState }, popovers) {
  /**
   * @param {HTMLElement} anchor
   * @param {string} head
   * @param {number} source
   */
  async function toggle(anchor, head, source) {
    const { graph } = getState();
    if (!graph) return;
    const words = h("p", { role: "status" }, "Asking the kernel…");
    const room = h("div", { class: "vw-why-room" });
    const title = `Why ${nameOfPart(head, graph)} looks at ${tokenText(graph, source)}`;
    const close = () => popovers.close({ focus: true });
    const el = createWindow({ name: "why", role: "why-window", title, close }, words, room);
    popovers.show(anchor, el, { label: title, align: "end" });
    if (!el.isConnected) return;
    try {
      const found = await scoreParts(head, source);
      words.textContent = [
        `score ${signed(found.score)}`,
        `${percent(found.weight)} of its attention`,
        "what each part of the query’s stream adds to it with each part of the key’s",
      ].join(" · ");
      fill(room, drawn(found, graph));
    } catch (error) {
      words.textContent = error instanceof Error ? error.message : String(error);
    }
  }

  /**
   * @param {ScoreMatrix} found
   * @param {FlowGraph} graph
   */
  function drawn({ query, key, matrix, position, source, score }, graph) {
    const most = Math.max(1e-9, ...matrix.flat().map(Math.abs));
    const go = (/** @type {string} */ id, /** @type {number} */ place) => () => {
      popovers.close({ focus: true });
      const layer = layerOf(id) ?? 0;
      if (place === position) dispatch({ type: "reveal", node: id, layer: layerOf(id) });
      else dispatch({ type: "look-at", position: place, layer, nodes: [id] });
    };
    const nameOf = (/** @type {ScoreSide} */ { id, count }, /** @type {number} */ place) => {
      if (id === null) return `${count} more`;
      const short = id.replace(".", " ").replace("attn", "att.").replace("mlp", "MLP");
      if (!/^(embed|L\d)/.test(id)) return short;
      const title = `Go to ${nameOfPart(id, graph)} at ${tokenText(graph, place)}`;
      return h("button", { class: "vw-link", title, click: go(id, place) }, short);
    };
    const cell = (/** @type {number} */ value, whole = false) => {
      const td = h("td", { class: value < 0 ? "negative" : null }, signed(value));
      if (!whole) td.style.setProperty("--vw-part", `${(45 * Math.abs(value)) / most}%`);
      return td;
    };
    const asks = tokenText(graph, position);
    const answers = tokenText(graph, source);
    return h(
      "table",
      {},
      h(
        "thead",
        {},
        h(
          "tr",
          {},
          h("th", { scope: "row" }, "asks ↓ · answers →"),
          key.map((side) => h("th", { scope: "col" }, nameOf(side, source))),
          h("th", { scope: "col", title: `All that ${answers} answers with` }, "all"),
        ),
      ),
      h(
        "tbody",
        {},
        query.map((side, row) =>
          h(
            "tr",
            {},
            h("th", { scope: "row" }, nameOf(side, position)),
            matrix[row].map((value) => cell(value)),
            cell(side.sum, true),
          ),
        ),
        h(
          "tr",
          {},
          h("th", { scope: "row", title: `All that ${asks} asks with` }, "all"),
          key.map((side) => cell(side.sum, true)),
          cell(score, true),
        ),
      ),
    );
  }

  return { toggle };
}
