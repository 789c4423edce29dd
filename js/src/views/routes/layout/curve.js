/** The shapes of the routes view: a crossing between two columns, and a river. */

const ARC = 8;

const round = (/** @type {number} */ value) => Math.round(value * 100) / 100;
const smooth = (/** @type {number} */ t) => t * t * (3 - 2 * t);

/**
 * @typedef {object} Crossing
 * @property {{x: number, y: number}} from
 * @property {{x: number, y: number}} to Above `from`.
 * @property {number} lane The height of its level run, between the two.
 * @property {number} width Of the run.
 * @property {number} startWidth
 * @property {number} endWidth
 */

/** How far a turn may reach: beyond it a ribbon goes straight. */
const WIDEST_TURN = 26;

/**
 * Leaves one river upwards, turns, runs level, and turns up into the other. The offsets are along
 * the normal, so that it is as wide as it says all along.
 * @param {Crossing} crossing
 * @returns {string} A line, where it has no width.
 */
export function crossing({ from, to, lane, width, startWidth, endWidth }) {
  const side = Math.sign(to.x - from.x) || 1;
  const dx = Math.abs(to.x - from.x);
  const half = width / 2;
  const turn = (/** @type {number} */ rise) =>
    Math.max(0.1, Math.min(rise, dx / 2, Math.max(WIDEST_TURN, half + 4)));
  const [low, high] = [turn(from.y - lane), turn(lane - to.y)];
  /** @type {string[]} */
  const left = [];
  /** @type {string[]} */
  const right = [];
  /**
   * @param {number} x
   * @param {number} y
   * @param {number} angle From upright.
   * @param {number} wide
   */
  const step = (x, y, angle, wide) => {
    const nx = (side * Math.cos(angle) * wide) / 2;
    const ny = (Math.sin(angle) * wide) / 2;
    left.push(`${round(x - nx)},${round(y - ny)}`);
    right.push(`${round(x + nx)},${round(y + ny)}`);
  };
  step(from.x, from.y, 0, startWidth);
  for (let at = 0; at <= ARC; at++) {
    const angle = (Math.PI / 2) * (at / ARC);
    const x = from.x + side * low * (1 - Math.cos(angle));
    const y = lane + low * (1 - Math.sin(angle));
    step(x, y, angle, startWidth + (width - startWidth) * smooth(at / ARC));
  }
  for (let at = ARC; at >= 0; at--) {
    const angle = (Math.PI / 2) * (at / ARC);
    const x = to.x - side * high * (1 - Math.cos(angle));
    const y = lane - high * (1 - Math.sin(angle));
    step(x, y, angle, endWidth + (width - endWidth) * smooth(at / ARC));
  }
  step(to.x, to.y, 0, endWidth);
  if (width === 0) return `M${left.join("L")}`;
  return `M${left.join("L")}L${right.reverse().join("L")}Z`;
}

/** @typedef {{x: number, width: number}} Slot Its middle, and its width. */

const STEPS = 4;
/** Rivers that go on in one another overlap by a hair, or a line would show between them. */
const OVERLAP = 0.4;

/**
 * A river through all its cross sections, from the bottom up. Slight changes of width are straight,
 * or a long river would look like stairs.
 * @param {{slot: Slot, y: number}[]} sections
 */
export function riverPath(sections) {
  /** @type {string[]} */
  const left = [];
  /** @type {string[]} */
  const right = [];
  const step = (/** @type {number} */ from, /** @type {number} */ to, /** @type {number} */ y) => {
    left.push(`${round(from)},${round(y)}`);
    right.push(`${round(to)},${round(y)}`);
  };
  sections.forEach(({ slot, y }, at) => {
    const [l1, r1] = edgesOf(slot);
    const low = sections[at - 1];
    if (low) {
      const [l0, r0] = edgesOf(low.slot);
      const change = Math.max(Math.abs(l1 - l0), Math.abs(r1 - r0));
      const slight = change < 0.7 * (low.y - y);
      // As many points either way: paths that glide into one another must match.
      for (let part = 1; part < STEPS; part++) {
        const way = slight ? part / STEPS : smooth(part / STEPS);
        const height = low.y + ((y - low.y) * part) / STEPS;
        step(l0 + (l1 - l0) * way, r0 + (r1 - r0) * way, height);
      }
    }
    const hair = at === 0 ? OVERLAP : at === sections.length - 1 ? -OVERLAP : 0;
    step(l1, r1, y + hair);
  });
  return `M${left.join("L")}L${right.reverse().join("L")}Z`;
}

/** @param {Slot} slot */
const edgesOf = ({ x, width }) => [x - width / 2, x + width / 2];
