/** A drawing on the page as plain shapes: what its style sheets make of it, written out. */

import { idAt, shape } from "./tree.js";

/** @import { Shape, Style } from "./tree.js" */

/** Where a drawing says its geometry. Nothing else is taken over: no hook, no name, no handler. */
const GEOMETRY = (
  "x y dx dy x1 y1 x2 y2 cx cy r rx ry width height d transform offset gradientUnits " +
  "patternUnits patternTransform maskUnits"
).split(" ");

/** What a picture has no use for: words about its parts, and what is there for hands. */
const NOT_DRAWN = "title, desc, style, .vw-shut, .vw-leave";
const DEFINES = ["pattern", "mask", "linearGradient"];

/**
 * @typedef {object} Reading
 * @property {(element: Element) => CSSStyleDeclaration} styleOf
 * @property {Map<string, string>} ids What an id on the page is called in the picture.
 */

/**
 * @param {SVGSVGElement} svg On a page, with its style sheets.
 * @param {(element: Element) => CSSStyleDeclaration} styleOf
 * @returns {{definitions: Shape[], content: Shape[]}}
 */
export function readDrawing(svg, styleOf) {
  const named = [...svg.querySelectorAll(DEFINES.map((tag) => `${tag}[id]`).join())];
  const ids = new Map(named.map(({ id }, at) => [id, idAt(at)]));
  const reading = { styleOf, ids };
  const children = [...svg.children];
  const isDefinition = (/** @type {Element} */ { localName }) => localName === "defs";
  return {
    definitions: children.filter(isDefinition).flatMap((defs) => readAll(defs, reading)),
    content: children.filter((child) => !isDefinition(child)).flatMap((one) => read(one, reading)),
  };
}

/**
 * @param {Element} parent
 * @param {Reading} reading
 */
const readAll = (parent, reading) => [...parent.children].flatMap((child) => read(child, reading));

/**
 * @param {Element} element
 * @param {Reading} reading
 * @returns {Shape[]} None for what is not seen.
 */
function read(element, reading) {
  if (element.matches(NOT_DRAWN)) return [];
  const style = reading.styleOf(element);
  const opacity = style.opacity === "" ? 1 : Number(style.opacity);
  if (style.display === "none" || opacity === 0) return [];
  const tag = element.localName;
  /** @type {Record<string, string | number>} */
  const own = {};
  const id = reading.ids.get(element.id);
  if (id) own.id = id;
  for (const name of GEOMETRY) {
    const value = element.getAttribute(name);
    if (value !== null) own[name] = value;
  }
  const mask = element.getAttribute("mask");
  if (mask) own.mask = reference(mask, reading.ids);
  if (opacity < 1) own.opacity = +opacity.toFixed(3);
  if (tag === "stop") return [shape(tag, { ...own, ...stopOf(style) })];
  if (tag === "text") return readText(element, own, reading);
  if (tag === "g" || DEFINES.includes(tag)) {
    const children = readAll(element, reading);
    return children.length > 0 ? [shape(tag, own, {}, children)] : [];
  }
  const ink = inkOf(style, reading.ids);
  const seen = ink.fill !== "none" || ink.stroke !== "none";
  const flat = tag === "rect" && (Number(own.width) === 0 || Number(own.height) === 0);
  return seen && !flat ? [shape(tag, own, ink)] : [];
}

/** @param {CSSStyleDeclaration} style */
function stopOf(style) {
  const { colour, opacity } = paint(style.getPropertyValue("stop-color"));
  return { "stop-color": colour, "stop-opacity": opacity < 1 ? opacity : null };
}

/**
 * A text that stands on a rim of the paper's colour becomes two: SVG 1.1 has no other way to put the
 * rim under the letters.
 *
 * @param {Element} element
 * @param {Record<string, string | number>} own
 * @param {Reading} reading
 * @returns {Shape[]}
 */
function readText(element, own, reading) {
  const text = element.textContent ?? "";
  if (text.trim() === "") return [];
  const style = reading.styleOf(element);
  if (/^\s|\s$|\s\s/.test(text) && style.whiteSpace.startsWith("pre"))
    own["xml:space"] = "preserve";
  const spoken = readSpoken(element, reading);
  const words = shape("text", own, spoken.style, spoken.children);
  if (words.style.stroke === "none" || !style.paintOrder?.startsWith("stroke")) return [words];
  return [
    restyled(words, (each) => ({ ...each, fill: "none" })),
    restyled(words, (each) => ({ ...each, stroke: "none" })),
  ];
}

/**
 * @param {Element} element A text, or a part of one.
 * @param {Reading} reading
 * @returns {{style: Style, children: (Shape | string)[]}} Parts that look like the whole are no parts.
 */
