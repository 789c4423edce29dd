/** The river through the closed layers: its stretches and its words. */

import { nodeName } from "../../../words/names.js";
import { partingWords } from "../../../words/other-side.js";
import { shadeOf } from "../../shared/scales.js";
import { fitLabel, fitText, textWidth } from "../../shared/text.js";

/** @typedef {import("../../../types.js").Node} Node */
/** @typedef {import("../../shared/graph.js").GraphIndex} GraphIndex */
/** @typedef {import("./columns.js").Columns} Columns */
/** @typedef {import("./parts.js").SceneCell} SceneCell */
/** @typedef {import("./parts.js").RiverText} RiverText */

const RIVER_SIZE = 12;
const THERE_SIZE = 10;
/** Nearer to each other than this, breaks would be most of the river. */
const BREAKS_APART = 6;

/**
 * The river's stretches through closed layers, and its words: runs of one word are merged.
 * @param {GraphIndex} index
 * @param {Columns} columns
 */
export function placeRiver(index, columns) {
  const { graph } = index;
  /** @type {SceneCell[]} */
  const cells = [];
  /** @type {RiverText[]} */
  const texts = [];
  const embed = index.nodes.get("embed");
  const word = graph.tokens[graph.position]?.text ?? embed?.label ?? "";
  const startShade = shadeOf(index.layers[0]?.pre?.target_rank ?? null);
  if (embed) {
    cells.push({
      id: embed.id,
      kind: embed.kind,
      layer: null,
      ...columns.start,
      shade: startShade,
      name: nodeName(index, embed, null, "logit"),
      round: "left",
    });
    texts.push({
      key: "embed",
      x: columns.start.x + columns.start.width / 2,
      text: fitText(word, columns.start.width - 8, RIVER_SIZE),
      caption: null,
      shade: startShade,
      anchor: "middle",
      size: RIVER_SIZE,
      muted: true,
    });
  }

  /** @type {{node: Node, x: number, width: number, ids: string[], shades: Map<number, number>, was?: string, there?: string, of?: string} | null} */
  let run = null;
  const closeRun = () => {
    if (!run) return;
    const text = wordInRun(run.node, run.width);
    if (text) {
      texts.push({
        key: `run:${run.ids[0]}`,
        x: run.x + run.width / 2,
        ...text,
        caption: null,
        was: run.was && fitText(run.was, run.width - 6, 10),
        there: run.was ? undefined : thereFits(run.there ?? "", run.width - 6),
        of: run.of,
        shade: shadeUnder(run),
        anchor: "middle",
        muted: false,
      });
    }
    run = null;
  };
  for (const column of columns.columns) {
    const { post } = index.layers[column.layer];
    if (column.open || !post) {
      closeRun();
      continue;
    }
    const isLast = column.layer === columns.columns.length - 1;
    const width = column.width + (isLast ? columns.tail.width : 0);
    const shade = shadeOf(post.target_rank);
    cells.push({
      id: post.id,
      kind: post.kind,
      layer: post.layer,
      x: column.x,
      width,
      shade,
      name: nodeName(index, post, null, "logit"),
      round: isLast ? "right" : "none",
    });
    if (run && run.node.label !== post.label) closeRun();
    run ??= { node: post, x: column.x, width: 0, ids: [], shades: new Map() };
    run.shades.set(run.width, shade);
    run.width += width;
    run.ids.push(post.id);
    run.was = otherLabel(graph, post) ?? run.was;
    const there = thereLabel(graph, post);
    // The last of a run says most: what was written by then is in it.
    if (there !== undefined) Object.assign(run, { there, of: post.id });
  }
  closeRun();
  return { cells, texts, breaks: runBreaks(index, columns), parting: partingAt(index, columns) };
}

/**
 * Where the two prompts part: at the end of the layer after which they say different tokens.
 * @param {GraphIndex} index
 * @param {Columns} columns
 * @returns {{x: number, name: string} | null}
 */
function partingAt({ graph }, columns) {
  const name = partingWords(graph);
  if (name === null) return null;
  const layer = /^L(\d+)/.exec(graph.against?.parting ?? "")?.[1];
  const column = columns.columns.find((each) => each.layer === Number(layer));
  return { x: column ? column.x : columns.start.x + columns.start.width, name };
}

/**
 * What a stream says in the other prompt, where that is another token.
 * @param {import("../../../types.js").FlowGraph} graph
 * @param {Node} node
 */
export function thereLabel({ against }, { id, label }) {
  const there = against?.streams[id]?.label;
  return there == null || there === label ? undefined : there;
}

/**
 * @param {string} label
 * @param {number} width
 * @returns {string | undefined} With the word for it, where there is room for that.
 */
export function thereFits(label, width) {
  if (label === "") return undefined;
  const said = `there ${label}`;
  const fits = textWidth(said, THERE_SIZE) <= width;
  return fits ? said : fitText(label, width, THERE_SIZE) || undefined;
}

/**
 * What a stream said in the pass as it is, where that is another token.
 * @param {import("../../../types.js").FlowGraph} graph
 * @param {Node} node
 */
export function otherLabel({ before }, { id, label }) {
  const was = before?.streams[id]?.label;
  return was == null || was === label ? undefined : was;
}

/**
 * The shade that lies under the middle of a run, where its word stands.
 * @param {{width: number, shades: Map<number, number>}} run
 */
function shadeUnder(run) {
  let shade = 0;
  for (const [offset, value] of run.shades) if (offset <= run.width / 2) shade = value;
  return shade;
}

/**
 * @param {Node} node
 * @param {number} width
 */
function wordInRun(node, width) {
  const label = node.label ?? "";
  for (const size of [RIVER_SIZE, 11]) {
    if (textWidth(label, size) <= width - 6) return { ...fitLabel(node, width - 6, size), size };
  }
  const text = fitText(label, width - 5, 11);
  return [...text].length >= 3 ? { text, size: 11 } : null;
}

/**
 * Where one word gives way to the next.
 * @param {GraphIndex} index
 * @param {Columns} columns
 */
function runBreaks(index, columns) {
  /** @type {number[]} */
  const breaks = [];
  let before = null;
  for (const column of columns.columns) {
    const label = column.open ? null : (index.layers[column.layer].post?.label ?? "");
    const apart = column.x - (breaks.at(-1) ?? Number.NEGATIVE_INFINITY);
    if (!column.open && before !== label && apart >= BREAKS_APART) breaks.push(column.x);
    before = label;
  }
  return breaks;
}
