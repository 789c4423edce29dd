/** Elements in one expression. Text only ever goes in as text. */

/**
 * @typedef {Node | string | null | undefined | false} Child
 *
 * @typedef {Record<string, string | number | boolean | null | undefined |
 *   ((event: any) => void)>} Attributes Functions are listeners; true and false set or leave out an
 *   attribute; `class` and `style` are attributes like all others.
 */

/**
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Attributes} [attributes]
 * @param {...(Child | Child[])} children
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  // Of itself a button sends a form.
  if (tag === "button") element.setAttribute("type", "button");
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else setAttribute(element, name, value);
  }
  append(element, children);
  return element;
}

/**
 * @param {Element} element
 * @param {(Child | Child[])[]} children
 */
export function append(element, children) {
  for (const child of children.flat()) {
    if (child !== null && child !== undefined && child !== false) element.append(child);
  }
}

/**
 * @param {Element} element
 * @param {...(Child | Child[])} children
 */
export function fill(element, ...children) {
  element.replaceChildren();
  append(element, children);
}

/**
 * @param {Element} element
 * @param {string} name
 * @param {string | number | boolean | null | undefined} value
 */
export function setAttribute(element, name, value) {
  if (value === false || value === null || value === undefined) element.removeAttribute(name);
  else if (value === true) element.setAttribute(name, name.startsWith("aria-") ? "true" : "");
  else element.setAttribute(name, String(value));
}

/**
 * A guard that says whether any of its values changed since it was last asked.
 *
 * @returns {(...values: unknown[]) => boolean}
 */
export function createChangeGuard() {
  /** @type {unknown[] | null} */
  let last = null;
  return (...values) => {
    const changed = !last || values.some((value, index) => !Object.is(value, last?.[index]));
    last = values;
    return changed;
  };
}

/** The controls' drawings: 16 × 16, one stroke. */
const ICONS = {
  pencil:
    "M10.6 2.9l2.5 2.5M3 13l.6-2.9 7.7-7.7a1.2 1.2 0 0 1 1.7 0l.6.6a1.2 1.2 0 0 1 0 1.7l-7.7 7.7z",
  undo: "M3 6.5h6.5a3.5 3.5 0 0 1 0 7H6M5.8 3.5L2.8 6.5l3 3",
  redo: "M13 6.5H6.5a3.5 3.5 0 0 0 0 7H10M10.2 3.5l3 3-3 3",
  fullscreen: "M2.5 6V2.5H6M10 2.5h3.5V6M13.5 10v3.5H10M6 13.5H2.5V10",
  export: "M8 2.5v7.2M4.8 6.9L8 10l3.2-3.1M2.8 13.2h10.4",
  close: "M3.8 3.8l8.4 8.4M12.2 3.8l-8.4 8.4",
  chevron: "M4.5 6.5L8 10l3.5-3.5",
  up: "M4.5 9.5L8 6l3.5 3.5",
  pin: "M6 2.5h4M6.6 2.5v4L4.6 9.2h6.8L9.4 6.5v-4M8 9.2v4.6",
  help: "M6 6.2a2 2 0 1 1 2.9 1.8c-.6.3-.9.7-.9 1.4M8 11.6v.3M8 14.2A6.2 6.2 0 1 0 8 1.8a6.2 6.2 0 0 0 0 12.4z",
  check: "M3.2 8.6l3.1 3.1 6.5-7",
  play: "M4.5 3v10l8-5z",
  pause: "M5 3.2v9.6M11 3.2v9.6",
  search: "M7 11.5a4.5 4.5 0 1 1 0-9 4.5 4.5 0 0 1 0 9zM10.4 10.4l3.1 3.1",
  map: "M2.5 2.5h11v11h-11zM2.5 8h11M8 2.5v11",
  compare: "M2.5 3h11v3.6h-11zM2.5 9.4h6.4V13H2.5zM12.2 9.4V13M10.4 11.2H14",
  under: "M2.5 4h11M4 8.2h8M4 12h5",
  alert: "M8 2.4l6 10.8H2zM8 6.6v3.1M8 11.4v.3",
};

/**
 * @param {keyof typeof ICONS} name
 * @returns {SVGSVGElement}
 */
export function icon(name) {
  const namespace = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(namespace, "svg");
  svg.setAttribute("viewBox", "0 0 16 16");
  svg.setAttribute("aria-hidden", "true");
  svg.setAttribute("class", "vw-icon");
  const path = document.createElementNS(namespace, "path");
  path.setAttribute("d", ICONS[name]);
  svg.append(path);
  return svg;
}

/**
 * @param {keyof typeof ICONS} name
 * @param {string} label Its accessible name, and what the pointer is told.
 * @param {(event: MouseEvent) => void} onClick
 * @param {Attributes} [attributes]
 */
export function iconButton(name, label, onClick, attributes = {}) {
  return h(
    "button",
    {
      class: "vw-icon-button",
      "aria-label": label,
      title: label,
      click: onClick,
      ...attributes,
    },
    icon(name),
  );
}
