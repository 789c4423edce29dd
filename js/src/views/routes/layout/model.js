/** A routes graph, read for layout: streams, what passes between columns, and what stays in one. */

/** @typedef {import("../../../types.js").Node} Node */
/** @typedef {import("../../../types.js").Edge} Edge */
/** @typedef {import("../../../types.js").Routes} Routes */

/**
 * @typedef {object} Stream A node of a column: the embedding, or the stream at a height.
 * @property {string} id
 * @property {Node} node
 * @property {number} position
 * @property {number} level 0 is the embedding; a layer's middle is odd, its end even.
 * @property {number} influence
 *
 * @typedef {object} Strand What goes straight up a column, from one stream to the next above.
 * @property {string} key
 * @property {Stream} from
 * @property {Stream | null} to Null: the logits.
 * @property {number} start Influence that leaves `from` this way, marks on it included.
 * @property {number} end
 *
 * @typedef {object} Mark What joins the stream without leaving its column: an MLP, an opaque part, a
 *   head that reads its own position.
 * @property {string} id
 * @property {string} kind
 * @property {Stream} from
 * @property {Stream} to
 * @property {number} influence
 * @property {Node[]} nodes
 *
 * @typedef {object} Carrier
 * @property {Node} node Of kind value: one head that reads one position.
 * @property {number} influence
 *
 * @typedef {object} Passage What attention of one layer carries from one column to another.
 * @property {string} key
 * @property {Stream} from
 * @property {Stream} to
 * @property {number} layer
 * @property {number} influence
 * @property {1 | -1} sign Parts that speak for and against are passages apart.
 * @property {Carrier[]} carriers The largest first.
 *
 * @typedef {object} OnlyPassage What attention of the other prompt alone carries, between partners
 *   of tokens here.
 * @property {string} key
 * @property {Pick<Stream, "position" | "level">} from
 * @property {Pick<Stream, "position" | "level">} to
 * @property {number} layer
 * @property {number} influence
 * @property {1 | -1} sign
 * @property {import("../there.js").TherePassage["carriers"]} carriers The largest first.
 *
 * @typedef {object} RoutesModel
 * @property {Routes} routes
 * @property {Map<string, Stream>} streams
 * @property {Map<number, Stream[]>} columns By position, each from the bottom up.
 * @property {Strand[]} strands
 * @property {Mark[]} marks
 * @property {Passage[]} passages
 * @property {OnlyPassage[]} only The largest of them; none where nothing is compared.
 * @property {Node | null} logits
 * @property {number} layers
 * @property {Map<string, number>} pruned What was left out, by the stream that it would flow into.
 * @property {number} largest The largest |influence| of a stream.
 */

/** Less than any influence that could be seen: widths are divided by the largest. */
const NOTHING = 1e-9;

/** @param {Node} node */
export function levelOf({ id, kind, layer }) {
  if (kind === "embed" || layer === null) return 0;
  return 2 * layer + (id.endsWith(".mid") ? 1 : 2);
}

const influenceOf = (/** @type {{influence?: number | null}} */ { influence }) =>
  Number.isFinite(influence) ? /** @type {number} */ (influence) : 0;

/**
 * @param {Routes} routes
 * @param {number} layers
 * @param {import("../there.js").ThereRoutes | null} [there]
 * @returns {RoutesModel}
 */
export function readRoutes(routes, layers, there = null) {
  const nodes = new Map(routes.nodes.map((node) => [node.id, node]));
  const streams = readStreams(routes.nodes);
  const { marks, passages, own } = readAttention(routes, nodes, streams);
  const written = readMarks(routes.edges, nodes, streams);
  const all = [...marks, ...written];
  return {
    routes,
    streams,
    columns: columnsOf(streams),
    strands: readStrands(routes.edges, streams, [
      ...own,
      ...passing(routes.edges, streams, written),
    ]),
    marks: all,
    passages,
    only: there ? readOnly(there.passages, streams) : [],
    logits: nodes.get("logits") ?? null,
    layers,
    pruned: readPruned(routes.edges, nodes),
    largest: Math.max(
      NOTHING,
      Math.abs(routes.total),
      ...[...streams.values()].map(({ influence }) => Math.abs(influence)),
    ),
  };
}

