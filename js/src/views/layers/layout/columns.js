/** Where each layer stands from left to right: closed ones share what the opened ones leave. */

/**
 * @typedef {object} Elastic Widths of an open layer.
 * @property {number} stacked With its heads over what they read.
 * @property {number} slim As narrow as can be understood.
 * @property {number} least As narrow as can be read well.
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

/** Beside open layers closed ones give way down to this, and no further than to FLOOR. */
const NARROW = 5.4;
const FLOOR = 1.5;
/** All closed layers together are never squeezed into less than this. */
const LEAST_TOGETHER = 40;
const COMFORTABLE = 8;
/** Of what is left when all is comfortable: the share that opened layers get. */
const FOR_OPEN = 0.72;
const WIDEST = 190;
const RIGHT_PAD = 10;
/** Widths below which the frame gives way. */
const PHONE = 560;

/** @param {number} width */
function frame(width, anyOpen = false) {
  const roomy = width >= (anyOpen ? 1400 : 860);
  const tight = anyOpen && width < 1300;
  const phone = width < PHONE;
  return {
    left: width >= 640 && !tight ? 66 : phone && anyOpen ? 34 : 46,
    fan: roomy ? 50 : phone && anyOpen ? 10 : tight ? 16 : 28,
    prediction: roomy
      ? Math.min(210, width * 0.16 + 20)
      : phone && anyOpen
        ? 66
        : tight
          ? 94
          : width >= PHONE
            ? 120
            : 110,
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
  const { closedWidth, widthOf } = shareOut(layers - open.size, open, width - fixed);

  let x = left + startWidth;
  const columns = Array.from({ length: layers }, (_, layer) => {
    const elastic = open.get(layer);
    const columnWidth = elastic ? widthOf(elastic) : closedWidth;
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
 * @returns {{closedWidth: number, widthOf: (elastic: Elastic) => number}}
 */
function shareOut(closed, open, available) {
  const all = [...open.values()];
  const total = (/** @type {keyof Elastic} */ key) => sum(all.map((elastic) => elastic[key]));
  const between =
    (
      /** @type {keyof Elastic} */ from,
      /** @type {keyof Elastic} */ to,
      /** @type {number} */ part,
    ) =>
    (/** @type {Elastic} */ elastic) =>
      elastic[from] + part * (elastic[to] - elastic[from]);
  const floor = Math.min(FLOOR, LEAST_TOGETHER / Math.max(1, closed));
  const each = (/** @type {number} */ room) => room / Math.max(1, closed);
  if (open.size === 0) {
    const closedWidth = Math.min(WIDEST, Math.max(floor, each(available)));
    return { closedWidth, widthOf: between("least", "least", 0) };
  }
  const beside = available - closed * NARROW;
  if (beside < total("slim")) {
    const slim = available - total("slim");
    if (each(slim) >= floor) {
      return { closedWidth: each(slim), widthOf: between("slim", "slim", 0) };
    }
    const closedWidth = Math.min(NARROW, Math.max(floor, each(available - total("stacked"))));
    const room = (available - closed * closedWidth) / open.size;
    return {
      closedWidth,
      widthOf: ({ stacked, slim: wide }) => Math.max(stacked, Math.min(room, wide - 1)),
    };
  }
  if (beside < total("least")) {
    const growth = total("least") - total("slim");
    const part = growth > 0 ? (beside - total("slim")) / growth : 1;
    return { closedWidth: NARROW, widthOf: between("slim", "least", part) };
  }
  let spare = beside - total("least");
  const comfort = Math.min(spare, closed * (COMFORTABLE - NARROW));
  let closedWidth = NARROW + each(comfort);
  spare -= comfort;
  const growth = total("ideal") - total("least");
  const stretch = growth > 0 ? Math.min(1, (FOR_OPEN * spare) / growth) : 0;
  spare -= stretch * growth;
  closedWidth += closed ? Math.min(WIDEST - closedWidth, each(spare)) : 0;
  return { closedWidth, widthOf: between("least", "ideal", stretch) };
}

/** @param {number[]} values */
const sum = (values) => values.reduce((total, value) => total + value, 0);
