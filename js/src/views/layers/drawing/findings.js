/** What findings add to the picture: marks of outliers, and edges from head to head. */

import { edgeWords, outlierRuns, sinkWords } from "../../../words/findings.js";
import { BANK } from "../layout/parts.js";

/** @typedef {import("../layout/scene.js").Scene} Scene */
/** @typedef {import("../../../types.js").Composed} Composed */
/** @typedef {import("../../../types.js").Sinks} Sinks */
/** @typedef {import("d3-selection").Selection<SVGGElement, unknown, any, any>} Group */

/** @typedef {{x: number, y: number, words: string, kind: "sink" | "outlier"}} Mark */
/** @typedef {Composed["edges"][number] & {path: string, x: number, y: number}} DrawnEdge */

/** So many edges, and so wide at most. */
const MOST = 12;
const WIDEST = 4;
/** Where along an edge its sign stands. */
const SIGN_AT = 0.1;
const DOWN = "M-4,-7H4L0,-1Z";
const UP = "M-4,-1H4L0,-7Z";

/**
 * @param {Group} group
 * @param {Scene} scene
 * @param {Sinks | null | undefined} sinks
 */
export function drawOutliers(group, scene, sinks) {
  /** @type {Mark[]} */
  const river = outlierRuns(sinks).flatMap(({ from, to, words }) => {
    const cells = scene.cells.filter(({ id, layer }) => {
      // The stream before a layer is the one after the layer before it.
      const before =
        from === 0 ? layer === null : layer !== null && layer >= from - 1 && layer < to;
      return before && !/\.mid$/.test(id);
    });
    const [cell] = cells;
    return cell ? [{ x: cell.x + cell.width / 2, y: -BANK, words, kind: "outlier" }] : [];
  });
  const told = new Map(
    [...(sinks?.sinks ?? []), ...(sinks?.outliers ?? [])].map((each) => [each.position, each]),
  );
  /** @type {Mark[]} */
  const chips = scene.sources.flatMap(({ position, x, y, height }) =>
    told.has(position)
      ? [
          {
            x: x + 2.5,
            y: y - height / 2,
            words: sinkWords(sinks ?? null, position).join("\n"),
            kind: /** @type {const} */ ("sink"),
          },
        ]
      : [],
  );
  const marks = /** @type {import("d3-selection").Selection<SVGGElement, Mark, any, any>} */ (
    group.selectAll("g.vw-outlier")
  )
    .data([...river, ...chips])
    .join((enter) => {
      const made = enter.append("g");
      made.append("path");
      made.append("title");
      return made;
    })
    .attr("class", (d) => `vw-outlier ${d.kind}`)
    .attr("role", "img")
    .attr("aria-label", (d) => d.words)
    .attr("transform", ({ x, y }) => `translate(${x},${y})`);
  marks.select("path").attr("d", (d) => (d.kind === "sink" ? DOWN : UP));
  marks.select("title").text((d) => d.words);
}

/**
 * Arcs over the picture, from what writes to the head that reads; what is not drawn apart begins at
 * its layer's attention.
 *
 * @param {Group} group
 * @param {Scene} scene
 * @param {Composed | null | undefined} composed
 */
export function drawHeadEdges(group, scene, composed) {
  const nodes = new Map(scene.nodes.map((node) => [node.id, node]));
  const placeOf = (/** @type {string} */ id) =>
    nodes.get(id) ?? nodes.get(id.replace(/\.H\d+$/, ".attn"));
  const edges = composed?.edges.filter(({ traced }) => traced !== null).slice(0, MOST) ?? [];
  const most = Math.max(1e-9, ...edges.map(({ traced }) => Math.abs(traced ?? 0)));
  /** @type {DrawnEdge[]} */
  const drawn = edges.flatMap((edge) => {
    const [from, to] = [placeOf(edge.source), placeOf(edge.target)];
    if (!from || !to || from === to) return [];
    // The arc's highest point is at three quarters of that, and stays in the picture.
    const apex = 5 - scene.axisY;
    const least = apex + (apex - Math.min(from.y, to.y)) / 3;
    const top = Math.max(
      least,
      Math.min(from.y, to.y) - 18 - Math.min(90, Math.abs(to.x - from.x) / 5),
    );
    const path = `M${from.x},${from.y}C${from.x},${top} ${to.x},${top} ${to.x},${to.y}`;
    const [t, r] = [SIGN_AT, 1 - SIGN_AT];
    const x = from.x * r * r * (r + 3 * t) + to.x * t * t * (t + 3 * r);
    const y = from.y * r ** 3 + 3 * top * t * r + to.y * t ** 3;
    return [{ ...edge, path, x, y }];
  });
  const joined = /** @type {import("d3-selection").Selection<SVGGElement, DrawnEdge, any, any>} */ (
    group.selectAll("g.vw-composes")
  )
    .data(drawn, (d) => `${d.source} ${d.target} ${d.reads}`)
    .join((enter) => {
      const made = enter.append("g");
      made.append("path");
      made.append("text").attr("text-anchor", "middle");
      made.append("title");
      return made;
    })
    .attr("class", (d) => `vw-composes ${d.reads} ${(d.traced ?? 0) < 0 ? "negative" : "positive"}`)
    .attr("data-source", (d) => d.source)
    .attr("data-target", (d) => d.target)
    .attr("role", "img")
    .attr("aria-label", edgeWords);
  joined
    .select("path")
    .attr("d", (d) => d.path)
    .attr("stroke-width", (d) => 1 + ((WIDEST - 1) * Math.abs(d.traced ?? 0)) / most);
  joined
    .select("text")
    .attr("x", (d) => d.x)
    .attr("y", (d) => d.y + 4)
    .text((d) => ((d.traced ?? 0) < 0 ? "−" : "+"));
  joined.select("title").text(edgeWords);
}
