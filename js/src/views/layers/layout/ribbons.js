/**
 * Ribbons as filled outlines: a centre line, offset to both sides along its normal, so that a
 * ribbon keeps its width through a bend and its ends lie flush with the nodes they stack at.
 */

/** @typedef {[number, number]} Point */

const SAMPLES = 18;

/** @param {number} value */
const round = (value) => Math.round(value * 100) / 100;

/**
 * @param {Point} a
 * @param {Point} b
 * @param {Point} c
 * @param {Point} d
 * @param {number} [samples]
 * @returns {Point[]}
 */
export function cubic(a, b, c, d, samples = SAMPLES) {
  /** @type {Point[]} */
  const points = [];
  for (let step = 0; step <= samples; step++) {
    const t = step / samples;
    const u = 1 - t;
    const [wa, wb, wc, wd] = [u * u * u, 3 * u * u * t, 3 * u * t * t, t * t * t];
    points.push([
      wa * a[0] + wb * b[0] + wc * c[0] + wd * d[0],
      wa * a[1] + wb * b[1] + wc * c[1] + wd * d[1],
    ]);
  }
  return points;
}

/**
 * From left to right, level at both ends.
 * @param {Point} from
 * @param {Point} to
 */
export function levelLine(from, to) {
  const middle = (from[0] + to[0]) / 2;
  return cubic(from, [middle, from[1]], [middle, to[1]], to);
}

/**
 * Starts level, turns once, ends upright: a fall (or a rise) into a stack beside the stream.
 * @param {Point} from
 * @param {Point} to
 */
export function turningLine(from, to) {
  const rise = to[1] - from[1];
  const bend = Math.sign(rise) * Math.min(Math.abs(rise), 96);
  const knee = from[1] + bend;
  const turn = cubic(
    from,
    [from[0] + 0.72 * (to[0] - from[0]), from[1]],
    [to[0], from[1] + 0.3 * bend],
    [to[0], knee],
  );
  return [...turn, /** @type {Point} */ ([to[0], to[1]])];
}

/**
 * Starts upright beside the stream and bends into its direction inside it, like a tributary.
 * @param {Point} from
 * @param {number} bankY The stream's edge.
 * @param {{lead: number, depth: number}} mouth How far it drifts along and into the stream.
 */
export function tributaryLine(from, bankY, { lead, depth }) {
  const side = Math.sign(bankY - from[1]) || 1;
  const fall = bankY - from[1];
  return cubic(
    from,
    [from[0], from[1] + 0.72 * fall],
    [from[0] + 0.16 * lead, bankY + side * depth],
    [from[0] + lead, bankY + side * depth],
  );
}

/**
 * @param {Point[]} line
 * @param {number} startWidth
 * @param {number} [endWidth]
 */
export function ribbonPath(line, startWidth, endWidth = startWidth) {
  const last = line.length - 1;
  /** @type {string[]} */
  const left = [];
  /** @type {string[]} */
  const right = [];
  for (let index = 0; index <= last; index++) {
    const before = line[Math.max(0, index - 1)];
    const after = line[Math.min(last, index + 1)];
    const [dx, dy] = endTangent(line, index) ?? [after[0] - before[0], after[1] - before[1]];
    const length = Math.hypot(dx, dy) || 1;
    const t = index / last;
    const eased = t * t * (3 - 2 * t);
    const half = (startWidth + (endWidth - startWidth) * eased) / 2;
    const [nx, ny] = [(-dy / length) * half, (dx / length) * half];
    const [x, y] = line[index];
    left.push(`${round(x + nx)},${round(y + ny)}`);
    right.push(`${round(x - nx)},${round(y - ny)}`);
  }
  return `M${left.join("L")}L${right.reverse().join("L")}Z`;
}

/**
 * Chords slant a little at the ends of a sampled curve; ends must be exactly level or upright.
 * @param {Point[]} line
 * @param {number} index
 * @returns {Point | null}
 */
function endTangent(line, index) {
  const last = line.length - 1;
  if (index !== 0 && index !== last) return null;
  const [a, b] = index === 0 ? [line[0], line[1]] : [line[last - 1], line[last]];
  const [dx, dy] = [b[0] - a[0], b[1] - a[1]];
  return Math.abs(dx) > Math.abs(dy) ? [Math.sign(dx), 0] : [0, Math.sign(dy)];
}

/**
 * A read: down (or up) a shared trunk and off it into one node, so that many reads make one line.
 * @param {Point} from
 * @param {Point} to
 * @param {number} trunkX
 * @param {number} [laneY] Where the way from the source to the trunk runs, if it must go sideways.
 */
export function trunkPath(from, to, trunkX, laneY = from[1]) {
  const r = Math.min(5, Math.abs(to[1] - laneY) / 2, Math.abs(to[0] - trunkX) || 5);
  const upward = Math.sign(to[1] - laneY) || 1;
  const outward = Math.sign(to[0] - trunkX) || 1;
  const start =
    laneY === from[1]
      ? `M${round(trunkX)},${round(from[1])}`
      : `M${round(from[0])},${round(from[1])}V${round(laneY - r * Math.sign(laneY - from[1]))}` +
        `Q${round(from[0])},${round(laneY)} ` +
        `${round(from[0] + r * Math.sign(trunkX - from[0]))},${round(laneY)}` +
        `H${round(trunkX - r * Math.sign(trunkX - from[0]))}` +
        `Q${round(trunkX)},${round(laneY)} ${round(trunkX)},${round(laneY + r * upward)}`;
  return (
    `${start}V${round(to[1] - r * upward)}` +
    `Q${round(trunkX)},${round(to[1])} ${round(trunkX + r * outward)},${round(to[1])}` +
    `H${round(to[0])}`
  );
}

/**
 * Centres of widths laid side by side around `centre`.
 * @param {number[]} widths
 * @param {number} centre
 */
export function stack(widths, centre) {
  const total = widths.reduce((sum, width) => sum + width, 0);
  let edge = centre - total / 2;
  return widths.map((width) => {
    edge += width;
    return edge - width / 2;
  });
}
