/** The river's end: what the model says next, as bars that the stream fans out into. */

import { count, probability } from "../../../words/figures.js";
import { nodeName } from "../../../words/names.js";
import { fitText, textWidth } from "../../shared/text.js";
import { BANK, normRing, RIVER_HEIGHT } from "./parts.js";
import { levelLine, ribbonPath, stack } from "./ribbons.js";

/** @typedef {import("../../shared/graph.js").GraphIndex} GraphIndex */
/** @typedef {import("./columns.js").Columns} Columns */

/**
 * @typedef {object} PredictionRow
 * @property {number | string} id
 * @property {number} x
 * @property {number} y
 * @property {number} width
 * @property {number} height
 * @property {number} bar
 * @property {string} text
 * @property {string} number
 * @property {string} title
 * @property {"target" | "foil" | "other"} role
 * @property {boolean} apart Not among the first: stands below them.
 * @property {string} name
 * @property {{bar: number, text: string} | null} was In the pass as it is, of a rerun.
 * @property {{bar: number, text: string} | null} there In the other prompt.
 *
 * @typedef {object} Prediction
 * @property {PredictionRow[]} rows
 * @property {{key: string, path: string, role: PredictionRow["role"]}[]} ribbons
 * @property {{x: number, y: number, text: string}} heading
 * @property {import("./parts.js").SceneNode[]} nodes
 */

const ROW = 26;
const BAR = 21;
const SHOWN = 7;
const SIZE = 12;
const NUMBER_ROOM = 38;
const LEAST_WORD = 40;

/**
 * @param {GraphIndex} index
 * @param {Columns} columns
 * @returns {Prediction}
 */
export function placePrediction(index, columns) {
  const { prediction, target, foil, before, against } = index.graph;
  const were = chancesIn(before, index.graph);
  const theirs = chancesIn(against, index.graph);
  const { x, width } = columns.prediction;
  const first = prediction.slice(0, SHOWN);
  const extra = [target, foil].filter(isShownApart);
  /** @param {import("../../../types.js").Target | null} token */
  function isShownApart(token) {
    // A direction is no row of this list.
    return token !== null && token.probability !== null && !first.some(({ id }) => id === token.id);
  }
  const height = first.length * ROW + (extra.length ? 8 + extra.length * ROW : 0);
  const top = -(first.length * ROW) / 2;
  /** @param {number | string} id */
  const roleOf = (id) => (isOf(target, id) ? "target" : isOf(foil, id) ? "foil" : "other");

  const barOf = (/** @type {number} */ chance) => Math.max(2, chance * (width - NUMBER_ROOM));
  /** @type {PredictionRow[]} */
  const rows = [];
  const addRow = (
    /** @type {import("../../../types.js").RankedToken | import("../../../types.js").Target} */ token,
    /** @type {number} */ y,
    /** @type {boolean} */ apart,
  ) => {
    const chances = token.probability ?? 0;
    const number = apart && "rank" in token ? `#${count(token.rank ?? 0)}` : probability(chances);
    const besides = width - 20 - textWidth(number, 11, "sans") - 4;
    // Where there is room for one, a word says more than a number.
    const room = besides < LEAST_WORD ? width - 14 : besides;
    const had = were.get(token.id);
    const was = had === undefined ? null : { bar: barOf(had), text: probability(had) };
    const has = theirs.get(token.id);
    const there = has === undefined ? null : { bar: barOf(has), text: probability(has) };
    const role = /** @type {PredictionRow["role"]} */ (roleOf(token.id));
    const text = fitText(token.text, room, SIZE * (role === "target" ? 1.02 : 1));
    const facts = [
      apart && `${probability(chances)} probable`,
      text !== token.text && `in full ${token.text}`,
      role === "target" ? "the target" : "follow this token",
    ];
    // Its name begins with what stands there.
    const kind = apart ? "by rank" : "probable";
    const stand = [text, number, (was ?? there)?.text].filter(Boolean).join(" ");
    const beside = apart ? "probable" : "and";
    const how = was
      ? `${kind} now, ${beside} before${there ? `, ${there.text} in the other prompt` : ""}`
      : there
        ? `${kind} here, ${beside} in the other prompt`
        : kind;
    rows.push({
      id: token.id,
      x,
      y,
      width,
      height: BAR,
      bar: barOf(chances),
      was,
      there,
      text,
      number: besides < LEAST_WORD ? "" : number,
      title: token.text,
      role,
      apart,
      name: `${stand} ${how}: ${facts.filter(Boolean).join(", ")}`,
    });
  };
  first.forEach((token, at) => {
    addRow(token, top + at * ROW + (ROW - BAR) / 2, false);
  });
  extra.forEach((token, at) => {
    if (token) addRow(token, top + first.length * ROW + 8 + at * ROW, true);
  });

  const widths = first.map(({ probability }) => Math.max(0.8, probability * (RIVER_HEIGHT - 4)));
  const starts = stack(widths, 0);
  const end = columns.tail.x + columns.tail.width;
  const ribbons = first.map((token, at) => ({
    key: `logits→${token.id}`,
    role: rows[at].role,
    path: ribbonPath(
      levelLine([end + 8, starts[at]], [x, rows[at].y + BAR / 2]),
      widths[at],
      Math.min(widths[at], BAR),
    ),
  }));
  return {
    rows,
    ribbons,
    heading: { x, y: top - 10, text: "next token" },
    nodes: endNodes(index, end, height),
  };
}

/**
 * @param {import("../../../types.js").Before | null | undefined} said What another pass says.
 * @param {import("../../../types.js").FlowGraph} graph
 * @returns {Map<number | string, number>} Its probabilities, by token.
 */
export function chancesIn(said, { target, foil }) {
  /** @type {Map<number | string, number>} */
  const found = new Map(said?.prediction.map(({ id, probability }) => [id, probability]));
  if (said?.target.probability != null) found.set(target.id, said.target.probability);
  if (foil && said?.foil?.probability != null) found.set(foil.id, said.foil.probability);
  return found;
}

/**
 * @param {GraphIndex} index
 * @param {number} end
 * @param {number} _height
 */
function endNodes(index, end, _height) {
  /** @type {import("./parts.js").SceneNode[]} */
  const nodes = [];
  const norm = index.nodes.get("norm");
  if (norm) nodes.push(normRing(norm, end - 12, -BANK, nodeName(index, norm, null, "logit")));
  const logits = index.nodes.get("logits");
  if (logits) {
    nodes.push({
      id: logits.id,
      kind: logits.kind,
      layer: null,
      x: end + 5.5,
      y: 0,
      shape: { x: -2.5, y: -BANK, width: 5, height: RIVER_HEIGHT, radius: 2 },
      box: { x: -5, y: -BANK - 3, width: 10, height: RIVER_HEIGHT + 6 },
      tone: "neutral",
      texts: [],
      name: nodeName(index, logits, null, "logit"),
    });
  }
  return nodes;
}

/** @param {Prediction} prediction */
export function predictionReach({ rows, heading }) {
  return {
    above: -heading.y + 16,
    below: Math.max(0, ...rows.map(({ y, height }) => y + height)) + 8,
  };
}

/**
 * @param {import("../../../types.js").Target | null} target
 * @param {number | string} id
 * @returns {boolean} Whether it is the target, or one of its tokens.
 */
function isOf(target, id) {
  return target !== null && (target.id === id || !!target.tokens?.some((token) => token.id === id));
}
