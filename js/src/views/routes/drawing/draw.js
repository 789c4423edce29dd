/** The routes view's shapes and words, joined by what they are so that changes glide. */

import { select } from "d3-selection";
import { keepApart, writeToken } from "../../shared/glyphs.js";
import { appear, leave, settle, staying } from "../../shared/motion.js";
import { SLANT } from "../layout/foot.js";

/** @typedef {import("../../shared/motion.js").Motion} Motion */
/** @typedef {import("../layout/scene.js").RoutesScene} RoutesScene */
/** @typedef {import("d3-selection").Selection<SVGGElement, unknown, any, any>} Group */

/**
 * Joins by key; what stays glides, what is new appears, what is gone fades.
 * @template D
 * @param {Group} group
 * @param {string} tag
 * @param {string} name
 * @param {D[]} data
 * @param {(datum: D) => string} key
 * @param {Motion} motion
 * @param {Record<string, (datum: D) => string | number>} moving
 */
function join(group, tag, name, data, key, motion, moving) {
  const all = /** @type {import("d3-selection").Selection<any, D, any, any>} */ (
    group.selectAll(staying(`${tag}.${name}`))
  );
  const joined = all.data(data, /** @type {any} */ (key));
  leave(joined.exit(), motion);
  const entered = joined.enter().append(tag).classed(name, true).call(appear, motion);
  settle(/** @type {any} */ (entered), { animated: false }, moving);
  settle(joined, motion, moving);
  return /** @type {import("d3-selection").Selection<any, D, any, any>} */ (entered.merge(joined));
}

/**
 * Swaps the tone and leaves the marks of the moment (lit, selected, appearing) as they are.
 * @param {import("d3-selection").Selection<any, any, any, any>} selection
 */
function toned(selection) {
  for (const tone of ["positive", "negative", "unsigned", "none"]) {
    selection.classed(tone, (d) => d.tone === tone);
  }
}

/**
 * @param {Group} group
 * @param {RoutesScene["ribbons"]} ribbons
 * @param {string} hatch
 * @param {Motion} motion
 */
export function drawRouteRibbons(group, ribbons, hatch, motion) {
  const drawn = join(group, "path", "vw-route", ribbons, (d) => d.key, motion, {
    d: (d) => d.path,
  });
  drawn
    .attr("data-source", (d) => d.source)
    .attr("data-target", (d) => d.target)
    .attr("data-layer", (d) => d.layer)
    .attr("data-kind", "through")
    .attr("data-nav", (d) => `ribbon:${d.key}`)
    .attr("role", "button")
    .attr("aria-label", (d) => d.name)
    .attr("fill", (d) => (d.tone === "negative" ? hatch : null))
    .call(toned);
}

/**
 * @param {Group} group
 * @param {RoutesScene["outlines"]} outlines
 * @param {Motion} motion
 */
export function drawOutlines(group, outlines, motion) {
  const drawn = join(group, "g", "vw-outline", outlines, (d) => d.key, motion, {});
  drawn
    .attr("data-layer", (d) => d.layer)
    .attr("data-only", "there")
    .attr("data-nav", (d) => `ribbon:${d.key}`)
    .attr("role", "button")
    .attr("aria-label", (d) => d.name)
    .call(toned);
  drawn.each(function draw(d) {
    select(this)
      .selectAll("path")
      .data([d.hit, d.path])
      .join("path")
      .attr("class", (_, at) => (at === 0 ? "vw-outline-hit" : "vw-outline-line"))
      .attr("d", String);
  });
}

/**
 * @param {Group} group
 * @param {RoutesScene["stretches"]} stretches
 * @param {string} hatch
 * @param {Motion} motion
 */
export function drawStretches(group, stretches, hatch, motion) {
  join(group, "path", "vw-stretch", stretches, (d) => d.key, motion, { d: (d) => d.path })
    .attr("fill", (d) => (d.tone === "negative" ? hatch : null))
    .attr("data-of", (d) => d.top)
    .call(toned);
}

const MARK_HEIGHT = 5;

/**
 * @param {Group} group
 * @param {RoutesScene["marks"]} marks
 * @param {Motion} motion
 */
export function drawMarks(group, marks, motion) {
  join(group, "rect", "vw-mark", marks, (d) => d.id, motion, {
    x: (d) => d.x - d.width / 2,
    y: (d) => d.y - heightOf(d) / 2,
    width: (d) => d.width,
    height: heightOf,
    rx: (d) => (d.kind === "opaque" ? 0 : Math.min(2.5, d.width / 2)),
  })
    .attr("data-node", (d) => d.nodes[0])
    .attr("data-kind", (d) => d.kind)
    .attr("data-layer", (d) => d.layer)
    .attr("data-position", (d) => d.position)
    .attr("data-nav", (d) => `node:${d.id}`)
    .attr("role", "button")
    .attr("aria-label", (d) => d.name)
    .call(toned);
}