/** @param {Node[]} nodes */
function readStreams(nodes) {
  /** @type {Map<string, Stream>} */
  const streams = new Map();
  for (const node of nodes) {
    if (node.kind !== "embed" && node.kind !== "residual") continue;
    const { id, position } = node;
    streams.set(id, { id, node, position, level: levelOf(node), influence: influenceOf(node) });
  }
  return streams;
}

/** More would hide what they stand beside. */
const MOST_ONLY = 12;

/**
 * Those of the other prompt that go between two places which this picture has.
 *
 * @param {import("../there.js").TherePassage[]} passages The largest first.
 * @param {Map<string, Stream>} streams
 * @returns {OnlyPassage[]}
 */
function readOnly(passages, streams) {
  const hasMiddles = [...streams.values()].some(({ level }) => level % 2 === 1);
  return passages
    .filter(({ from, to }) => from >= 0 && to >= 0)
    .slice(0, MOST_ONLY)
    .map(({ key, layer, from, to, influence, carriers }) => ({
      key: `there ${key}`,
      from: { position: from, level: 2 * layer },
      to: { position: to, level: 2 * layer + (hasMiddles ? 1 : 2) },
      layer,
      influence,
      sign: influence < 0 ? -1 : 1,
      carriers,
    }));
}

/** @param {Map<string, Stream>} streams */
function columnsOf(streams) {
  /** @type {Map<number, Stream[]>} */
  const columns = new Map();
  for (const stream of streams.values()) {
    columns.set(stream.position, [...(columns.get(stream.position) ?? []), stream]);
  }
  for (const column of columns.values()) column.sort((a, b) => a.level - b.level);
  return new Map([...columns].sort(([a], [b]) => a - b));
}

/**
 * @typedef {object} Leg A stretch up a column that a mark lies on.
 * @property {Stream} from
 * @property {Stream} to
 * @property {number} start
 * @property {number} end
 */

/**
 * Values by source and target, those that speak for and against apart.
 * @param {Routes} routes
 * @param {Map<string, Node>} nodes
 * @param {Map<string, Stream>} streams
 */
function readAttention({ edges }, nodes, streams) {
  /** @type {Map<string, Stream>} */
  const sources = new Map();
  for (const { kind, source, target } of edges) {
    const from = streams.get(source);
    if (kind === "through" && from && nodes.get(target)?.kind === "value")
      sources.set(target, from);
  }
  /** @type {Map<string, Passage>} */
  const groups = new Map();
  for (const edge of edges) {
    const node = nodes.get(edge.source);
    const to = streams.get(edge.target);
    const from = sources.get(edge.source);
    if (edge.kind !== "part" || node?.kind !== "value" || !from || !to) continue;
    const influence = influenceOf(edge);
    const sign = influence < 0 ? -1 : 1;
    const key = `${from.id}→${to.id}${sign < 0 ? " against" : ""}`;
    const group = groups.get(key) ?? {
      key,
      from,
      to,
      layer: node.layer ?? 0,
      influence: 0,
      sign: /** @type {1 | -1} */ (sign),
      carriers: [],
    };
    group.influence += influence;
    group.carriers.push({ node, influence });
    groups.set(key, group);
  }
  /** @type {Mark[]} */
  const marks = [];
  /** @type {Passage[]} */
  const passages = [];
  for (const group of groups.values()) {
    group.carriers.sort((a, b) => Math.abs(b.influence) - Math.abs(a.influence));
    const { key, from, to, influence, carriers } = group;
    if (from.position !== to.position) passages.push(group);
    else {
      const within = carriers.map(({ node }) => node);
      marks.push({ id: key, kind: "value", from, to, influence, nodes: within });
    }
  }
  passages.sort((a, b) => a.layer - b.layer || Math.abs(b.influence) - Math.abs(a.influence));
  /** @type {Leg[]} */
  const own = marks.map(({ from, to, influence }) => {
    return { from, to, start: influence, end: influence };
  });
  return { marks, passages, own };
}

