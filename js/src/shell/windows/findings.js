/** What is found of one head or neuron: elsewhere, its queries and keys, and the heads it reads. */

import { fill, h } from "../../ui/dom.js";
import { createWindow } from "../../ui/window.js";
import { isVoid } from "../../wire/requests.js";
import { hasFindings } from "../../words/findings.js";
import { nameOfPart } from "../../words/interventions.js";
import { drawElsewhere, drawJoint, drawReads } from "./findings-drawn.js";

/** @import { Controller } from "../../state/controller.js" */
/** @import { State } from "../../state/state.js" */
/** @import { FlowGraph } from "../../types.js" */
/** @import { Popovers } from "../../ui/popover.js" */

/** @type {{method: "elsewhere" | "joint_embedding" | "head_reads", name: string, of: RegExp}[]} */
const KINDS = [
  { method: "elsewhere", name: "in other prompts", of: /\.[HN]/ },
  { method: "joint_embedding", name: "queries and keys", of: /\.H/ },
  { method: "head_reads", name: "heads it reads", of: /\.H/ },
];

/**
 * @param {Controller} controller
 * @param {Popovers} popovers
 */
export function createFindings(controller, popovers) {
  /**
   * @param {HTMLElement} anchor
   * @param {string} id
   * @param {typeof KINDS[number]} first
   */
  function open(anchor, id, first) {
    const { graph } = controller.getState();
    if (!graph) return;
    const words = h("p", { role: "status" });
    const room = h("div", { class: "vw-found-room" });
    const tabs = h("span", { class: "vw-presets", role: "group", "aria-label": "Finding" });
    const done = () => popovers.close({ focus: true });
    const title = nameOfPart(id, graph);
    const el = createWindow(
      { name: "found", role: "findings", title, close: done, tools: [tabs] },
      words,
      room,
    );
    let asking = new AbortController();
    popovers.show(anchor, el, {
      label: `Findings: ${title}`,
      align: "end",
      onClose: () => asking.abort(),
    });
    if (!el.isConnected) return;

    /** @param {typeof KINDS[number]} kind */
    async function show(kind) {
      asking.abort();
      asking = new AbortController();
      const { signal } = asking;
      const { method } = kind;
      fill(
        tabs,
        KINDS.filter(({ of }) => of.test(id)).map((each) =>
          h(
            "button",
            {
              class: "vw-preset",
              "aria-pressed": String(each === kind),
              click: () => void show(each),
            },
            each.name,
          ),
        ),
      );
      room.replaceChildren();
      words.textContent = "Asking the kernel…";
      const params = method === "elsewhere" ? { part: id } : { head: id };
      try {
        const reply = await controller.find(method, params, signal, (at, of) => {
          words.textContent =
            method === "elsewhere"
              ? `Looking at prompt ${at + 1} of ${of}…`
              : `Layer ${at} of ${of}…`;
        });
        const now = controller.getState().graph;
        if (signal.aborted || !now) return;
        const drawn = {
          elsewhere: drawElsewhere,
          joint_embedding: drawJoint,
          head_reads: drawReads,
        };
        const { note, content } = drawn[method](reply, now, controller, done);
        words.textContent = note;
        fill(room, content);
      } catch (error) {
        if (signal.aborted || isVoid(error)) return;
        words.textContent = error instanceof Error ? error.message : String(error);
      }
    }
    void show(first);
  }

  /**
   * The panel's way to them.
   *
   * @param {string} id
   * @param {State} state
   * @param {FlowGraph} graph
   */
  return function section(id, { live }, graph) {
    if (!live || !hasFindings(id, graph)) return null;
    return h(
      "div",
      { class: "vw-found-links", "data-role": "findings-section", role: "group" },
      h("span", {}, "found of it"),
      KINDS.filter(({ of }) => of.test(id)).map((kind) => {
        /** @type {HTMLElement} */
        const button = h(
          "button",
          {
            class: "vw-link",
            "aria-haspopup": "dialog",
            "data-role": `find-${kind.method}`,
            click: () => open(button, id, kind),
          },
          kind.name,
        );
        return button;
      }),
    );
  };
}
