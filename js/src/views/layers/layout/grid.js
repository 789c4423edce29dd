/** The columns inside an open layer, from their least to their ideal widths. */

/**
 * @typedef {object} Grid Offsets from the block's left edge.
 * @property {number} tokenRight Where the source tokens' labels end and their bars begin.
 * @property {number} keyX
 * @property {number} keyRight
 * @property {number} keyLabel
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
 * @property {number} neuronKeyX
 * @property {number} neuronKeyLabel
 * @property {number} stackRoom How wide the ribbons into a whole may be together.
 * @property {number} midX
 * @property {number} postX
 * @property {number} width
 */

export const BAR = { token: 5, memory: 4, head: 6, neuron: 5 };
export const LABEL_GAP = 6;
export const NUMBER_ROOM = 42;
export const TAG_ROOM = 28;
export const WEIGHT_ROOM = 34;
const PAD = 12;

/**
 * @param {boolean} hasRows Whether rows of W_O are shown.
 * @param {number} stretch 0 is as narrow as can be read, 1 as wide as is pleasant.
 * @returns {Grid}
 */
export function blockGrid(hasRows, stretch) {
  const between = (/** @type {number} */ least, /** @type {number} */ ideal) =>
    least + stretch * (ideal - least);

  const tokenRight = PAD + between(48, 76);
  const keyX = tokenRight + BAR.token + between(30, 84);
  const keyLabel = between(54, 84);
  const keyRight = keyX + BAR.memory + LABEL_GAP + keyLabel + WEIGHT_ROOM;
  const valueX = keyRight + between(13, 40);
  const valueLabel = between(54, 84);
  const valueNumbers = stretch > 0.3;
  const valueRight =
    valueX + BAR.memory + LABEL_GAP + valueLabel + (valueNumbers ? NUMBER_ROOM - 2 : 4);
  const headX = valueRight + between(24, 64);
  const headLabel = between(83, 106);
  const headRight = headX + BAR.head + LABEL_GAP + headLabel + TAG_ROOM + NUMBER_ROOM;
  const rowX = hasRows ? headRight + between(26, 48) : null;
  const rowLabel = between(60, 84);
  const rowRight =
    rowX === null ? headRight : rowX + BAR.memory + LABEL_GAP + rowLabel + NUMBER_ROOM;
  const stackRoom = between(36, 80);
  const midX = rowRight + between(18, 52) + stackRoom / 2;
  const postX = midX + between(66, 128);
  const neuronKeyLabel = between(88, 128);
  return {
    tokenRight,
    keyX,
    keyRight,
    keyLabel,
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
    neuronKeyX: valueRight - neuronKeyLabel - BAR.neuron - LABEL_GAP - 4,
    neuronKeyLabel,
    stackRoom,
    midX,
    postX,
    width: postX + between(56, 124),
  };
}

/**
 * @typedef {object} Shape What a block needs columns for.
 * @property {boolean} heads
 * @property {boolean} rows Whether rows of W_O are shown.
 * @property {boolean} neurons
 */

/**
 * Where columns at the left have nothing to hold, the others move up to the edge, as near as their
 * words allow.
 * @param {Shape} shape
 * @param {number} stretch
 * @returns {Grid}
 */
function shapedGrid({ heads, rows, neurons }, stretch) {
  const grid = blockGrid(rows, stretch);
  if (heads) return grid;
  const spare = neurons ? grid.neuronKeyX - 2 * PAD : grid.headX - BAR.head - 2 * PAD;
  return {
    ...grid,
    neuronKeyX: grid.neuronKeyX - spare,
    valueRight: grid.valueRight - spare,
    headX: grid.headX - spare,
    headRight: grid.headRight - spare,
    rowRight: grid.rowRight - spare,
    midX: grid.midX - spare,
    postX: grid.postX - spare,
    width: grid.width - spare,
  };
}

/** @param {Shape} shape */
export function blockElastic(shape) {
  return { least: shapedGrid(shape, 0).width, ideal: shapedGrid(shape, 1).width };
}

/**
 * @param {Shape} shape
 * @param {number} width
 */
export function gridForWidth(shape, width) {
  const { least, ideal } = blockElastic(shape);
  return shapedGrid(shape, Math.min(1, Math.max(0, (width - least) / (ideal - least))));
}
