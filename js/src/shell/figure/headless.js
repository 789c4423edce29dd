/** The figure of saved data, for a browser that nobody looks at. */

import { findHits, litBy } from "../../state/search.js";
import { initialState, reduce } from "../../state/state.js";
import { drawFigure } from "./figure.js";
import { pngFile, svgFile } from "./files.js";

/** @import { State } from "../../state/state.js" */
/** @import { LateName, StandaloneData } from "../../types.js" */

/** @type {LateName[]} */
const LATE = ["routes", "attribution", "predictions", "sinks"];

/**
 * @param {StandaloneData} data
 * @param {{theme: "light" | "dark", width: number, format: "svg" | "png", scale?: number}} how
 * @returns {Promise<Blob>}
 */
export async function figureFile(data, { theme, width, format, scale }) {
  const svg = figureOf(stateOf(data), document.body, { dark: theme === "dark", width });
  return format === "png" ? pngFile(svg, scale) : svgFile(svg);
}

/**
 * All of what is on show, whatever room it has on screen.
 *
 * @param {State} state
 * @param {Element} home As `drawFigure` wants it.
 * @param {{dark: boolean, width: number}} how
 */
export function figureOf(state, home, { dark, width }) {
  const { under, search } = state.display;
  const found = search ? litBy(findHits(state, search.query)) : null;
  return drawFigure(state, {
    home,
    room: { width, height: 100_000, dark, reducedMotion: true, found },
    dark,
    marks: {
      attribution: under.includes("attribution"),
      predictions: under.includes("predictions"),
    },
  });
}

/**
 * @param {StandaloneData} data
 * @returns {State} As a widget that all of it has been told to.
 */
export function stateOf(data) {
  let state = reduce({ ...initialState, live: false }, { type: "traits", traits: data.traits });
  const revision = state.graph?.revision ?? 0;
  for (const block of Object.values(data.expand ?? {})) {
    state = reduce(state, { type: "block", block: { ...block, revision } });
  }
  for (const name of LATE) {
    if (data[name])
      state = reduce(state, { type: "late", name, reply: { ...data[name], revision } });
  }
  return state;
}
