/** Places labels above or below their anchors in lanes, so that none covers another or a leader. */

/**
 * @typedef {object} LabelRequest
 * @property {string} id
 * @property {number} anchor The x that the label's leader comes from.
 * @property {number} width
 * @property {number} priority Larger ones are placed first.
 *
 * @typedef {object} PlacedLabel
 * @property {string} id
 * @property {number} anchor
 * @property {number} x Left edge.
 * @property {number} width
 * @property {number} lane 0 is nearest to the anchors.
 *
 * @typedef {[number, number]} Span
 */

const GAP = 8;
const LEADER_INSET = 5;
const BEAM = 80;

/** @typedef {{lanes: number, from: number, to: number, blocked?: Span[]}} Room */

/**
 * @param {LabelRequest[]} requests
 * @param {Room} room
 * @returns {PlacedLabel[]}
 */
export function placeLabels(requests, room) {
  const byPriority = [...requests].sort((a, b) => b.priority - a.priority || a.anchor - b.anchor);
  const most = byPriority[0]?.priority || 1;
  /** @type {{labels: PlacedLabel[], score: number}[]} */
  let beam = [{ labels: [], score: 0 }];
  for (const request of byPriority) {
    const spots = freeSpots(request, room);
    const grown = beam.flatMap((state) => [
      state,
      ...spots
        .filter(({ label }) => state.labels.every((other) => compatible(label, other)))
        .map(({ label, cost }) => ({
          labels: [...state.labels, label],
          score: state.score + 1 + request.priority / most - cost,
        })),
    ]);
    beam = grown.sort((a, b) => b.score - a.score).slice(0, BEAM);
  }
  return [...beam[0].labels].sort((a, b) => a.anchor - b.anchor);
}

/**
 * Where one label may stand by itself; far lanes and sideways steps cost a little.
 * @param {LabelRequest} request
 * @param {Room} room
 */
function freeSpots({ id, anchor, width }, { lanes, from, to, blocked = [] }) {
  /** @type {{label: PlacedLabel, cost: number}[]} */
  const spots = [];
  for (let lane = 0; lane < lanes; lane++) {
    shifts(width).forEach((shift, step) => {
      const x = Math.max(from, Math.min(to - width, anchor - width / 2 + shift));
      if (anchor < x + LEADER_INSET || anchor > x + width - LEADER_INSET) return;
      if (blocked.some(([start, end]) => x < end + GAP && x + width > start - GAP)) return;
      spots.push({ label: { id, anchor, x, width, lane }, cost: 0.06 * lane + 0.012 * step });
    });
  }
  return spots;
}

/** Sideways steps to try, the smallest first, as far as the leader still ends under the label. */
function shifts(/** @type {number} */ width) {
  const reach = width / 2 - LEADER_INSET;
  return [0, 0.35, -0.35, 0.7, -0.7, 1, -1].map((step) => step * Math.max(0, reach));
}

/**
 * @param {PlacedLabel} a
 * @param {PlacedLabel} b
 */
function compatible(a, b) {
  if (a.lane === b.lane) return a.x + a.width + GAP <= b.x || b.x + b.width + GAP <= a.x;
  const [near, far] = a.lane < b.lane ? [a, b] : [b, a];
  const leaderClear = far.anchor < near.x - 3 || far.anchor > near.x + near.width + 3;
  return leaderClear;
}
