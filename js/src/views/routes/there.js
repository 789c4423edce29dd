/** The other prompt's routes, beside those of this one: by the places of here. Pure. */

import { partnerOf } from "../../state/other-side.js";
import { signed } from "../../words/format.js";
import { tokenText } from "../../words/words.js";

/** @import { FlowGraph, Node, Routes } from "../../types.js" */

/**
 * @typedef {object} TherePassage
 * @property {string} key Of layer, places and sign.
 * @property {number} layer
 * @property {number} from Below nothing: a token of there alone (state/only-there.js).
 * @property {number} to
 * @property {number[]} heads
 * @property {{node: Pick<Node, "id" | "head" | "label" | "top">, influence: number}[]} carriers
 *   The largest first.
 * @property {number} influence
 *
 * @typedef {object} ThereRoutes
 * @property {Map<string, {influence: number, label: string | null}>} nodes By the ids of here.
 * @property {TherePassage[]} passages What heads carry there that carry nothing here, the largest
 *   first.
 * @property {(position: number) => number | null} adds What a token's partner adds there.
 * @property {{position: number, value: number}[]} alone What tokens of there alone add.
 */

/** @param {TherePassage["carriers"]} carriers */
const headsOf = (carriers) => [...new Set(carriers.map(({ node }) => Number(node.head)))];

const VALUE = /^P(b?)(\d+)\.L(\d+)\.H(\d+)\.V(b?)(\d+)$/;

/** @type {WeakMap<Routes, ThereRoutes | null>} */
const known = new WeakMap();

/**
 * @param {Routes} routes
 * @param {FlowGraph} graph
 * @returns {ThereRoutes | null} Null where nothing is compared.
 */
export function thereRoutes(routes, graph) {
  const found = known.get(routes);
  if (found !== undefined) return found;
  const made = read(routes, graph);
  known.set(routes, made);
  return made;
}

/**
 * @param {Routes} routes
 * @param {FlowGraph} graph
 * @returns {ThereRoutes | null}
 */
function read({ nodes, against }, graph) {
  const other = graph.against;
  if (!against || !other) return null;
  /** @type {Map<string, TherePassage>} */
  const passages = new Map();
  const here = new Set(nodes.map(({ id }) => id));
  for (const { id, influence, label = null } of against.nodes) {
    if (here.has(id)) continue;
    const [, own, to, layer, head, alone, from] = VALUE.exec(id) ?? [];
    if (to === undefined || influence == null) continue;
    const placed = (/** @type {string} */ mark, /** @type {string} */ at) =>
      mark ? -1 - Number(at) : Number(at);
    const [start, end] = [placed(alone, from), placed(own, to)];
    if (start === end) continue;
    const key = `${layer} ${start} ${end} ${influence < 0 ? "−" : "+"}`;
    const known = passages.get(key);
    const carrier = { node: { id, head: Number(head), label, top: [] }, influence };
    const carriers = [...(known?.carriers ?? []), carrier].sort(
      (a, b) => Math.abs(b.influence) - Math.abs(a.influence),
    );
    passages.set(key, {
      key,
      layer: Number(layer),
      from: start,
      to: end,
      heads: headsOf(carriers),
      carriers,
      influence: (known?.influence ?? 0) + influence,
    });
  }
  const values = new Map(
    against.attribution.tokens.map(({ position, value }) => [position, value]),
  );
  const partnered = new Set(other.pairs.map(([, there]) => there));
  return {
    nodes: new Map(
      against.nodes.map(({ id, influence, label }) => [
        id,
        { influence: influence ?? 0, label: label ?? null },
      ]),
    ),
    passages: [...passages.values()].sort((a, b) => Math.abs(b.influence) - Math.abs(a.influence)),
    adds(position) {
      const there = partnerOf(other, position);
      return there === null ? null : (values.get(there) ?? 0);
    },
    alone: [...values]
      .filter(([position]) => !partnered.has(position))
      .map(([position, value]) => ({ position, value })),
  };
}

/**
 * @param {ThereRoutes | null} there
 * @param {{id: string}[]} nodes Of here.
 * @returns {number | null} What the same nodes carry there; null where none is kept there.
 */
export function carriedThere(there, nodes) {
  const known = nodes.flatMap(({ id }) => there?.nodes.get(id)?.influence ?? []);
  return known.length > 0 ? known.reduce((sum, each) => sum + each, 0) : null;
}

/**
 * @param {FlowGraph} graph
 * @param {number} position
 * @returns {string} The token of the other prompt that is the partner of one here; "–" for none.
 */
export function tokenThere({ against }, position) {
  const there = against ? partnerOf(against, position) : null;
  return there === null ? "–" : (against?.tokens[there]?.text ?? "–");
}

/**
 * @param {number} here
 * @param {number | null | undefined} there
 * @param {(value: number) => string} [write]
 * @returns {string} "there −0.30, difference +2.98"
 */
export function besideWords(here, there, write = signed) {
  if (there == null) return "not kept there";
  return `there ${write(there)}, difference ${write(here - there)}`;
}

/**
 * What the picture shows of the other prompt, and what it leaves to the table.
 *
 * @param {Routes} routes
 * @param {FlowGraph} graph
 * @param {import("./layout/model.js").OnlyPassage[]} only What is drawn of it.
 */
export function besideAccount(routes, graph, only) {
  const there = thereRoutes(routes, graph);
  if (!there) return "";
  const others = there.passages.length - only.length;
  const further = only.length > 0 ? " more" : "";
  const count = `${others === 1 ? "One" : others}${further} passage${others === 1 ? "" : "s"}`;
  const more =
    others === 0 ? "" : ` ${count} of its own ${others === 1 ? "is" : "are"} in the table.`;
  const alone = there.alone.map(({ position }) => tokenText(graph, -1 - position));
  const tokens = alone.length > 0 ? ` Its ${alone.join(", ")} has no partner here.` : "";
  return ` Streams and ribbons are this prompt’s; what is dashed or in italics is the other’s.${more}${tokens}`;
}