const heightOf = (/** @type {{kind: string}} */ { kind }) =>
  kind === "opaque" ? 9 : kind === "value" ? 4 : MARK_HEIGHT;

/**
 * @param {Group} group
 * @param {RoutesScene["stops"]} stops
 */
export function drawStops(group, stops) {
  join(
    group,
    "rect",
    "vw-stop",
    stops,
    (d) => d.id,
    { animated: false },
    {
      x: (d) => d.x + d.box.x,
      y: (d) => d.y + d.box.y,
      width: (d) => d.box.width,
      height: (d) => d.box.height,
    },
  )
    .attr("rx", 3)
    .attr("data-node", (d) => d.id)
    .attr("data-kind", (d) => d.kind)
    .attr("data-layer", (d) => d.layer)
    .attr("data-position", (d) => d.position)
    .attr("data-nav", (d) => `node:${d.id}`)
    .attr("role", "button")
    .attr("aria-label", (d) => d.name);
}

/** @param {{x: number, y: number}} place */
const placeOf = ({ x, y }) => `translate(${x},${y})`;

/**
 * @param {Group} group
 * @param {RoutesScene["tokens"]} tokens
 * @param {string} hatch
 * @param {Motion} motion
 */
export function drawTokens(group, tokens, hatch, motion) {
  const drawn = join(group, "g", "vw-root", tokens, (d) => d.id, motion, { transform: placeOf });
  drawn
    .classed("focus", (d) => d.focus)
    .attr("data-node", (d) => d.id)
    .attr("data-kind", "embed")
    .attr("data-position", (d) => d.position)
    .attr("data-nav", (d) => `node:${d.id}`)
    .attr("role", "button")
    .attr("aria-label", (d) => d.name)
    .call(toned);
  drawn.each(function draw(d) {
    const own = select(this);
    const child = (/** @type {string} */ tag, /** @type {string} */ name) => {
      const found = own.select(`${tag}.${name}`);
      return found.empty() ? own.append(tag).attr("class", name) : found;
    };
    const turn = d.slanted ? `rotate(${-SLANT})` : null;
    // The bar and what lies between it and its word are the token's as well.
    child("rect", "vw-root-hit")
      .attr("x", -Math.max(8, d.barWidth / 2))
      .attr("y", 0)
      .attr("width", Math.max(16, d.barWidth))
      .attr("height", d.barY + d.bar);
    child("rect", "vw-halo")
      .attr("transform", turn)
      .attr("x", d.box.x)
      .attr("y", d.box.y)
      .attr("width", d.box.width)
      .attr("height", d.box.height)
      .attr("rx", 5);
    child("text", "vw-root-word")
      .attr("transform", turn)
      .attr("text-anchor", d.slanted ? "end" : "middle")
      .attr("x", d.slanted ? 4 : 0)
      .attr("y", d.slanted ? 1 : 2)
      .each(function write() {
        writeToken(/** @type {any} */ (this), d);
      });
    child("rect", "vw-root-bar")
      .attr("x", d.there ? -d.barWidth - 1 : -d.barWidth / 2)
      .attr("y", d.barY)
      .attr("width", d.barWidth)
      .attr("height", d.bar)
      .attr("rx", Math.min(2, d.bar / 2))
      .attr("fill", d.tone === "negative" ? hatch : null);
    child("text", "vw-root-number")
      .attr("text-anchor", "middle")
      .attr("y", d.barY + Math.max(d.bar, d.there?.bar ?? 0) + 12)
      .text(d.number);
    drawThere(own, d);
    keepApart.call(/** @type {SVGGElement} */ (this));
  });
}

/**
 * The bar and the number of the other prompt, beside its own: dashed, and in italics.
 *
 * @param {import("d3-selection").Selection<any, any, any, any>} own
 * @param {RoutesScene["tokens"][number]} token
 */
function drawThere(own, { there, bar, barWidth, barY }) {
  own
    .selectAll("rect.vw-root-there")
    .data(there ? [there] : [])
    .join("rect")
    .attr("class", (d) => `vw-root-there ${d.tone}`)
    .attr("x", 1.5)
    .attr("y", barY + 0.5)
    .attr("width", Math.max(1, barWidth - 1))
    .attr("height", (d) => Math.max(0, d.bar - 1));
  own
    .selectAll("text.vw-root-beside")
    .data(there?.number ? [there] : [])
    .join("text")
    .attr("class", "vw-root-beside")
    .attr("text-anchor", "middle")
    .attr("y", (d) => barY + Math.max(bar, d.bar) + 25)
    .text((d) => d.number);
}

/**
 * @param {Group} group
 * @param {RoutesScene["folds"]} folds
 * @param {Motion} motion
 */
