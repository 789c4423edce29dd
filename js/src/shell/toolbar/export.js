/** What is on screen, as a file. */

/** Properties that the stage's look depends on: a file on its own has no style sheet. */
const STYLE_PROPERTIES = [
  "fill",
  "fill-opacity",
  "stroke",
  "stroke-width",
  "stroke-opacity",
  "stroke-dasharray",
  "stroke-linecap",
  "stroke-linejoin",
  "opacity",
  "font-family",
  "font-size",
  "font-weight",
  "font-style",
  "letter-spacing",
  "text-anchor",
  "dominant-baseline",
  "mix-blend-mode",
  "paint-order",
  "visibility",
];

/** What a picture has no use for. */
const ONLY_FOR_HANDS = ".vw-close";

const NAMESPACE = "http://www.w3.org/2000/svg";

/**
 * The stage's drawing as a file that needs nothing else.
 *
 * @param {HTMLElement} stage
 * @returns {string}
 */
export function stageSvg(stage) {
  const original = largestSvg(stage);
  if (!original) throw new Error("nothing is drawn yet.");
  const copy = /** @type {SVGSVGElement} */ (original.cloneNode(true));
  inlineStyles(original, copy);
  const { width, height } = original.getBoundingClientRect();
  copy.setAttribute("xmlns", NAMESPACE);
  copy.setAttribute("width", String(Math.round(width)));
  copy.setAttribute("height", String(Math.round(height)));
  if (!copy.hasAttribute("viewBox")) copy.setAttribute("viewBox", `0 0 ${width} ${height}`);
  const paper = stage.ownerDocument.createElementNS(NAMESPACE, "rect");
  paper.setAttribute("width", "100%");
  paper.setAttribute("height", "100%");
  paper.setAttribute("fill", backgroundOf(stage));
  copy.prepend(paper);
  return new XMLSerializer().serializeToString(copy);
}

/** @param {HTMLElement} stage */
function largestSvg(stage) {
  const area = (/** @type {Element} */ svg) => {
    const { width, height } = svg.getBoundingClientRect();
    return width * height;
  };
  return [...stage.querySelectorAll("svg")].sort((a, b) => area(b) - area(a))[0];
}

/**
 * @param {Element} original
 * @param {Element} copy
 */
function inlineStyles(original, copy) {
  const window = original.ownerDocument.defaultView;
  if (!window) return;
  const style = window.getComputedStyle(original);
  if (style.display === "none" || original.matches(ONLY_FOR_HANDS)) {
    copy.remove();
    return;
  }
  const children = [...original.children].map((child, index) => [child, copy.children[index]]);
  copy.removeAttribute("class");
  copy.removeAttribute("tabindex");
  const inlined = STYLE_PROPERTIES.flatMap((name) => {
    const value = style.getPropertyValue(name);
    return value && value !== inherited(original, name) ? `${name}:${value}` : [];
  });
  if (inlined.length > 0) copy.setAttribute("style", inlined.join(";"));
  else copy.removeAttribute("style");
  for (const [child, childCopy] of children) inlineStyles(child, childCopy);
}

/** Those that a child takes from its parent need no saying again. */
const INHERITED = new Set(
  STYLE_PROPERTIES.filter(
    (name) => !["opacity", "mix-blend-mode", "dominant-baseline"].includes(name),
  ),
);

/** @type {Record<string, string>} */
const INITIAL = { opacity: "1", "mix-blend-mode": "normal", "dominant-baseline": "auto" };

/**
 * @param {Element} element
 * @param {string} name
 */
function inherited(element, name) {
  if (!INHERITED.has(name)) return INITIAL[name];
  const { parentElement } = element;
  const isRoot = element.tagName === "svg";
  if (!parentElement || isRoot) return undefined;
  return element.ownerDocument.defaultView?.getComputedStyle(parentElement).getPropertyValue(name);
}

/** @param {HTMLElement} stage */
function backgroundOf(stage) {
  const root = stage.closest(".visit-widget") ?? stage;
  return stage.ownerDocument.defaultView?.getComputedStyle(root).backgroundColor || "white";
}

/**
 * @param {HTMLElement} stage
 * @param {string} name
 */
export function exportSvg(stage, name) {
  download(new Blob([stageSvg(stage)], { type: "image/svg+xml" }), name);
}

/**
 * @param {HTMLElement} stage
 * @param {string} name
 */
export async function exportPng(stage, name) {
  const image = new Image();
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(stageSvg(stage))}`;
  await image.decode();
  const scale = 2;
  const canvas = stage.ownerDocument.createElement("canvas");
  canvas.width = image.width * scale;
  canvas.height = image.height * scale;
  canvas.getContext("2d")?.drawImage(image, 0, 0, canvas.width, canvas.height);
  const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
  if (!blob) throw new Error("the picture is too large for this browser.");
  download(blob, name);
}

/**
 * @param {unknown} graph
 * @param {string} name
 */
export function exportJson(graph, name) {
  const text = `${JSON.stringify(graph, null, 1)}\n`;
  download(new Blob([text], { type: "application/json" }), name);
}

/**
 * @param {Blob} blob
 * @param {string} name
 */
function download(blob, name) {
  const url = URL.createObjectURL(blob);
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
