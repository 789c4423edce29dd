/** The columns inside an open layer, from their least to their ideal widths. */

/**
 * @typedef {object} Grid Offsets from the block's left edge.
 * @property {boolean} tokens Whether the tokens that are read from stand at the left.
 * @property {number} tokenRight Where the source tokens' labels end and their bars begin.
 * @property {number} keyX
 * @property {number} keyRight
 * @property {number} keyLabel
 * @property {boolean} keyNumbers
 * @property {number} valueX
 * @property {number} valueRight
 * @property {number} valueLabel
 * @property {boolean} valueNumbers
 * @property {number} headX
 * @property {number} headRight
 * @property {number} headLabel
 * @property {number | null} rowX
 * @property {number} rowRight
 * @property {number} rowLabel
 * @property {boolean} neuronKeys Whether what neurons look for is shown.
 * @property {number} neuronKeyX
 * @property {number} neuronKeyRight
 * @property {number} neuronKeyLabel
 * @property {number} neuronX
 * @property {number} neuronLabel
 * @property {number} stackRoom How wide the ribbons into a whole may be together.
 * @property {number} midX
 * @property {number} postX
 * @property {number} width
 * @property {number} there What stands between a number and its tag: the other prompt's, or nothing.
 */

export const BAR = { token: 5, memory: 4, head: 6, neuron: 5 };
export const LABEL_GAP = 6;
export const NUMBER_ROOM = 42;
export const TAG_ROOM = 28;
export const WEIGHT_ROOM = 34;
/** What the other prompt's numbers take, beside those of this one. */
export const THERE_ROOM = 38;
const PAD = 12;

/**
 * @param {boolean} hasRows Whether rows of W_O are shown.
 * @param {number} stretch −1 is as narrow as can be understood, 0 as narrow as can be read well, 1
 *   as wide as is pleasant.
 * @param {number} [there] Room for the other prompt's numbers.
 * @returns {Grid}
 */
export function blockGrid(hasRows, stretch, there = 0) {
  const between = (
    /** @type {number} */ slim,
    /** @type {number} */ least,
    /** @type {number} */ ideal,
  ) => (stretch < 0 ? least + stretch * (least - slim) : least + stretch * (ideal - least));

  const pad = between(8, PAD, PAD);
  const tokenRight = pad + between(34, 48, 76);
  const keyX = tokenRight + BAR.token + between(16, 30, 84);
  const keyLabel = between(34, 54, 84);
  const keyNumbers = stretch > -0.45;
  const keyRight = keyX + BAR.memory + LABEL_GAP + keyLabel + (keyNumbers ? WEIGHT_ROOM : 0);
  const valueX = keyRight + between(8, 13, 40);
  const valueLabel = between(38, 54, 84);
  const valueNumbers = stretch > 0.3;
  const valueRight =
    valueX + BAR.memory + LABEL_GAP + valueLabel + (valueNumbers ? NUMBER_ROOM - 2 : 4);
  const headX = valueRight + between(12, 24, 64);
  const headLabel = between(52, 83, 106);
  const headRight = headX + BAR.head + LABEL_GAP + headLabel + TAG_ROOM + there + NUMBER_ROOM;
  const rowX = hasRows ? headRight + between(14, 26, 48) : null;
  const rowLabel = between(44, 60, 84);
  const rowRight =
    rowX === null ? headRight : rowX + BAR.memory + LABEL_GAP + rowLabel + NUMBER_ROOM;
  const stackRoom = between(24, 36, 80);
  const midX = rowRight + between(8, 18, 52) + stackRoom / 2;
  const postX = midX + between(44, 66, 128);
  const neuronKeyLabel = between(62, 88, 128);
  return {
    tokens: true,
    tokenRight,
    keyX,
    keyRight,
    keyLabel,
    keyNumbers,
    valueX,
    valueRight,
    valueLabel,
    valueNumbers,
    headX,
    headRight,
    headLabel,
    rowX,
    rowRight,
    rowLabel,
    neuronKeys: true,
    neuronKeyX: valueRight - neuronKeyLabel - BAR.neuron - LABEL_GAP - 4,
    neuronKeyRight: valueRight,
    neuronKeyLabel,
    neuronX: headX,
    neuronLabel: headLabel,
    stackRoom,
    midX,
    postX,
    width: postX + between(34, 56, 124),
    there,
  };
}