export function drawFolds(group, folds, motion) {
  const drawn = join(group, "g", "vw-fold-mark", folds, (d) => d.key, motion, {
    transform: placeOf,
  });
  drawn
    .attr("data-role", "fold")
    .attr("role", "img")
    .attr("aria-label", (d) => d.name);
  drawn.each(function draw(d) {
    const own = select(this);
    own.selectAll("*").remove();
    own.append("title").text(d.name);
    own
      .append("rect")
      .attr("class", "vw-hit")
      .attr("x", -22)
      .attr("y", -14)
      .attr("width", 44)
      .attr("height", 34);
    const word = own
      .append("text")
      .attr("class", d.note === "" ? "vw-fold-word" : "vw-fold-dots")
      .attr("text-anchor", "middle")
      .attr("y", 2);
    writeToken(/** @type {any} */ (word.node()), d);
    own
      .append("text")
      .attr("class", "vw-fold-note")
      .attr("text-anchor", "middle")
      .attr("y", 14)
      .text(d.note);
  });
}

/**
 * @param {Group} group
 * @param {RoutesScene["labels"]} labels
 * @param {Motion} motion
 */
export function drawRouteLabels(group, labels, motion) {
  const drawn = join(group, "g", "vw-route-label", labels, (d) => d.key, motion, {
    transform: placeOf,
  });
  drawn
    .classed("ribbon", (d) => d.face !== "stream")
    .classed("inside", (d) => d.face === "inside")
    .classed("target", (d) => d.isTarget)
    .classed("only", (d) => d.only === true)
    .attr("aria-hidden", "true")
    .attr("data-label-of", (d) => d.of);
  drawn.each(function draw(d) {
    const own = select(this);
    if (own.select("text").empty()) own.append("text");
    const text = own.select("text").attr("text-anchor", d.anchor);
    const element = /** @type {SVGTextElement} */ (text.node());
    const said = `${d.tag} ${d.text} ${d.piece}`;
    if (element.getAttribute("data-said") === said) return;
    element.setAttribute("data-said", said);
    element.removeAttribute("data-text");
    writeToken(element, d);
    if (d.tag)
      text
        .append("tspan")
        .attr("class", "vw-label-tag")
        .text(`${d.tag} `.slice(0, d.text ? undefined : -1))
        .each(function first() {
          element.prepend(this);
        });
  });
}

/**
 * @param {Group} ground
 * @param {Group} ruler
 * @param {RoutesScene} scene
 * @param {Motion} motion
 */
export function drawAxis(ground, ruler, { axis, axisTop, bands, springs, width }, motion) {
  const layerOf = (/** @type {any} */ { layer }) => layer;
  join(ground, "rect", "vw-band", bands, layerOf, motion, {
    y: (d) => d.y + 1,
    height: (d) => Math.max(0, d.height - 2),
  })
    .attr("x", 8)
    .attr("width", Math.max(0, width - 20))
    .attr("rx", 6);
  join(ground, "path", "vw-spring", springs, (d) => d.key, motion, {
    d: ({ x, y }) => `M${x},${y + 2}v11`,
  });
  // Once scrolled, the numbers stand on what passes under them.
  ruler
    .selectAll("rect")
    .data([0])
    .join("rect")
    .attr("width", 36)
    .attr("height", (axis[0]?.y ?? 0) + 20);
  ruler
    .selectAll("text")
    .data([...axis, { layer: -1, y: axisTop - 3.5, text: "layer" }], layerOf)
    .join("text")
    .attr("x", 30)
    .attr("y", (d) => d.y + 3.5)
    .attr("text-anchor", "end")
    .text((d) => d.text);
}

/**
 * @param {Group} group
 * @param {RoutesScene["prediction"]} prediction
 * @param {Motion} motion
 */
export function drawCrown(group, prediction, motion) {
  const drawn = join(group, "g", "vw-crown", [prediction], (d) => d.id, motion, {
    transform: placeOf,
  });
  drawn
    .attr("data-node", (d) => d.id)
    .attr("data-kind", "logits")
    .attr("data-nav", (d) => `node:${d.id}`)
    .attr("role", "button")
    .attr("aria-label", (d) => d.name);
  drawn.each(function draw(d) {
    const own = select(this);
    own.selectAll("*").remove();
    own
      .append("rect")
      .attr("class", "vw-halo")
      .attr("x", d.box.x)
      .attr("y", d.box.y)
      .attr("width", d.box.width)
      .attr("height", d.box.height)
      .attr("rx", 7);
    const word = own.append("text").attr("class", "vw-crown-word").attr("text-anchor", "middle");
    writeToken(/** @type {any} */ (word.node()), d);
    own
      .append("text")
      .attr("class", "vw-crown-note")
      .attr("text-anchor", "middle")
      .attr("y", 15)
      .text(d.note);
    keepApart.call(/** @type {SVGGElement} */ (this));
  });
}