function readSpoken(element, reading) {
  const computed = reading.styleOf(element);
  // SVG 1.1 knows no opacity of a part of a text, only of its ink.
  const opacity = element.localName === "tspan" ? Number(computed.opacity || 1) : 1;
  const style = { ...inkOf(computed, reading.ids, opacity), ...lettersOf(computed) };
  /** @type {(Shape | string)[]} */
  const children = [];
  for (const node of element.childNodes) {
    if (node.nodeType === Node.TEXT_NODE) children.push(node.nodeValue ?? "");
    else if (/** @type {Element} */ (node).localName === "tspan") {
      const part = readSpoken(/** @type {Element} */ (node), reading);
      const alike = JSON.stringify(part.style) === JSON.stringify(style);
      if (alike) children.push(...part.children);
      else children.push(shape("tspan", {}, part.style, part.children));
    }
  }
  return { style, children };
}

/**
 * @param {Shape} node
 * @param {(style: Style) => Style} change
 * @returns {Shape}
 */
function restyled(node, change) {
  const children = node.children.map((child) =>
    typeof child === "string" ? child : restyled(child, change),
  );
  return { ...node, style: relevant(change(node.style)), children };
}

/**
 * @param {CSSStyleDeclaration} style
 * @param {Map<string, string>} ids
 * @param {number} [opacity] Of the whole.
 * @returns {Style}
 */
function inkOf(style, ids, opacity = 1) {
  const fill = paint(style.fill);
  const stroke = paint(style.stroke);
  const width = Number.parseFloat(style.strokeWidth || "1");
  const part = (/** @type {string} */ given, /** @type {number} */ own) =>
    String(+((given ? Number(given) : 1) * own * opacity).toFixed(3));
  return relevant({
    fill: reference(fill.colour, ids),
    "fill-opacity": part(style.fillOpacity, fill.opacity),
    stroke: width > 0 ? reference(stroke.colour, ids) : "none",
    "stroke-opacity": part(style.strokeOpacity, stroke.opacity),
    "stroke-width": String(width),
    "stroke-dasharray": lengths(style.strokeDasharray) || "none",
    "stroke-linecap": style.strokeLinecap || "butt",
    "stroke-linejoin": style.strokeLinejoin || "miter",
  });
}

/**
 * Without a stroke it makes no difference how wide that is.
 * @param {Style} style
 * @returns {Style}
 */
function relevant(style) {
  const gone = [
    ...(style.fill === "none" ? ["fill-opacity"] : []),
    ...(style.stroke === "none"
      ? Object.keys(style).filter((name) => name.startsWith("stroke-"))
      : []),
  ];
  return Object.fromEntries(Object.entries(style).filter(([name]) => !gone.includes(name)));
}

/**
 * @param {CSSStyleDeclaration} style
 * @returns {Style}
 */
function lettersOf(style) {
  return {
    "font-family": families(style.fontFamily),
    "font-size": lengths(style.fontSize),
    "font-style": style.fontStyle || "normal",
    // SVG 1.1 has the hundreds.
    "font-weight": String(100 * Math.round(Number(style.fontWeight || 400) / 100)),
    "letter-spacing": lengths(style.letterSpacing) || "normal",
    "text-anchor": style.textAnchor || "start",
    ...(style.textDecorationLine === "line-through" && { "text-decoration": "line-through" }),
  };
}

/** @param {string} list As CSS writes it. */
export const families = (list) =>
  list
    .split(",")
    .map((name) => name.trim().replace(/"/g, "'"))
    .join(", ");

/** @param {string} value One length or several, in pixels. */
const lengths = (value) => value.replace(/,\s*/g, " ").replace(/(\d)px/g, "$1");

/**
 * @param {string} value
 * @param {Map<string, string>} ids
 * @returns {string} A reference on the page as one in the picture; all else as it is.
 */
function reference(value, ids) {
  const found = /^url\(["']?[^"')]*#([^"')]+)["']?\)/.exec(value);
  if (!found) return value;
  const id = ids.get(found[1]);
  return id ? `url(#${id})` : "none";
}

/**
 * @param {string} value A computed colour: rgb(), rgba(), color(srgb …), or hex.
 * @returns {{colour: string, opacity: number}} As SVG 1.1 writes them: "#rrggbb", "none" or a url().
 */
export function paint(value) {
  const text = value.trim();
  if (text.startsWith("url(")) return { colour: text, opacity: 1 };
  const hex = /^#([0-9a-f]{3}|[0-9a-f]{6})$/i.exec(text)?.[1].toLowerCase();
  if (hex) {
    return { colour: `#${hex.length === 3 ? hex.replace(/./g, "$&$&") : hex}`, opacity: 1 };
  }
  const parts = /^(rgba?|color)\((?:srgb )?([^)]+)\)$/.exec(text);
  if (!parts) return { colour: "none", opacity: 1 };
  const [red, green, blue, opacity = 1] = parts[2].split(/[\s,/]+/).map(Number);
  if (opacity === 0) return { colour: "none", opacity: 1 };
  const most = parts[1] === "color" ? 255 : 1;
  const digits = [red, green, blue].map((part) =>
    Math.round(Math.max(0, Math.min(255, part * most)))
      .toString(16)
      .padStart(2, "0"),
  );
  return { colour: `#${digits.join("")}`, opacity: +opacity.toFixed(3) };
}
