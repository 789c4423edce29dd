/** Draws a small river. */

import { BAND, TALL } from "./layout.js";

/** @import { SmallRiver } from "./layout.js" */

const NAMESPACE = "http://www.w3.org/2000/svg";

/**
 * @param {string} tag
 * @param {Record<string, string | number>} attributes
 * @param {(Node | string)[]} [children]
 * @returns {SVGElement}
 */
export function s(tag, attributes, children = []) {
  const element = document.createElementNS(NAMESPACE, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
  element.append(...children);
  return element;
}

/**
 * @param {SmallRiver} river
 * @returns {SVGElement[]} What it is made of.
 */
export function drawRiver({ cells, hill, breaks, settled, texts }) {
  const lines = breaks.map((x) =>
    s("path", { class: "vw-break", d: `M${x},${BAND.top}v${BAND.height}` }),
  );
  return [
    ...(hill ? [s("path", { class: "vw-hill", d: hill })] : []),
    ...cells.map(({ shade, ...place }) => s("rect", { class: `vw-cell shade-${shade}`, ...place })),
    ...lines,
    ...(settled === null
      ? []
      : [s("path", { class: "vw-settled", d: `M${settled},${BAND.top - 2}v${BAND.height + 4}` })]),
    ...texts.map(({ kind, x, y, size, text, anchor = "start" }) =>
      s(
        "text",
        {
          class: `vw-many-text ${kind}`,
          x: Math.round(x * 10) / 10,
          y,
          "font-size": size,
          "text-anchor": anchor,
        },
        [text],
      ),
    ),
  ];
}

/**
 * @param {SmallRiver} river
 * @param {number} width
 */
export const riverSvg = (river, width) =>
  s(
    "svg",
    { width, height: TALL, viewBox: `0 0 ${width} ${TALL}`, "aria-hidden": "true" },
    drawRiver(river),
  );
