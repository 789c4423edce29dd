/** Puts lists of tokens beside each other, those that several have on one line. */

/** @import { ReadToken } from "../../types.js" */

/**
 * @typedef {object} Line
 * @property {boolean} common
 * @property {(ReadToken | null)[]} cells One a list; null where it has none there.
 */

/**
 * Common tokens first, those that most lists have before others, then the likeliest; below them, each
 * list's own.
 *
 * @param {ReadToken[][]} lists The likeliest first.
 * @param {number} most Lines.
 * @returns {Line[]}
 */
export function alignTokens(lists, most) {
  /** @type {Map<number, (ReadToken | null)[]>} */
  const byToken = new Map();
  lists.forEach((tokens, at) => {
    for (const token of tokens) {
      const cells = byToken.get(token.id) ?? lists.map(() => null);
      cells[at] = token;
      byToken.set(token.id, cells);
    }
  });
  const countOf = (/** @type {(ReadToken | null)[]} */ cells) =>
    cells.filter((token) => token !== null).length;
  const likeliest = (/** @type {(ReadToken | null)[]} */ cells) =>
    Math.max(...cells.map((token) => token?.probability ?? token?.score ?? 0));
  const common = [...byToken.values()]
    .filter((cells) => countOf(cells) > 1)
    .sort((a, b) => countOf(b) - countOf(a) || likeliest(b) - likeliest(a))
    .map((cells) => ({ common: true, cells }));
  const own = lists.map((tokens) =>
    tokens.filter(({ id }) => countOf(byToken.get(id) ?? []) === 1),
  );
  const deepest = Math.max(0, ...own.map(({ length }) => length));
  const lines = Array.from({ length: deepest }, (_, line) => ({
    common: false,
    cells: own.map((tokens) => tokens[line] ?? null),
  }));
  return [...common, ...lines].slice(0, most);
}
