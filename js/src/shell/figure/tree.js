/**
 * A picture as plain data, and its text as an SVG 1.1 file: no style sheet, no variables, nothing
 * said twice that a child has from its parent.
 */

/**
 * @typedef {Record<string, string>} Style
 *
 * @typedef {object} Shape
 * @property {string} tag
 * @property {Record<string, string | number>} attributes Its own: no child has them from it.
 * @property {Style} style How its own ink and letters come out, in properties that are inherited;
 *   those that make no difference to it are left out.
 * @property {(Shape | string)[]} children
 */

/**
 * What a document starts from, of the properties that are inherited.
 * @type {Style}
 */
const INITIAL = {
  fill: "#000000",
  "fill-opacity": "1",
  stroke: "none",
  "stroke-opacity": "1",
  "stroke-width": "1",
  "stroke-dasharray": "none",
  "stroke-linecap": "butt",
  "stroke-linejoin": "miter",
  "font-style": "normal",
  "font-weight": "400",
  "letter-spacing": "normal",
  "text-anchor": "start",
};

/** An id in a picture; its name is made when all of the picture is known. No text holds this mark. */
const MARK = "\u0001";

/** @param {number} at */
export const idAt = (at) => `${MARK}${at}${MARK}`;

/**
 * @param {string} tag
 * @param {Record<string, string | number | null | undefined>} attributes
 * @param {Style} [style]
 * @param {(Shape | string)[]} [children]
 * @returns {Shape}
 */
export function shape(tag, attributes, style = {}, children = []) {
  const zero = tag === "rect" || tag === "text" ? ["x", "y"] : [];
  const own = Object.entries(attributes).filter(
    ([name, value]) =>
      value !== null && value !== undefined && !(zero.includes(name) && Number(value) === 0),
  );
  return { tag, attributes: /** @type {any} */ (Object.fromEntries(own)), style, children };
}

/**
 * @param {Shape} root An `svg`.
 * @returns {string} The file. The same picture gives the same text, ids included; the ids of two
 *   different pictures differ, so that both may stand in one page.
 */
export function svgText(root) {
  /** @type {string[]} */
  const lines = [];
  write(root, INITIAL, lines);
  const text = `<?xml version="1.0" encoding="UTF-8"?>\n${lines.join("\n")}\n`;
  const name = `vw-${hashOf(text)}`;
  return text.replace(new RegExp(`${MARK}(\\d+)${MARK}`, "g"), `${name}-$1`);
}

/**
 * @param {Shape} node
 * @param {Style} inherited
 * @param {string[]} lines
 */
function write(node, inherited, lines) {
  const isText = node.tag === "text" || node.children.some((child) => typeof child === "string");
  if (isText || node.children.length === 0) {
    lines.push(inline(node, inherited));
    return;
  }
  const style = commonStyle(node, inherited);
  const wraps = node.tag !== "g" || Object.keys({ ...node.attributes, ...style }).length > 0;
  if (wraps) lines.push(`<${node.tag}${attributesText({ ...node.attributes, ...style })}>`);
  for (const child of node.children) {
    write(/** @type {Shape} */ (child), { ...inherited, ...style }, lines);
  }
  if (wraps) lines.push(`</${node.tag}>`);
}

/**
 * Between the parts of a text no white space may come in.
 * @param {Shape} node
 * @param {Style} inherited
 * @returns {string}
 */
function inline(node, inherited) {
  const speaks = node.children.some((child) => typeof child === "string");
  const style =
    speaks || node.children.length === 0
      ? differing(node.style, inherited)
      : commonStyle(node, inherited);
  const inner = { ...inherited, ...style };
  const content = node.children.map((child) =>
    typeof child === "string" ? escaped(child.replaceAll(MARK, "\ufffd")) : inline(child, inner),
  );
  const start = `<${node.tag}${attributesText({ ...node.attributes, ...style })}`;
  return content.length === 0 ? `${start}/>` : `${start}>${content.join("")}</${node.tag}>`;
}

