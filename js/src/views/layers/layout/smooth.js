/**
 * A curve through points that never leaves what lies between two of them: a rank that only falls is
 * drawn as one that only falls (Steffen, "A simple method for monotonic interpolation", 1990).
 */

/** @typedef {{x: number, y: number}} Point */

/**
 * @param {Point[]} given From left to right; of several at one place the first counts.
 * @returns {string} A path; nothing for no points.
 */
export function smooth(given) {
  const points = given.filter(({ x }, at) => at === 0 || x > given[at - 1].x);
  if (points.length === 0) return "";
  const rises = points.slice(1).map(({ x, y }, at) => ({
    step: x - points[at].x,
    slope: (y - points[at].y) / (x - points[at].x),
  }));
  const inner = rises.slice(1).map((after, at) => slopeBetween(rises[at], after));
  const first = rises.length > 1 ? (3 * rises[0].slope - inner[0]) / 2 : rises[0]?.slope;
  const last =
    rises.length > 1
      ? (3 * rises[rises.length - 1].slope - inner[inner.length - 1]) / 2
      : rises[0]?.slope;
  const slopes = [first, ...inner, last];
  return rises.reduce(
    (path, { step }, at) => {
      const [from, to] = [points[at], points[at + 1]];
      const third = step / 3;
      const handles = [
        [from.x + third, from.y + third * slopes[at]],
        [to.x - third, to.y - third * slopes[at + 1]],
        [to.x, to.y],
      ];
      return `${path}C${handles.flat().map(short).join()}`;
    },
    `M${short(points[0].x)},${short(points[0].y)}`,
  );
}

/**
 * @param {{step: number, slope: number}} before
 * @param {{step: number, slope: number}} after
 */
function slopeBetween(before, after) {
  const mean = (before.slope * after.step + after.slope * before.step) / (before.step + after.step);
  const least = Math.min(Math.abs(before.slope), Math.abs(after.slope), Math.abs(mean) / 2);
  return (Math.sign(before.slope) + Math.sign(after.slope)) * least;
}

const short = (/** @type {number} */ value) => +value.toFixed(3);
