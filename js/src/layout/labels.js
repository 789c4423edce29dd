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

/**
 * @param {LabelRequest[]} requests
 * @param {{lanes: number, from: number, to: number, blocked?: Span[]}} room
 * @returns {PlacedLabel[]}
 */
export function placeLabels(requests, { lanes, from, to, blocked = [] }) {
  /** @type {PlacedLabel[]} */
  const placed = [];
  const byPriority = [...requests].sort((a, b) => b.priority - a.priority || a.anchor - b.anchor);
  for (const request of byPriority) {
    const spot = findSpot(request, placed, { lanes, from, to, blocked });
    if (spot) placed.push(spot);
  }
  return placed.sort((a, b) => a.anchor - b.anchor);
}

/**
 * @param {LabelRequest} request
 * @param {PlacedLabel[]} placed
 * @param {{lanes: number, from: number, to: number, blocked: Span[]}} room
 */
function findSpot(request, placed, { lanes, from, to, blocked }) {
  const { id, anchor, width } = request;
  for (let lane = 0; lane < lanes; lane++) {
    for (const shift of shifts(width)) {
      const centred = anchor - width / 2 + shift;
      const x = Math.max(from, Math.min(to - width, centred));
      const candidate = { id, anchor, x, width, lane };
      if (anchor < x + LEADER_INSET || anchor > x + width - LEADER_INSET) continue;
      if (blocked.some(([start, end]) => x < end + GAP && x + width > start - GAP)) continue;
      if (placed.every((other) => compatible(candidate, other))) return candidate;
    }
  }
  return null;
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