/** The least that a word of a neuron needs where heads stand over what they read. */
const STACKED_LABEL = { key: 44, neuron: 52 };
/** What else a neuron's key takes: the line that it reads by, its bar, and the ribbon from it. */
const STACKED_KEY = { before: 8, after: BAR.neuron + LABEL_GAP + 14 };

/**
 * For a narrow screen: heads, and what an unfolded one reads from under it; neurons, beside what they
 * look for where that has room.
 * @param {number} width
 * @param {number} there
 * @returns {Grid}
 */
function stackedGrid(width, there) {
  const headX = 8;
  const stackRoom = 22;
  const postX = width - 20;
  const midX = postX - 26;
  const headRight = midX - stackRoom / 2 - 8;
  const half = (headRight - headX - 12) / 2;
  const keyX = headX + 12;
  const keyRight = keyX + half - 6;
  const headLabel = headRight - headX - BAR.head - LABEL_GAP - TAG_ROOM - there - NUMBER_ROOM;
  const words = headLabel - STACKED_KEY.before - STACKED_KEY.after;
  const neuronKeys = words >= STACKED_LABEL.key + STACKED_LABEL.neuron;
  const neuronKeyX = headX + STACKED_KEY.before;
  const neuronKeyLabel = Math.max(STACKED_LABEL.key, 0.45 * words);
  const neuronX = neuronKeys ? neuronKeyX + STACKED_KEY.after + neuronKeyLabel : headX;
  return {
    tokens: false,
    tokenRight: headX,
    keyX,
    keyRight,
    keyLabel: half - 6 - BAR.memory - LABEL_GAP,
    keyNumbers: false,
    valueX: keyRight + 6,
    valueRight: headRight,
    valueLabel: half - BAR.memory - LABEL_GAP,
    valueNumbers: false,
    headX,
    headRight,
    headLabel,
    rowX: null,
    rowRight: headRight,
    rowLabel: 0,
    neuronKeys,
    neuronKeyX,
    neuronKeyRight: neuronX - 10,
    neuronKeyLabel,
    neuronX,
    neuronLabel: headLabel - (neuronX - headX),
    stackRoom,
    midX,
    postX,
    width,
    there,
  };
}

/**
 * @typedef {object} Shape What a block needs columns for.
 * @property {boolean} heads
 * @property {boolean} rows Whether rows of W_O are shown.
 * @property {boolean} neurons
 * @property {boolean} [compared] Whether another prompt's numbers stand beside.
 */

/** @param {Shape} shape */
const thereRoom = ({ compared }) => (compared ? THERE_ROOM : 0);

/**
 * Where columns at the left have nothing to hold, the others move up to the edge, as near as their
 * words allow.
 * @param {Shape} shape
 * @param {number} stretch
 * @returns {Grid}
 */
function shapedGrid(shape, stretch) {
  const { heads, rows, neurons } = shape;
  const grid = blockGrid(rows, stretch, thereRoom(shape));
  if (heads) return grid;
  const spare = neurons ? grid.neuronKeyX - 2 * PAD : grid.headX - BAR.head - 2 * PAD;
  return {
    ...grid,
    neuronKeyX: grid.neuronKeyX - spare,
    neuronKeyRight: grid.neuronKeyRight - spare,
    neuronX: grid.neuronX - spare,
    valueRight: grid.valueRight - spare,
    headX: grid.headX - spare,
    headRight: grid.headRight - spare,
    rowRight: grid.rowRight - spare,
    midX: grid.midX - spare,
    postX: grid.postX - spare,
    width: grid.width - spare,
  };
}

/** The least width of a block whose heads stand over what they read. */
const STACKED = 186;

/** @param {Shape} shape */
export function blockElastic(shape) {
  return {
    stacked: STACKED,
    slim: shapedGrid(shape, -1).width,
    least: shapedGrid(shape, 0).width,
    ideal: shapedGrid(shape, 1).width,
  };
}

/**
 * @param {Shape} shape
 * @param {number} width
 */
export function gridForWidth(shape, width) {
  const { slim, least, ideal } = blockElastic(shape);
  if (width < slim - 0.5) return stackedGrid(width, thereRoom(shape));
  if (width < least) return shapedGrid(shape, (width - least) / (least - slim));
  return shapedGrid(shape, Math.min(1, (width - least) / (ideal - least)));
}
