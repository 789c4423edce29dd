// What a picture is made of, a line for each of its parts, and the colours it has: for snapshots.
//
// Only what the page's own code decides is read: attributes and declared styles. How wide a font
// makes a word is nowhere in it.

/** Marks of the moment. */
const PASSING = ["vw-appear", "lit", "has-lit"];
const GEOMETRY = "x y x1 y1 x2 y2 cx cy r rx width height transform text-anchor".split(" ");
const HOOKS = ["node", "source", "target", "role", "label-of", "part"];
const SILENT = "title, desc, defs, style, .vw-offscreen";
/** Longer paths are told by their ends, their box and a sum of all their numbers. */
const LONGEST = 90;

const short = (number) => String(+Number(number).toFixed(1) || 0);
const shortened = (text) => text.replace(/-?\d+(\.\d+)?(e-?\d+)?/g, short);
const classesOf = (element) =>
  [...element.classList].filter((name) => !PASSING.includes(name)).sort();
const nameOf = (element) => [element.localName, ...classesOf(element)].join(".");

function pathOf(d) {
  const path = shortened(d);
  if (path.length <= LONGEST) return path;
  const pairs = [...path.matchAll(/(-?[\d.]+)[ ,](-?[\d.]+)/g)].map(([, x, y]) => [+x, +y]);
  const [xs, ys] = [0, 1].map((at) => pairs.map((pair) => pair[at]));
  const box = [Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys)].map(short);
  let sum = 7;
  for (const letter of path) sum = (sum * 31 + letter.codePointAt(0)) % 0xfffffff;
  const ends = [pairs[0], pairs[pairs.length - 1]].map((end) => end.map(short).join());
  return `${ends.join("…")} in ${box.join()} of ${pairs.length} #${sum.toString(36)}`;
}

function lineOf(element) {
  const said = [nameOf(element)];
  for (const hook of HOOKS) {
    const value = element.getAttribute(`data-${hook}`);
    if (value !== null) said.push(`${hook}=${value}`);
  }
  for (const name of GEOMETRY) {
    const value = element.getAttribute(name);
    if (value !== null && value !== "0") said.push(`${name}=${shortened(value)}`);
  }
  const d = element.getAttribute("d");
  if (d !== null) said.push(pathOf(d));
  if (element.localName === "text") said.push(JSON.stringify(element.textContent));
  return said.join(" ");
}

function drawn(element, depth, lines) {
  if (element.matches(SILENT) || getComputedStyle(element).display === "none") return;
  const isText = element.localName === "text";
  if (element.localName !== "g" || element.getAttributeNames().length > 0) {
    lines.push(`${" ".repeat(depth)}${lineOf(element)}`);
  }
  if (!isText) for (const child of element.children) drawn(child, depth + 1, lines);
}

const hex = (colour) =>
  colour
    .replace(/color\(srgb ([^)]*)\)/g, (_, parts) => {
      const [red, green, blue, opacity] = parts.split(/[\s/]+/).map(Number);
      const [r, g, b] = [red, green, blue].map((part) => Math.round(part * 255));
      return opacity === undefined ? `rgb(${r}, ${g}, ${b})` : `rgba(${r}, ${g}, ${b}, ${opacity})`;
    })
    .replace(/rgb\((\d+), (\d+), (\d+)\)/g, (_, ...parts) =>
      `#${parts.slice(0, 3).map((part) => Number(part).toString(16).padStart(2, "0")).join("")}`,
    );
const isSeen = (paint) => !["none", "rgba(0, 0, 0, 0)", "normal", "400", "1"].includes(paint);

/** An id is another on every page: what it stands for is not. */
const targetOf = (_, id) => `url(${document.getElementById(id)?.localName})`;

function coloursOf(element) {
  const style = getComputedStyle(element);
  const isDrawn = element.namespaceURI.endsWith("svg");
  const isWord = element.localName === "text" || !isDrawn;
  const names = [
    ...(isDrawn ? ["fill", "stroke", "fill-opacity"] : ["color", "background-color"]),
    ...(isWord ? ["font-style", "font-weight", "font-size"] : []),
    "opacity",
  ];
  return names
    .map((name) => [name, hex(style.getPropertyValue(name))])
    .filter(([, value]) => isSeen(value))
    .map(([name, value]) => `${name}:${value.replace(/url\("#([^"]*)"\)/, targetOf)}`)
    .join(" ");
}

const isVisible = (element) => element.getClientRects().length > 0;

/** `{shapes, words, colours}` of a widget, each a list of lines. */
window.readPicture = (root) => {
  const shapes = [];
  const colours = new Set();
  for (const svg of [...root.querySelectorAll("svg.vw-stage, .vw-routes svg")].filter(isVisible)) {
    drawn(svg, 0, shapes);
    for (const each of svg.querySelectorAll("path, rect, line, circle, text, tspan")) {
      if (!each.closest("title, desc, style")) colours.add(`${nameOf(each)}  ${coloursOf(each)}`);
    }
  }
  const words = [];
  const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const { parentElement: owner, data } = walker.currentNode;
    if (owner.namespaceURI.endsWith("svg") || owner.closest(SILENT) || !isVisible(owner)) continue;
    if (data.trim() === "") continue;
    words.push(`${nameOf(owner)} ${JSON.stringify(data)}`);
    colours.add(`${nameOf(owner)}  ${coloursOf(owner)}`);
  }
  return { shapes, words, colours: [...colours].sort() };
};
