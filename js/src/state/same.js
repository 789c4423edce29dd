/** Whether what the host says and what the state says differ. */

/**
 * Whether two trait values say the same. Tokens are the same by number: the kernel adds their text.
 * What is done to a part is the same if all of it is.
 *
 * @param {unknown} a
 * @param {unknown} b
 * @returns {boolean}
 */
export function sameValue(a, b) {
  if (Object.is(a, b)) return true;
  if (Array.isArray(a) && Array.isArray(b)) {
    return a.length === b.length && a.every((value, index) => sameValue(value, b[index]));
  }
  if (isToken(a) && isToken(b)) return a.id === b.id;
  if (!isRecord(a) || !isRecord(b)) return false;
  const names = Object.keys(a);
  return (
    names.length === Object.keys(b).length &&
    names.every((name) => name in b && sameValue(a[name], b[name]))
  );
}

/**
 * @param {unknown} value
 * @returns {value is Record<string, unknown>}
 */
const isRecord = (value) => typeof value === "object" && value !== null && !Array.isArray(value);

/**
 * @param {unknown} value
 * @returns {value is {id: number | string}}
 */
function isToken(value) {
  return typeof value === "object" && value !== null && "id" in value && !("action" in value);
}
