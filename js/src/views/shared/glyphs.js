/** Words in the picture: faces, tones, and the quiet mark of a leading space. */

import { select } from "d3-selection";

/** @typedef {import("./shapes.js").SceneText} SceneText */

/**
 * Writes a token so that the marks which stand for white space recede, and what follows it in its
 * word.
 * @param {SVGTextElement} element
 * @param {{text: string, piece?: number}} token `piece`: how much of the text is the token's own.
 */
export function writeToken(element, { text, piece = text.length }) {
  const said = `${piece} ${text}`;
  if (element.getAttribute("data-text") === said) return;
  element.setAttribute("data-text", said);
  element.textContent = "";
  const onlySpace = /^[␣⏎⇥]+$/u.test(text);
  const write = (/** @type {string} */ part, /** @type {string | false} */ name) => {
    if (!part) return;
    const span = element.ownerDocument.createElementNS("http://www.w3.org/2000/svg", "tspan");
    if (name) span.setAttribute("class", name);
    span.textContent = part;
    element.append(span);
  };
  const own = text.slice(0, piece);
  for (const part of onlySpace ? [text] : own.split(/([␣⏎⇥]+)/u)) {
    write(part, !onlySpace && /[␣⏎⇥]/u.test(part) && "vw-space");
  }
  write(text.slice(piece), "vw-begun");
}

/**
 * @param {import("d3-selection").Selection<SVGGElement, any, any, any>} groups
 * @param {(datum: any) => SceneText[]} textsOf
 */
export function drawTexts(groups, textsOf) {
  groups.each(function draw(datum) {
    select(this)
      .selectAll(/** @type {any} */ (childTexts))
      .data(textsOf(datum))
      .join("text")
      .attr("class", (d) => `vw-text ${d.face}${d.tone ? ` tone-${d.tone}` : ""}`)
      .attr("x", (d) => d.x)
      .attr("y", (d) => d.y)
      .attr("text-anchor", (d) => d.anchor ?? "start")
      .each(function write(d) {
        writeToken(/** @type {SVGTextElement} */ (this), d);
      });
    keepApart.call(this);
  });
}

/**
 * Puts a space between words that stand apart, which is not drawn: without it they run together for
 * whoever reads the text and not the picture.
 * @this {SVGGElement}
 */
export function keepApart() {
  const spaces = [...this.childNodes].filter(({ nodeType }) => nodeType === 3);
  const [first, ...others] = [...this.children].filter(({ tagName }) => tagName === "text");
  const stands = others.every(({ previousSibling }) => previousSibling?.nodeType === 3);
  if (!first || (stands && spaces.length === others.length)) return;
  for (const space of spaces) space.remove();
  for (const text of others) text.before(" ");
}

/** @this {Element} */
function childTexts() {
  return [...this.children].filter(({ tagName }) => tagName === "text");
}
