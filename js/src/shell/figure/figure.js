/**
 * The whole figure as one SVG: the prompt, and the current view with its key. The view is drawn
 * once more, out of sight: all of it, in the theme asked for, with nothing lit under a pointer.
 */

import { isStale } from "../../state/selectors.js";
import { h } from "../../ui/dom.js";
import { VIEWS } from "../../views/index.js";
import { isRight, remainder, tokenBars } from "../prompt/token-words.js";
import { layoutPrompt, promptFacts } from "./prompt-layout.js";
import { promptShapes } from "./prompt-shapes.js";
import { families, paint, readDrawing } from "./read.js";
import { tapeFacts } from "./tape-layout.js";
import { idAt, shape, svgText, usedDefinitions } from "./tree.js";

/** @import { Controller } from "../../state/controller.js" */
/** @import { State } from "../../state/state.js" */
/** @import { Room } from "../../views/index.js" */
/** @import { Marks } from "./prompt-layout.js" */
/** @import { Palette } from "./prompt-shapes.js" */
/** @import { Shape } from "./tree.js" */

/** Around the prompt, as the header has it. */
const LEFT = 20;
const RIGHT = 16;
const TOP = 14;
const BELOW = 12;

/** @type {Record<keyof Palette, string>} Tokens of the style sheet; whole, for the bundle writes them short. */
const TOKENS = {
  ink: "--vw-ink",
  muted: "--vw-muted",
  surface: "--vw-surface",
  accent: "--vw-accent",
  "accent-ink": "--vw-accent-ink",
  positive: "--vw-positive",
  "positive-ribbon": "--vw-positive-ribbon",
  negative: "--vw-negative",
  "negative-ribbon": "--vw-negative-ribbon",
  "negative-soft": "--vw-negative-soft",
  line: "--vw-line",
  "line-strong": "--vw-line-strong",
  bg: "--vw-bg",
  font: "--vw-font",
  mono: "--vw-mono",
};
const FONTS = new Set(["font", "mono"]);

/**
 * @param {State} state
 * @param {{home: Element, room: Room, dark: boolean, marks: Marks}} how `home`: where the widget's
 *   style sheets hold; it is left as it was.
 * @returns {string}
 * @throws {Error} There is nothing to draw yet, or the view cannot draw it.
 */
export function drawFigure(state, { home, room, dark, marks }) {
  const { graph } = state;
  if (!graph) throw new Error("nothing has been traced yet.");
  const host = h("div", {
    class: `visit-widget${dark ? " dark" : ""}`,
    style: `position: absolute; left: -99999px; top: 0; width: ${room.width}px`,
    "aria-hidden": true,
  });
  home.append(host);
  const view = drawView(host, state, { ...room, dark, reducedMotion: true, whole: true });
  try {
    const svg = host.querySelector("svg.vw-stage");
    const width = Number(svg?.getAttribute("width"));
    const height = Number(svg?.getAttribute("height"));
    if (!svg || !(width > 0) || !(height > 0)) {
      throw new Error("the graph is still on its way. Try again when it is on screen.");
    }
    const styleOf = (/** @type {Element} */ element) => getComputedStyle(element);
    const drawing = readDrawing(/** @type {SVGSVGElement} */ (svg), styleOf);
    const words = { title: titleOf(state), summary: svg.getAttribute("aria-label") ?? "" };
    const palette = paletteOf(getComputedStyle(host));
    return assemble(drawing, { width, height }, promptOf(state, marks), palette, words);
  } finally {
    view.destroy();
    host.remove();
  }
}

/**
 * @param {HTMLElement} host
 * @param {State} state
 * @param {Room} room
 */
function drawView(host, state, room) {
  const entry = VIEWS.find(({ name }) => name === state.view) ?? VIEWS[0];
  /** @type {string | null} */
  let problem = null;
  const still = /** @type {Controller} */ (
    /** @type {unknown} */ ({ getState: () => state, dispatch() {}, live: state.live })
  );
  const view = entry.create(still, {
    tip: { show() {}, hide() {} },
    onProblem(message) {
      problem = message;
    },
  });
  host.append(view.el);
  view.update(state, room);
  if (problem === null) return view;
  view.destroy();
  host.remove();
  throw new Error(problem);
}

