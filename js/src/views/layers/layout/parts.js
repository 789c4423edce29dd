/**
 * What a scene is made of: plain shapes with positions, ready to be drawn. The origin of y is the
 * river's axis, so that opening a layer moves the axis and nothing along it.
 */

import { EDITED } from "../../../words/interventions.js";

/** @typedef {import("../../shared/scales.js").Sign} Sign */
/** @typedef {import("../../shared/shapes.js").Box} Box */
/** @typedef {import("../../shared/shapes.js").SceneText} SceneText */

/**
 * @typedef {object} SceneNode
 * @property {string} id
 * @property {string} kind
 * @property {number | null} layer
 * @property {number} x
 * @property {number} y
 * @property {Box & {radius: number}} shape Relative to x and y.
 * @property {Box} box What can be pointed at and is outlined; relative to x and y.
 * @property {Sign | "memory" | "neutral" | "rest" | "query"} tone
 * @property {SceneText[]} texts Relative to x and y.
 * @property {string} name
 * @property {"out" | "changed"} [edit] What was done to it.
 * @property {boolean} [only] Whether the other prompt alone has it.
 * @property {{x: number, y: number, size: number, tone: Sign, across: boolean}} [measured] Its measured effect, as
 *   a bracket that is as long as a ribbon of it would be wide.
 *
 * @typedef {object} SceneRibbon
 * @property {string} key
 * @property {string} source
 * @property {string} target
 * @property {string} kind
 * @property {Sign | "memory" | "neutral" | "rest" | "there"} tone
 * @property {string} path
 * @property {boolean} line Stroked (reads and scores), rather than filled.
 * @property {"above" | "below" | null} bank The side it flows into the river from, if it does.
 * @property {string[]} of What flows in it: its source, and what is gathered with that.
 *
 * @typedef {object} SceneCell A stretch of the river.
 * @property {string} id
 * @property {string} kind
 * @property {number | null} layer
 * @property {number} x
 * @property {number} width
 * @property {number} shade
 * @property {string} name
 * @property {"none" | "left" | "right"} round
 * @property {"out" | "changed"} [edit]
 *
 * @typedef {object} RiverText
 * @property {string} key
 * @property {number} x
 * @property {string} text
 * @property {number} [piece] How much of the text is the label: the rest is of the word that it begins.
 * @property {string | null} caption
 * @property {string} [was] What stood there in the pass as it is.
 * @property {string} [there] What stands there in the other prompt.
 * @property {string} [of] The stream that says it there.
 * @property {number} shade
 * @property {"start" | "middle"} anchor
 * @property {number} size
 * @property {boolean} muted
 *
 * @typedef {object} RankPoint
 * @property {number} x
 * @property {number} rank
 * @property {string} id
 */

const PILL_HEIGHT = 8;
const BLOCK_HEIGHT = 14;
export const RIVER_HEIGHT = 38;
export const BANK = RIVER_HEIGHT / 2;
/** Under a panel's upper edge: the line that its name stands on, and the middle of what is beside. */
export const NAME_LINE = 19;
export const BESIDE_NAME = 15;
/** How deep a tributary reaches into the river before it has faded. */
export const MOUTH_DEPTH = 12;
/** How far along the river an open layer's tributary has become part of it. */
export const LEAD = 16;
/** Distance of a closed layer's writers from the river's axis. */
export const WRITER_DISTANCE = 112;

/**
 * The mark of what writes into the river: a pill, or for an opaque part a taller block.
 * @param {string} kind
 * @param {number} width
 * @returns {SceneNode["shape"]}
 */
export function writerShape(kind, width) {
  const height = kind === "opaque" ? BLOCK_HEIGHT : PILL_HEIGHT;
  const radius = kind === "opaque" ? 0 : Math.min(width / 2, 2.5);
  return { x: -width / 2, y: -height / 2, width, height, radius };
}

/**
 * @template {{id: string, name: string, edit?: "out" | "changed"}} Part
 * @param {Part[]} parts
 * @param {Map<string, "out" | "changed">} edits By id.
 * @returns {Part[]} The same list, where nothing was done to any of them.
 */
export function withEdits(parts, edits) {
  if (!parts.some(({ id }) => edits.has(id))) return parts;
  return parts.map((part) => {
    const edit = edits.get(part.id);
    return edit ? { ...part, edit, name: `${part.name}, ${EDITED[edit]}` } : part;
  });
}

/**
 * @param {object} spec
 * @param {string} spec.source
 * @param {string} spec.target
 * @param {string} spec.kind
 * @param {SceneRibbon["tone"]} spec.tone
 * @param {string} spec.path
 * @param {boolean} [spec.line]
 * @param {"above" | "below" | null} [spec.bank]
 * @param {string[]} [spec.of]
 * @returns {SceneRibbon}
 */
export function ribbon(spec) {
  const { source, target, kind, tone, path, line = false, bank = null, of = [source] } = spec;
  return { key: `${source}→${target}`, source, target, kind, tone, path, line, bank, of };
}

/**
 * The small ring of a norm, on the bank where a stream leaves the river.
 * @param {import("../../../types.js").Node} node
 * @param {number} x
 * @param {number} y
 * @param {string} name
 * @returns {SceneNode}
 */
export function normRing(node, x, y, name) {
  return {
    id: node.id,
    kind: node.kind,
    layer: node.layer,
    x,
    y,
    shape: { x: -3.5, y: -3.5, width: 7, height: 7, radius: 3.5 },
    box: { x: -8, y: -8, width: 16, height: 16 },
    tone: "neutral",
    texts: [],
    name,
  };
}
