/** Whether the page around an element is dark, as each notebook front end says it. */

/** A background darker than this reads as dark. */
const DARK_LUMINANCE = 0.4;

/**
 * @param {Element} element
 * @returns {boolean}
 */
export function isDark(element) {
  return declaredTheme(element.ownerDocument) ?? paintedTheme(element) ?? preferredTheme(element);
}

/**
 * What JupyterLab, VS Code, Colab or a page's author wrote on the document.
 *
 * @param {Document} document
 * @returns {boolean | null}
 */
function declaredTheme(document) {
  const { body, documentElement: html } = document;
  const lab = body?.getAttribute("data-jp-theme-light");
  if (lab) return lab === "false";
  const code = body?.getAttribute("data-vscode-theme-kind");
  if (code) return code.includes("dark") || code === "vscode-high-contrast";
  if (body?.classList.contains("vscode-dark")) return true;
  if (body?.classList.contains("vscode-light")) return false;
  const written = html.getAttribute("theme") ?? html.getAttribute("data-theme");
  if (written === "dark" || written === "light") return written === "dark";
  if (html.classList.contains("dark") || body?.classList.contains("dark")) return true;
  return null;
}

/**
 * The first background painted behind the element, out through shadow roots.
 *
 * @param {Element} element
 * @returns {boolean | null}
 */
function paintedTheme(element) {
  const window = element.ownerDocument.defaultView;
  for (let node = parentOf(element); node && window; node = parentOf(node)) {
    const colour = parseColour(window.getComputedStyle(node).backgroundColor);
    if (colour && colour.alpha > 0.5) return luminance(colour) < DARK_LUMINANCE;
  }
  return null;
}

/**
 * @param {Element} element
 * @returns {boolean}
 */
function preferredTheme(element) {
  const window = element.ownerDocument.defaultView;
  return window?.matchMedia?.("(prefers-color-scheme: dark)").matches ?? false;
}

/**
 * Calls back now and whenever the page's theme changes.
 *
 * @param {Element} element
 * @param {(dark: boolean) => void} listener
 * @returns {{check: () => void, stop: () => void}} `check` is for what nobody tells: that the element
 *   has been attached somewhere.
 */
export function watchTheme(element, listener) {
  const document = element.ownerDocument;
  const window = document.defaultView;
  /** @type {boolean | undefined} */
  let last;
  const check = () => {
    const dark = isDark(element);
    if (dark === last) return;
    last = dark;
    listener(dark);
  };
  const observer = new MutationObserver(check);
  for (const target of [document.documentElement, document.body]) {
    if (target) observer.observe(target, { attributes: true });
  }
  const preference = window?.matchMedia?.("(prefers-color-scheme: dark)");
  preference?.addEventListener?.("change", check);
  check();
  return {
    check,
    stop() {
      observer.disconnect();
      preference?.removeEventListener?.("change", check);
    },
  };
}

/**
 * @param {Element} node
 * @returns {Element | null}
 */
function parentOf(node) {
  if (node.parentElement) return node.parentElement;
  const root = node.getRootNode();
  return root instanceof ShadowRoot ? root.host : null;
}

/**
 * @typedef {{red: number, green: number, blue: number, alpha: number}} Colour
 *
 * @param {string} text As computed styles write it: rgb() or rgba().
 * @returns {Colour | null}
 */
export function parseColour(text) {
  const parts = /^rgba?\(([^)]+)\)$/
    .exec(text)?.[1]
    ?.split(/[\s,/]+/)
    .filter(Boolean);
  if (!parts || parts.length < 3) return null;
  const [red, green, blue, alpha = 1] = parts.map(Number);
  return { red, green, blue, alpha };
}

/**
 * @param {Colour} colour
 * @returns {number} 0 for black, 1 for white.
 */
function luminance({ red, green, blue }) {
  return (0.2126 * red + 0.7152 * green + 0.0722 * blue) / 255;
}