/**
 * @param {State} state
 * @param {Marks} marks
 */
function promptOf(state, marks) {
  const graph = /** @type {NonNullable<State["graph"]>} */ (state.graph);
  // Numbers of an earlier graph have no place in a file that will not be drawn again.
  const known = (/** @type {keyof Marks} */ name) => marks[name] && !isStale(state, name);
  const attribution = known("attribution") ? state.attribution : null;
  const predictions = known("predictions") ? state.predictions : null;
  return promptFacts(graph, {
    bars: attribution && tokenBars(attribution),
    guesses: predictions?.positions ?? null,
    isRight,
    remainder: attribution ? remainder(attribution) : "",
    tape: tapeFacts(state),
  });
}

/** @param {State} state */
function titleOf({ graph, prompt }) {
  const against = graph?.foil ? ` against ${graph.foil.text}` : "";
  const beside = graph?.against ? `, beside ${graph.against.prompt}` : "";
  return `${graph?.prompt ?? prompt} → ${graph?.target.text}${against}${beside} (${graph?.model.name})`;
}

/**
 * @param {{definitions: Shape[], content: Shape[]}} drawing
 * @param {{width: number, height: number}} size Of the drawing.
 * @param {import("./prompt-layout.js").PromptFacts} facts
 * @param {Palette} palette
 * @param {{title: string, summary: string}} words
 * @returns {string}
 */
export function assemble(drawing, size, facts, palette, { title, summary }) {
  const { width } = size;
  const prompt = layoutPrompt(facts, width - LEFT - RIGHT);
  const line = Math.ceil(TOP + prompt.height + BELOW);
  const height = Math.ceil(line + 1 + size.height);
  const stripes = idAt(drawing.definitions.length);
  const header = promptShapes(prompt, palette, stripes);
  const plain = { stroke: "none", "fill-opacity": "1" };
  const content = shape("g", {}, {}, [
    shape("rect", { width, height }, { ...plain, fill: palette.bg }),
    shape("g", { transform: `translate(${LEFT},${TOP})` }, {}, header.content),
    shape("rect", { y: line, width, height: 1 }, { ...plain, fill: palette.line }),
    shape("g", { transform: `translate(0,${line + 1})` }, {}, drawing.content),
  ]);
  const all = [...drawing.definitions, ...header.definitions];
  const definitions = usedDefinitions(all, content).map((each) => within(each, size));
  const root = {
    xmlns: "http://www.w3.org/2000/svg",
    version: "1.1",
    width,
    height,
    viewBox: `0 0 ${width} ${height}`,
    // Whatever page it comes to stand in.
    direction: "ltr",
  };
  return svgText(
    shape("svg", root, {}, [
      shape("title", {}, {}, [title]),
      ...(summary ? [shape("desc", {}, {}, [summary])] : []),
      ...(definitions.length > 0 ? [shape("defs", {}, {}, definitions)] : []),
      content,
    ]),
  );
}

/**
 * On the page a mask reaches as far as any picture may; some programs take memory for all of that.
 * @param {Shape} definition
 * @param {{width: number, height: number}} size
 * @returns {Shape}
 */
function within(definition, { width, height }) {
  if (definition.tag !== "mask") return definition;
  const far = (/** @type {Shape} */ { attributes }) => {
    const { x, y } = attributes;
    const above = Number(y) < 0;
    const box = {
      x: Math.max(-100, Number(x)),
      y: above ? -height : y,
      width: width + 200,
      height,
    };
    return { ...attributes, ...box };
  };
  const children = definition.children.map((child) =>
    typeof child === "string" ? child : { ...child, attributes: far(child) },
  );
  return { ...definition, attributes: far(definition), children };
}

/**
 * @param {CSSStyleDeclaration} style
 * @returns {Palette}
 */
function paletteOf(style) {
  const values = Object.entries(TOKENS).map(([name, token]) => {
    const value = style.getPropertyValue(token).trim();
    return [name, FONTS.has(name) ? families(value) : paint(value).colour];
  });
  return /** @type {Palette} */ (Object.fromEntries(values));
}