/**
 * @param {Style} wanted
 * @param {Style} given
 * @returns {Style}
 */
const differing = (wanted, given) =>
  Object.fromEntries(Object.entries(wanted).filter(([name, value]) => given[name] !== value));

/**
 * What is worth saying once for all that is inside: where that is shorter than each saying it.
 * @param {Shape} node
 * @param {Style} inherited
 * @returns {Style}
 */
function commonStyle(node, inherited) {
  /** @type {Map<string, Map<string, number>>} */
  const counts = new Map();
  count(node, counts);
  /** @type {Style} */
  const style = {};
  for (const [name, values] of counts) {
    const [best, most] = [...values].sort((a, b) => b[1] - a[1])[0];
    if (best !== inherited[name] && most > 1 + (values.get(inherited[name]) ?? 0)) {
      style[name] = best;
    }
  }
  return style;
}

/**
 * @param {Shape} node
 * @param {Map<string, Map<string, number>>} counts
 */
function count({ style, children }, counts) {
  if (children.length === 0 || children.some((child) => typeof child === "string")) {
    for (const [name, value] of Object.entries(style)) {
      const values = counts.get(name) ?? new Map();
      counts.set(name, values.set(value, (values.get(value) ?? 0) + 1));
    }
  }
  for (const child of children) if (typeof child !== "string") count(child, counts);
}

/** @param {Record<string, string | number>} attributes */
const attributesText = (attributes) =>
  Object.entries(attributes)
    .map(([name, value]) => ` ${name}="${escaped(rounded(name, value))}"`)
    .join("");

/** Attributes whose digits are no lengths. */
const WORDS = /^(id|fill|stroke|stop-color|font-family|mask|clip-path|xmlns|version|.*opacity)$/;

/**
 * A hundredth of a pixel is seen by nobody.
 * @param {string} name
 * @param {string | number} value
 */
function rounded(name, value) {
  if (WORDS.test(name)) return String(value);
  return String(value).replace(/-?\d*\.\d+(e[-+]?\d+)?/g, (number) =>
    String(+Number(number).toFixed(2) || 0),
  );
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: XML has no way to write these.
const UNWRITABLE = /[\u0000\u0002-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]|\p{Surrogate}/gu;

/** @type {Record<string, string>} */
const ENTITIES = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" };

/**
 * @param {string} text
 * @returns {string} As XML; what XML cannot hold is shown as "�".
 */
function escaped(text) {
  return text.replace(UNWRITABLE, "\ufffd").replace(/[&<>"]/g, (sign) => ENTITIES[sign]);
}

/** @param {string} text */
function hashOf(text) {
  let hash = 0x811c9dc5;
  for (let at = 0; at < text.length; at++) {
    hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193);
  }
  return (hash >>> 0).toString(36);
}

/**
 * Definitions that nothing refers to are left out.
 * @param {Shape[]} definitions
 * @param {Shape} content
 * @returns {Shape[]}
 */
export function usedDefinitions(definitions, content) {
  const wanted = new Set(referencesIn(content));
  for (let before = -1; before !== wanted.size; ) {
    before = wanted.size;
    for (const each of definitions) {
      if (wanted.has(String(each.attributes.id))) {
        for (const id of referencesIn(each)) wanted.add(id);
      }
    }
  }
  return definitions.filter(({ attributes }) => wanted.has(String(attributes.id)));
}

/**
 * @param {Shape} node
 * @returns {string[]}
 */
function referencesIn({ attributes, style, children }) {
  const own = Object.values({ ...attributes, ...style }).flatMap((value) => {
    const found = /^url\(#(.*)\)$/s.exec(String(value));
    return found ? [found[1]] : [];
  });
  return [
    ...own,
    ...children.flatMap((child) => (typeof child === "string" ? [] : referencesIn(child))),
  ];
}
