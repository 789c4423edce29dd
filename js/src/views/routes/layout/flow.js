/** Rivers and what crosses between them: everything that flows, stacked at both ends. */

import { signOf } from "../../shared/scales.js";
import { crossing, riverPath } from "./curve.js";
import { laneOf } from "./lanes.js";

/** @typedef {import("./model.js").RoutesModel} RoutesModel */
/** @typedef {import("./model.js").Stream} Stream */
/** @typedef {import("./model.js").Strand} Strand */
/** @typedef {import("./model.js").Passage} Passage */
/** @typedef {import("./grid.js").RouteColumns} RouteColumns */
/** @typedef {import("./grid.js").RouteLevels} RouteLevels */
/** @typedef {import("./curve.js").Slot} Slot */
/** @typedef {import("../../shared/scales.js").Sign} Sign */

/**
 * @typedef {object} RouteRibbon
 * @property {string} key
 * @property {string} source
 * @property {string} target
 * @property {number} layer
 * @property {Sign} tone
 * @property {number} width
 * @property {Slot} start
 * @property {Slot} end
 * @property {number} lane The y of its level run.
 * @property {string} path
 * @property {Passage} passage
 *
 * @typedef {object} RouteStretch A river from one place where something joins or leaves it to the
 *   next.
 * @property {string} key
 * @property {string} source
 * @property {string} target
 * @property {string} top Its uppermost stream.
 * @property {Sign} tone
 * @property {string} path
 *
 * @typedef {object} RouteMark
 * @property {string} id
 * @property {string} kind
 * @property {number} layer
 * @property {number} position
 * @property {number} x
 * @property {number} y
 * @property {number} width
 * @property {Sign} tone
 * @property {number} influence
 * @property {string[]} nodes
 * @property {{source: string, target: string}} between
 */

export const HAIRLINE = 1;

/**
 * @typedef {object} Part
 * @property {string} key
 * @property {number} influence
 * @property {boolean} [elastic] Takes what the others leave of the whole.
 */

/**
 * Parts side by side across a whole of the same middle. Those that speak against the whole lie on
 * its flank, within it: they take from it, or give where it is taken from.
 * @param {Part[]} parts From left to right.
 * @param {{influence: number, x: number, scale: number, flank: -1 | 1}} whole
 * @returns {Map<string, Slot>}
 */
export function slotsOf(parts, { influence, x, scale, flank }) {
  const sign = influence < 0 ? -1 : 1;
  const room = Math.abs(influence) * scale;
  const along = parts.filter((part) => part.influence * sign > 0);
  const sum = along.reduce((total, part) => total + Math.abs(part.influence) * scale, 0);
  const shrink = sum > room ? room / sum : 1;
  const spare = Math.max(0, room - sum);
  const taker = along.find(({ elastic }) => elastic);
  const total = sum * shrink + (taker ? spare : 0);
  /** @type {Map<string, Slot>} */
  const slots = new Map();
  let edge = x - total / 2;
  for (const part of parts) {
    const own = Math.abs(part.influence) * scale;
    if (part.influence * sign > 0) {
      const width = own * shrink + (part === taker ? spare : 0);
      slots.set(part.key, { x: edge + width / 2, width });
      edge += width;
    } else if (part.elastic) {
      slots.set(part.key, { x, width: Math.min(own, room) });
    } else {
      const width = Math.min(own, room);
      slots.set(part.key, { x: x + (flank * (room - width)) / 2, width });
    }
  }
  return slots;
}

/**
 * @param {RoutesModel} model
 * @param {RouteColumns} columns
 * @param {RouteLevels} levels
 * @param {Map<number, import("./lanes.js").Lanes>} lanes
 * @param {Slot & {y: number}} logits Where the last river ends.
 */