const IN_COLUMN = new Set(["mlp", "opaque"]);

/**
 * @param {Edge[]} edges
 * @param {Map<string, Node>} nodes
 * @param {Map<string, Stream>} streams
 * @returns {Mark[]}
 */
function readMarks(edges, nodes, streams) {
  /** @type {Map<string, Stream>} */
  const from = new Map();
  for (const { kind, source, target } of edges) {
    const stream = streams.get(source);
    if (kind === "through" && stream) from.set(target, stream);
  }
  return edges.flatMap((edge) => {
    const node = nodes.get(edge.source);
    const to = streams.get(edge.target);
    if (!node || !to || !IN_COLUMN.has(node.kind)) return [];
    const influence = influenceOf(edge);
    // An opaque part ends what it carries: nothing leads into it.
    const start = from.get(node.id) ?? to;
    return [{ id: node.id, kind: node.kind, from: start, to, influence, nodes: [node] }];
  });
}

/**
 * What leaves the stream for a mark on it.
 * @param {Edge[]} edges
 * @param {Map<string, Stream>} streams
 * @param {Mark[]} marks
 * @returns {Leg[]}
 */
function passing(edges, streams, marks) {
  const into = new Map(
    edges.flatMap((edge) =>
      edge.kind === "through" && streams.has(edge.source) ? [[edge.target, influenceOf(edge)]] : [],
    ),
  );
  return marks
    .filter(({ from, to }) => from !== to)
    .map(({ id, from, to, influence }) => {
      return { from, to, start: into.get(id) ?? influence, end: influence };
    });
}

/**
 * @param {Edge[]} edges
 * @param {Map<string, Stream>} streams
 * @param {Leg[]} legs
 */
function readStrands(edges, streams, legs) {
  /** @type {Map<string, Strand>} */
  const strands = new Map();
  /**
   * @param {Stream} from
   * @param {Stream | null} to
   * @param {number} start
   * @param {number} end
   */
  const add = (from, to, start, end) => {
    const key = `${from.id}→${to?.id ?? "logits"}`;
    const strand = strands.get(key) ?? { key, from, to, start: 0, end: 0 };
    strand.start += start;
    strand.end += end;
    strands.set(key, strand);
  };
  for (const edge of edges) {
    const from = streams.get(edge.source);
    const to = streams.get(edge.target) ?? null;
    if (edge.kind !== "residual" || !from || (!to && edge.target !== "logits")) continue;
    add(from, to, influenceOf(edge), influenceOf(edge));
  }
  for (const { from, to, start, end } of legs) add(from, to, start, end);
  return [...strands.values()].sort((a, b) => a.from.level - b.from.level);
}

/**
 * @param {Edge[]} edges
 * @param {Map<string, Node>} nodes
 */
function readPruned(edges, nodes) {
  /** @type {Map<string, number>} */
  const pruned = new Map();
  for (const edge of edges) {
    if (nodes.get(edge.source)?.kind !== "rest") continue;
    pruned.set(edge.target, (pruned.get(edge.target) ?? 0) + influenceOf(edge));
  }
  return pruned;
}

/**
 * The streams of a column that are drawn: a layer's middle that nothing joins is the same stream as
 * its end.
 * @param {RoutesModel} model
 * @param {Stream[]} column From the bottom up.
 */
export function shownStreams({ passages, marks, strands }, column) {
  const joined = new Set([...passages, ...marks].map(({ to }) => to.id));
  const linked = new Set(strands.map(({ key }) => key));
  return column.filter(({ id, level }, at) => {
    const passes =
      linked.has(`${id}→${column[at + 1]?.id}`) && linked.has(`${column[at - 1]?.id}→${id}`);
    return level % 2 === 0 || joined.has(id) || !passes;
  });
}
