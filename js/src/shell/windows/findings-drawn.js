/** The findings of a part, drawn: each a sentence and what stands under it. */

import { layerOf } from "../../state/revisions.js";
import { h } from "../../ui/dom.js";
import { percent, plain, signed } from "../../words/format.js";
import { tokenText } from "../../words/words.js";

/** @import { Controller } from "../../state/controller.js" */
/** @import { Composed, ElsewhereReply, FlowGraph, JointEmbedding } from "../../types.js" */

const SVG = "http://www.w3.org/2000/svg";
const PLOT = { width: 560, height: 300, pad: 34 };
/** From this correlation of product and distance on, distance says little. */
const HARDLY = -0.3;
/** Labels nearer to one another than this are left to the pointer. */
const APART = { x: 46, y: 13 };

/**
 * The prompts in which a part matters most.
 *
 * @param {ElsewhereReply} reply
 * @param {FlowGraph} _graph
 * @param {Controller} controller
 * @param {() => void} close
 */
export function drawElsewhere({ prompts, looked, study, mean }, _graph, { dispatch }, close) {
  const most = Math.max(1e-9, ...prompts.map(({ effect }) => Math.abs(effect)));
  const of = study ? `the study’s ${looked} prompts` : `${looked} packaged facts`;
  const go = (/** @type {string} */ prompt) => () => {
    close();
    dispatch({ type: "retrace", prompt });
  };
  const items = prompts.map((each) => {
    const bar = h("span", { class: each.effect < 0 ? "vw-found-bar negative" : "vw-found-bar" });
    bar.style.setProperty("--vw-part", `${(100 * Math.abs(each.effect)) / most}%`);
    const facts = [
      each.token !== null && `looks at ${each.token}, ${percent(each.attention ?? 0)}`,
      each.activation !== null && `fires ${signed(each.activation)}`,
      `says ${each.says.join(" ")}`,
    ].filter(Boolean);
    return h(
      "li",
      {},
      h(
        "button",
        { class: "vw-link", title: "Trace this prompt", click: go(each.text) },
        each.text,
        " ",
        h("b", {}, each.target),
      ),
      h(
        "span",
        { class: "vw-found-effect", title: `${each.target} against ${each.foil}` },
        bar,
        signed(each.effect),
      ),
      h("span", { class: "vw-found-facts" }, facts.join(" · ")),
    );
  });
  return {
    note: `The most telling of ${of}: what ${prompts.some(({ answer }) => answer) ? "the answer" : "the first choice"} loses, against the best other token, without this part (mean size ${plain(mean)}).`,
    content: h("ol", { class: "vw-found-prompts" }, items),
  };
}

/**
 * Queries and keys of a head as points: what is near attends.
 *
 * @param {JointEmbedding} reply
 * @param {FlowGraph} graph
 */
export function drawJoint({ points, correlation, explained }, graph) {
  const { width, height, pad } = PLOT;
  const svg = shape("svg", {
    class: "vw-found-plot",
    viewBox: `0 0 ${width} ${height}`,
    role: "img",
    "aria-label": "Queries and keys, first two components",
  });
  const scale = (/** @type {"x" | "y"} */ axis, /** @type {number} */ room) => {
    const values = points.map((point) => point[axis]);
    const [low, high] = [Math.min(...values), Math.max(...values)];
    const size = Math.max(high - low, 1e-9);
    return (/** @type {number} */ value) => pad + ((value - low) / size) * (room - 2 * pad);
  };
  const [x, y] = [scale("x", width), scale("y", height)];
  /** @type {{x: number, y: number}[]} */
  const taken = [];
  // The focus's own query keeps its label.
  const order = [...points].sort(
    (a, b) =>
      Number(b.position === graph.position && b.kind === "query") -
      Number(a.position === graph.position && a.kind === "query"),
  );
  for (const point of order) {
    const at = { x: x(point.x), y: height - y(point.y) };
    const query = point.kind === "query";
    const here = query && point.position === graph.position;
    const name = `${point.kind} of ${tokenText(graph, point.position)} at position ${point.position}`;
    const mark = query
      ? shape("circle", {
          cx: at.x,
          cy: at.y,
          r: here ? 6 : 4,
          class: here ? "query here" : "query",
        })
      : shape("rect", { x: at.x - 4, y: at.y - 4, width: 8, height: 8, class: "key" });
    mark.append(titled(name));
    svg.append(mark);
    const free = taken.every(
      (other) => Math.abs(other.x - at.x) > APART.x || Math.abs(other.y - at.y) > APART.y,
    );
    if (!free) continue;
    taken.push(at);
    const label = shape("text", {
      x: at.x > width - 90 ? at.x - 9 : at.x + 9,
      y: at.y + 4,
      "text-anchor": at.x > width - 90 ? "end" : "start",
    });
    label.textContent = tokenText(graph, point.position);
    svg.append(label);
  }
  return {
    note: `● queries, □ keys, moved and scaled so that what is near attends${correlation > HARDLY ? ", which it hardly does with so few tokens" : ""} (product and distance: r ${signed(correlation)}; ${percent(explained)} of the variance in these two components). The first token is left out.`,
    content: svg,
  };
}

/**
 * The heads that a head reads, as a table, and as edges in the picture.
 *
 * @param {Composed} reply
 * @param {FlowGraph} graph
 * @param {Controller} controller
 * @param {() => void} close
 */
export function drawReads(reply, graph, { dispatch, getState }, close) {
  const { edges, count, sources } = reply;
  const most = Math.max(1e-9, ...edges.map(({ traced }) => Math.abs(traced ?? 0)));
  const box = h("input", {
    type: "checkbox",
    "data-role": "compose",
    change: () => dispatch({ type: "compose", composed: box.checked ? reply : null }),
  });
  box.checked = getState().composed?.head === reply.head;
  const go = (/** @type {string} */ id) => () => {
    close();
    dispatch({ type: "reveal", node: id, layer: layerOf(id) });
  };
  const rows = edges.map(({ source, reads, score, traced }) => {
    const cell = h(
      "td",
      { class: (traced ?? 0) < 0 ? "negative" : null },
      traced === null ? "–" : `${signed(100 * traced)} %`,
    );
    cell.style.setProperty("--vw-part", `${(45 * Math.abs(traced ?? 0)) / most}%`);
    return h(
      "tr",
      {},
      h(
        "th",
        { scope: "row" },
        h("button", { class: "vw-link", click: go(source) }, source.replace(".", " ")),
      ),
      h("td", { class: "plain" }, reads),
      cell,
      h("td", { class: "plain" }, plain(score)),
    );
  });
  const looks = tokenText(graph, sources.key);
  const heads = ["head", "its", "here", "by weights"].map((name) =>
    h("th", { scope: "col" }, name),
  );
  return {
    note: `How much of this head’s query, and of the key and value of ${looks}, comes from each earlier head here; beside it the composition score of their weights. The largest of ${count}.`,
    content: h(
      "div",
      {},
      h("label", { class: "vw-found-draw" }, box, " draw them in the graph"),
      h("table", {}, h("thead", {}, h("tr", {}, heads)), h("tbody", {}, rows)),
    ),
  };
}

/**
 * @param {string} name
 * @param {Record<string, string | number>} attributes
 */
function shape(name, attributes) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, String(value));
  return element;
}

/** @param {string} words */
function titled(words) {
  const title = shape("title", {});
  title.textContent = words;
  return title;
}
