/** What attention of the other prompt alone carries: outlines on the way that it takes there. */

import { signOf } from "../../shared/scales.js";
import { crossing } from "./curve.js";
import { HAIRLINE } from "./flow.js";
import { laneOf } from "./lanes.js";
import { onlyName } from "./names.js";

/** @typedef {import("./model.js").RoutesModel} RoutesModel */

/**
 * @typedef {object} RouteOutline
 * @property {string} key
 * @property {string} source What stands nearest to where it begins: a stream, or the token.
 * @property {string} target
 * @property {number} layer
 * @property {import("../../shared/scales.js").Sign} tone
 * @property {number} width
 * @property {{x: number}} start
 * @property {{x: number}} end
 * @property {number} lane The y of its level run.
 * @property {string} path An outline; a line where that would be too narrow.
 * @property {string} hit What can be pointed at.
 * @property {string} name
 * @property {true} only
 * @property {import("./model.js").OnlyPassage} passage
 */

const LEAST_OUTLINED = 4;
const LEAST_HIT = 8;

/**
 * From the middle of one river to that of the other: what they carry here has no part of it.
 *
 * @param {RoutesModel} model
 * @param {import("./grid.js").RouteColumns} columns
 * @param {import("./grid.js").RouteLevels} levels
 * @param {Map<number, import("./lanes.js").Lanes>} lanes
 * @param {import("../../../types.js").FlowGraph} graph
 * @returns {RouteOutline[]}
 */
export function placeOnly({ only, routes, columns: rivers }, columns, levels, lanes, graph) {
  const nearest = (/** @type {import("./model.js").OnlyPassage["from"]} */ { position, level }) => {
    const [stream] = [...(rivers.get(position) ?? [])].sort(
      (a, b) => Math.abs(a.level - level) - Math.abs(b.level - level),
    );
    return stream?.id ?? `P${position}.embed`;
  };
  return only.map((passage) => {
    const { key, from, to, layer, influence } = passage;
    const [start, end] = [from, to].map(({ position }) => ({
      x: columns.at.get(position)?.x ?? 0,
    }));
    const [low, high] = [levels.y(from.level), levels.y(to.level)];
    const width = Math.max(HAIRLINE, Math.abs(influence) * columns.scale);
    const lane = laneOf(lanes.get(from.level), key, low, high);
    const as = (/** @type {number} */ wide) =>
      crossing({
        from: { x: start.x, y: low },
        to: { x: end.x, y: high },
        lane,
        width: wide,
        startWidth: wide,
        endWidth: wide,
      });
    const [path, hit] = [as(width < LEAST_OUTLINED ? 0 : width), as(Math.max(LEAST_HIT, width))];
    const [source, target] = [from, to].map(nearest);
    const tone = signOf(influence, routes.measure);
    const name = onlyName(graph, routes, passage);
    const ends = { source, target, start, end };
    return { ...ends, key, layer, tone, width, lane, path, hit, name, only: true, passage };
  });
}
