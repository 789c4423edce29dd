/**
 * How much of an open layer is unfolded: as much as there is room for, what the reader turns to
 * first. A folded head is one line: its strongest memory, and what it writes.
 */

import { nodeValue } from "../../shared/graph.js";
import { memoryWeight } from "./blockContent.js";

/** @typedef {import("../../../types.js").Measure} Measure */
/** @typedef {import("../../shared/graph.js").GraphIndex} GraphIndex */
/** @typedef {import("./blockContent.js").BlockContent} BlockContent */
/** @typedef {import("./blockContent.js").HeadBand} HeadBand */

/**
 * @typedef {object} Density Heights in pixels.
 * @property {number} line A folded head.
 * @property {number} slot A row of an unfolded head.
 * @property {number} gap Between two heads.
 * @property {number} other Biases and what is not shown apart.
 * @property {number} neuron
 * @property {number} upperRoom Between the lowest head and the river, where the whole stands.
 * @property {number} lowerRoom Between the river and the first neuron, likewise.
 * @property {number} pill How far from the river's bank the whole stands.
 * @property {number} head Over the first head: the layer's name and the columns'.
 * @property {number} foot
 */

/** @type {Density} As close as can be read. */
const CLOSE = {
  line: 13.5,
  slot: 12.5,
  gap: 1.5,
  other: 13,
  neuron: 12.5,
  upperRoom: 38,
  lowerRoom: 46,
  pill: 20,
  head: 43,
  foot: 6,
};
/** @type {Density} As wide apart as is pleasant. */
export const AIRY = {
  line: 18,
  slot: 14,
  gap: 9,
  other: 18,
  neuron: 19,
  upperRoom: 74,
  lowerRoom: 92,
  pill: 38,
  head: 54,
  foot: 14,
};
/** How many heads come unfolded before anything is set wider apart, and how wide before the rest. */
const FIRST_UNFOLDED = 2;
const EASY = 0.4;
const STEPS = 10;
/** Slots that a head's own ribbon takes where rows of W_O stand under it. */
export const OWN_LANE = 2;

/**
 * @typedef {object} Detail What a scene shows of its open layers.
 * @property {Density} density
 * @property {number} unfolded How many heads of each layer.
 * @property {boolean} stacked Whether heads stand over what they read.
 * @property {boolean} tooTall Whether even the least does not fit.
 */

/**
 * @param {number} part 0 is close, 1 is airy.
 * @returns {Density}
 */
export function densityAt(part) {
  const between = (/** @type {keyof Density} */ key) =>
    CLOSE[key] + part * (AIRY[key] - CLOSE[key]);
  return /** @type {Density} */ (
    Object.fromEntries(
      Object.keys(CLOSE).map((key) => [key, between(/** @type {keyof Density} */ (key))]),
    )
  );
}

/**
 * What a head sums up: memories that are not drawn, and what an intervention changed.
 * @param {HeadBand} band
 */
export const restsOf = ({ rest, edit }) => [rest, edit].flatMap((node) => node ?? []);

/**
 * @param {HeadBand} band
 * @param {boolean} stacked
 */
function slotsOf(band, stacked) {
  const { query, memories, rows } = band;
  const rests = restsOf(band).length;
  if (stacked) return 1 + (query ? 1 : 0) + memories.length + rests;
  const answers = memories.length + Math.max(query ? 1 : 0, rests);
  return Math.max(2, answers, rows.length ? rows.length + OWN_LANE : 0);
}

/** What a folded head would not show. */
const folds = (/** @type {HeadBand} */ band) => band.query !== null || band.memories.length > 1;

/**
 * @param {HeadBand} band
 * @param {Detail} detail
 * @param {boolean} unfolded
 */
export function bandHeight(band, { density, stacked }, unfolded) {
  return unfolded ? density.slot * slotsOf(band, stacked) : density.line;
}

/**
 * @param {HeadBand[]} bands
 * @param {Detail} detail
 * @returns {number} The height of a layer's heads, whichever of them are unfolded.
 */
export function bandsHeight(bands, detail) {
  const { density, unfolded } = detail;
  const more = bands
    .map((band) => bandHeight(band, detail, true) - density.line)
    .sort((a, b) => b - a)
    .slice(0, unfolded)
    .reduce((sum, each) => sum + Math.max(0, each), 0);
  return bands.length * (density.line + density.gap) + more;
}

/**
 * The widest detail that fits.
 *
 * @param {boolean} stacked
 * @param {number} most How many heads a layer has at most.
 * @param {(detail: Detail) => boolean} fits
 * @returns {Detail}
 */
export function chooseDetail(stacked, most, fits) {
  /** @type {Detail} */
  // The head that the reader turns to has its room in any case.
  let best = { density: densityAt(0), unfolded: Math.min(1, most), stacked, tooTall: false };
  if (!fits(best)) return { ...best, tooTall: true };
  const widen = (/** @type {Detail} */ wider) => {
    if (!fits(wider)) return false;
    best = wider;
    return true;
  };
  const unfold = (/** @type {number} */ upTo) => {
    while (best.unfolded < upTo && widen({ ...best, unfolded: best.unfolded + 1 }));
  };
  const spread = (/** @type {number} */ from, /** @type {number} */ to) => {
    for (let step = 1; step <= STEPS; step++) {
      const part = from + ((to - from) * step) / STEPS;
      if (!widen({ ...best, density: densityAt(part) })) return;
    }
  };
  unfold(Math.min(FIRST_UNFOLDED, most));
  spread(0, EASY);
  unfold(most);
  if (best.unfolded === most) spread(EASY, 1);
  return best;
}

/**
 * The heads of a layer that are unfolded: those the reader turned to last, then the strongest.
 *
 * @param {HeadBand[]} bands Strongest first.
 * @param {number} count
 * @param {string[]} interest Ids of heads, the latest first.
 * @returns {Set<string>}
 */
export function unfoldedHeads(bands, count, interest) {
  const ids = bands.filter(folds).map(({ head }) => head.id);
  const wanted = interest.filter((id) => ids.includes(id));
  return new Set([...new Set([...wanted, ...ids])].slice(0, count));
}

/**
 * What a folded head shows: of its memories the one that counts most.
 *
 * @param {HeadBand} band
 * @param {GraphIndex} index
 * @param {Measure} measure
 * @returns {HeadBand}
 */
export function folded(band, index, measure) {
  const size = (/** @type {HeadBand["memories"][number]} */ memory) =>
    Math.abs((memory.value && nodeValue(index, memory.value, measure)) ?? memoryWeight(memory));
  const [strongest] = [...band.memories].sort((a, b) => size(b) - size(a));
  return {
    ...band,
    query: null,
    memories: strongest ? [strongest] : [],
    rest: null,
    edit: null,
    rows: [],
  };
}

/**
 * The head that a node is, or belongs to.
 * @param {string | null | undefined} id
 */
export const headOf = (id) => /^L\d+\.H\d+(?=\.|$)/.exec(id ?? "")?.[0] ?? null;