export function placeRouteFlow(model, columns, levels, lanes, logits) {
  const { incoming, outgoing } = stackAll(model, columns);
  const measure = model.routes.measure;
  const wide = (/** @type {Slot | undefined} */ slot) => {
    return { x: slot?.x ?? 0, width: Math.max(HAIRLINE, slot?.width ?? 0) };
  };
  /** @type {RouteRibbon[]} */
  const ribbons = model.passages.map((passage) => {
    const { key, from, to, layer, influence } = passage;
    const start = wide(outgoing.get(from.id)?.get(key));
    const end = wide(incoming.get(to.id)?.get(key));
    const width = Math.max(HAIRLINE, Math.abs(influence) * columns.scale);
    const [low, high] = [levels.y(from.level), levels.y(to.level)];
    const lane = laneOf(lanes.get(from.level), key, low, high);
    const path = crossing({
      from: { x: start.x, y: low },
      to: { x: end.x, y: high },
      lane,
      width,
      startWidth: start.width,
      endWidth: end.width,
    });
    const tone = signOf(influence, measure);
    const [source, target] = [from.id, to.id];
    return { key, source, target, layer, tone, width, start, end, lane, path, passage };
  });
  const stretches = riverRuns(model).map((run) => {
    const [first, last] = [run[0], run[run.length - 1]];
    const low = wide(outgoing.get(first.from.id)?.get(first.key));
    const sections = run.map(({ key, to }) =>
      to
        ? { slot: wide(incoming.get(to.id)?.get(key)), y: levels.y(to.level) }
        : { slot: logits, y: logits.y },
    );
    return {
      // Between the same two ends there are as many cross sections: only such glide into another.
      key: `${first.from.id}⇒${last.to?.id ?? "logits"} ${run.length}`,
      source: first.from.id,
      target: last.to?.id ?? "logits",
      top: (last.to ?? last.from).id,
      tone: signOf(first.end, measure),
      path: riverPath([{ slot: low, y: levels.y(first.from.level) }, ...sections]),
    };
  });
  // A head that reads its own token for the prediction, and one that does against it.
  const ids = new Set(model.marks.map(({ id }) => id));
  const twins = new Set(
    [...ids].filter((id) => ids.has(id.replace(" against", "")) && id.endsWith(" against")),
  );
  /** @type {RouteMark[]} */
  const marks = model.marks.map(({ id, kind, from, to, influence, nodes }) => {
    const { x, river } = columns.at.get(to.position) ?? { x: 0, river: 0 };
    const low = from === to ? to.level - 1 : from.level;
    const width = Math.max(3, Math.min(river + 18, Math.abs(influence) * columns.scale));
    return {
      id,
      kind,
      layer: nodes[0]?.layer ?? 0,
      position: to.position,
      x,
      y:
        (levels.y(low) + levels.y(to.level)) / 2 +
        (twins.has(`${id} against`) ? -3 : 0) +
        (twins.has(id) ? 3 : 0),
      width,
      tone: signOf(influence, measure),
      influence,
      nodes: nodes.map((node) => node.id),
      between: { source: from.id, target: to.id },
    };
  });
  return { ribbons, stretches, marks };
}

/**
 * Strands one above the other that nothing joins or leaves are drawn as one: drawn apart, they would
 * show their seams.
 * @param {RoutesModel} model
 * @returns {Strand[][]}
 */
function riverRuns({ strands, passages }) {
  const branching = new Set(passages.flatMap(({ from, to }) => [from.id, to.id]));
  /** @type {Map<string, Strand[]>} By the stream that the run has reached. */
  const open = new Map();
  /** @type {Strand[][]} */
  const runs = [];
  for (const strand of strands) {
    const below = branching.has(strand.from.id) ? undefined : open.get(strand.from.id);
    const goesOn = below && below[0].end < 0 === strand.end < 0;
    const run = goesOn ? below : [];
    if (!goesOn) runs.push(run);
    run.push(strand);
    if (strand.to) open.set(strand.to.id, run);
  }
  return runs;
}

/**
 * The cross sections of every stream, of what comes into it and of what leaves it.
 * @param {RoutesModel} model
 * @param {RouteColumns} columns
 */
function stackAll(model, columns) {
  /** @type {Map<string, {stream: Stream, parts: Part[]}>} */
  const into = new Map();
  /** @type {Map<string, {stream: Stream, parts: Part[]}>} */
  const out = new Map();
  const put = (
    /** @type {Map<string, {stream: Stream, parts: Part[]}>} */ stacks,
    /** @type {Stream} */ stream,
    /** @type {Part} */ part,
  ) => {
    const stack = stacks.get(stream.id);
    if (stack) stack.parts.push(part);
    else stacks.set(stream.id, { stream, parts: [part] });
  };
  // No two ribbons of one stream cross: what comes from afar lies outside, what goes far too.
  const byReach = [...model.passages].sort((a, b) => {
    const [near, far] = [a.to.position - a.from.position, b.to.position - b.from.position];
    return near - far || b.sign - a.sign;
  });
  for (const { key, to, influence } of [...byReach].reverse()) put(into, to, { key, influence });
  for (const { key, from, to, start, end } of model.strands) {
    put(out, from, { key, influence: start, elastic: true });
    if (to) put(into, to, { key, influence: end, elastic: true });
  }
  for (const { key, from, influence } of byReach) put(out, from, { key, influence });
  const place = (/** @type {typeof into} */ stacks, /** @type {-1 | 1} */ flank) =>
    new Map(
      [...stacks].map(([id, { stream, parts }]) => {
        const x = columns.at.get(stream.position)?.x ?? 0;
        const { influence } = stream;
        return [id, slotsOf(parts, { influence, x, scale: columns.scale, flank })];
      }),
    );
  return { incoming: place(into, -1), outgoing: place(out, 1) };
}
