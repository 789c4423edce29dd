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
const COMFORTABLE = 13;
const WIDEST = 150;
const RIGHT_PAD = 14;

/** @param {number} width */
function frame(width, anyOpen = false) {
  const roomy = width >= 1180 || (width >= 860 && !anyOpen);
  return {
    left: width >= 640 ? 66 : 50,
    fan: roomy ? 50 : 28,
    prediction: roomy ? Math.min(210, width * 0.16 + 20) : width >= 560 ? 122 : 112,
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
    width: Math.max(width, bars.x + bars.width + RIGHT_PAD),
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
  let spare = available - least - closed * NARROWEST;
  let closedWidth = NARROWEST;
  if (open.size === 0) {
    closedWidth = closed ? Math.min(WIDEST, Math.max(NARROWEST, available / closed)) : 0;
    return { closedWidth, stretch: 0 };
  }
  if (spare <= 0) return { closedWidth, stretch: 0 };
  const comfort = Math.min(spare, closed * (COMFORTABLE - NARROWEST));
  closedWidth += closed ? comfort / closed : 0;
  spare -= comfort;
  const stretch = growth > 0 ? Math.min(1, spare / growth) : 0;
  spare -= stretch * growth;
  closedWidth += closed ? Math.min(WIDEST - closedWidth, spare / closed) : 0;
  return { closedWidth, stretch };
}

/** @param {number[]} values */
const sum = (values) => values.reduce((total, value) => total + value, 0);
