/** Where each layer stands from left to right: closed ones share what the opened ones leave. */

/**
 * @typedef {object} Elastic
 * @property {number} least
 * @property {number} ideal
 *
 * @typedef {object} Column
 * @property {number} layer
 * @property {number} x
 * @property {number} width
 * @property {boolean} open
 *
 * @typedef {object} Columns
 * @property {Column[]} columns
 * @property {number} closedWidth
 * @property {{x: number, width: number}} start The token's embedding, where the river springs.
 * @property {{x: number, width: number}} tail The river's last stretch, after the last layer.
 * @property {{x: number, width: number}} prediction
 * @property {number} width Of the whole drawing; more than was asked for when layers do not fit.
 */

const NARROWEST = 6;
const NARROWEST_BESIDE_OPEN = 5.4;
const COMFORTABLE = 8;
/** Of what is left when all is comfortable: the share that opened layers get. */
const FOR_OPEN = 0.72;
const WIDEST = 190;
const RIGHT_PAD = 10;

/** @param {number} width */
function frame(width, anyOpen = false) {
  const roomy = width >= (anyOpen ? 1400 : 860);
  const tight = anyOpen && width < 1180;
  return {
    left: width >= 640 && !tight ? 66 : 46,
    fan: roomy ? 50 : tight ? 16 : 28,
    prediction: roomy ? Math.min(210, width * 0.16 + 20) : tight ? 94 : width >= 560 ? 120 : 110,
  };
}

/**
 * @param {object} wish
 * @param {number} wish.layers
 * @param {Map<number, Elastic>} wish.open
 * @param {number} wish.width
 * @param {number} wish.startWidth
 * @param {number} wish.tailWidth
 * @returns {Columns}
 */
export function placeColumns({ layers, open, width, startWidth, tailWidth }) {
  const { left, fan, prediction } = frame(width, open.size > 0);
  const fixed = left + startWidth + tailWidth + fan + prediction + RIGHT_PAD;
  const { closedWidth, stretch } = shareOut(layers - open.size, open, width - fixed);

  let x = left + startWidth;
  const columns = Array.from({ length: layers }, (_, layer) => {
    const elastic = open.get(layer);
    const columnWidth = elastic
      ? elastic.least + stretch * (elastic.ideal - elastic.least)
      : closedWidth;
    const column = { layer, x, width: columnWidth, open: elastic !== undefined };
    x += columnWidth;
    return column;
  });
  const tail = { x, width: tailWidth };
  const bars = { x: x + tailWidth + fan, width: prediction };
  return {
    columns,
    closedWidth,
    start: { x: left, width: startWidth },
    tail,
    prediction: bars,
    width: Math.max(width, Math.ceil(bars.x + bars.width + RIGHT_PAD - 0.01)),
  };
}

/**
 * @param {number} closed How many layers are closed.
 * @param {Map<number, Elastic>} open
 * @param {number} available
 */
function shareOut(closed, open, available) {
  const least = sum([...open.values()].map((elastic) => elastic.least));
  const growth = sum([...open.values()].map((elastic) => elastic.ideal - elastic.least));
  if (open.size === 0) {
    const closedWidth = Math.min(WIDEST, Math.max(NARROWEST, available / Math.max(1, closed)));
    return { closedWidth, stretch: 0 };
  }
  let closedWidth = NARROWEST_BESIDE_OPEN;
  let spare = available - least - closed * closedWidth;
  if (spare <= 0) return { closedWidth, stretch: 0 };
  const comfort = Math.min(spare, closed * (COMFORTABLE - closedWidth));
  closedWidth += closed ? comfort / closed : 0;
  spare -= comfort;
  const stretch = growth > 0 ? Math.min(1, (FOR_OPEN * spare) / growth) : 0;
  spare -= stretch * growth;
  closedWidth += closed ? Math.min(WIDEST - closedWidth, spare / closed) : 0;
  return { closedWidth, stretch };
}

/** @param {number[]} values */
const sum = (values) => values.reduce((total, value) => total + value, 0);
