/** Orders that keep ribbons from crossing: barycenter sweeps over rows that are free to move. */

/**
 * @typedef {object} Link
 * @property {string} source
 * @property {string} target
 * @property {number} weight
 */

/**
 * How much ribbon crosses ribbon between two neighbouring columns.
 * @param {Map<string, number>} left Place of each source.
 * @param {Map<string, number>} right Place of each target.
 * @param {Link[]} links
 */
export function crossings(left, right, links) {
  let total = 0;
  for (let i = 0; i < links.length; i++) {
    for (let j = i + 1; j < links.length; j++) {
      const [a, b] = [links[i], links[j]];
      const above = (left.get(a.source) ?? 0) - (left.get(b.source) ?? 0);
      const below = (right.get(a.target) ?? 0) - (right.get(b.target) ?? 0);
      if (above * below < 0) total += Math.min(a.weight, b.weight);
    }
  }
  return total;
}

/**
 * Orders each group's members by the weighted mean place of what they are linked to. Groups keep
 * their order, ties keep the order they came in, so the same graph always gives the same picture.
 * @param {string[][]} groups
 * @param {Map<string, number>} places
 * @param {Link[]} links From (or to) `places`, to (or from) members of the groups.
 */
export function sweep(groups, places, links) {
  /** @type {Map<string, {sum: number, weight: number}>} */
  const pull = new Map();
  for (const { source, target, weight } of links) {
    const [member, place] = places.has(source)
      ? [target, places.get(source)]
      : [source, places.get(target)];
    if (place === undefined) continue;
    const entry = pull.get(member) ?? { sum: 0, weight: 0 };
    entry.sum += place * weight;
    entry.weight += weight;
    pull.set(member, entry);
  }
  return groups.map((members) =>
    members
      .map((member, index) => {
        const entry = pull.get(member);
        return { member, index, place: entry?.weight ? entry.sum / entry.weight : index };
      })
      .sort((a, b) => a.place - b.place || a.index - b.index)
      .map(({ member }) => member),
  );
}

/** @param {string[]} order */
export const placesOf = (order) => new Map(order.map((id, place) => [id, place]));

/**
 * A few sweeps over members that may move within their groups; the best order seen wins.
 * @param {string[][]} groups
 * @param {Map<string, number>} fixed
 * @param {Link[]} links
 * @param {number} [rounds]
 */
export function untangle(groups, fixed, links, rounds = 3) {
  const cost = (/** @type {string[][]} */ order) => {
    const places = placesOf(order.flat());
    return crossings(
      fixed,
      places,
      links.map((link) =>
        fixed.has(link.source) ? link : { ...link, source: link.target, target: link.source },
      ),
    );
  };
  let best = groups;
  let least = cost(groups);
  let current = groups;
  for (let round = 0; round < rounds && least > 0; round++) {
    current = sweep(current, fixed, links);
    const now = cost(current);
    if (now >= least) break;
    [best, least] = [current, now];
  }
  return best;
}
