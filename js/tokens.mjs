/** The style sheet's tokens (custom properties), written short in the bundle: nothing outside asks for them. */

const TOKEN = /--vw-[a-z][\w-]*/g;

/**
 * @param {string[]} files Of one bundle.
 * @returns {string[]} With every token named `--vw` and a letter or two, the commonest shortest.
 */
export function shortTokens(files) {
  /** @type {Map<string, number>} */
  const counts = new Map();
  for (const [name] of files.flatMap((text) => [...text.matchAll(TOKEN)])) {
    counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  const order = [...counts].sort(([a, n], [b, m]) => m - n || (a < b ? -1 : 1));
  const short = new Map(order.map(([name], at) => [name, `--vw${at.toString(36)}`]));
  return files.map((text) => text.replace(TOKEN, (name) => short.get(name) ?? name));
}

/** @param {string} sheet What esbuild leaves as it is in the values of custom properties. */
export const shortSheet = (sheet) =>
  sheet
    .replace(/(--[\w-]+): (?=[^;}])/g, "$1:")
    .replace(/#([\da-f])\1([\da-f])\2([\da-f])\3\b/g, "#$1$2$3");
