/** A made-up routes graph whose influences are consistent, by the rules of docs/protocol.md. */

import { edge, graph, node } from "./graph.js";

/** @param {number} seed */
function random(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

const WORDS =
  "The ␣capital ␣of ␣Japan ␣is ␣the ␣city ␣of ␣and ␣people ␣say ␣that , ␣Kyoto ␣was ␣before".split(
    " ",
  );
const SAYINGS = ["␣Japan", "␣Japanese", "␣(", "lid", "␣Tokyo", "␣city", "␣part", "aves", "⏎"];

/**
 * @param {{tokens?: number, layers?: number, heads?: number, seed?: number, total?: number,
 *   threshold?: number, parallel?: boolean, against?: number, measure?: string}} [options]
 *   `against`: how often a part works against its whole.
 */
export function madeRoutes({
  tokens = 8,
  layers = 12,
  heads = 4,
  seed = 1,
  total = 13,
  threshold = 0.01,
  parallel = false,
  against = 0.25,
  measure = "logit",
} = {}) {
  const next = random(seed);
  const focus = tokens - 1;
  const nodes = new Map();
  const edges = [];
  const counts = { bias: 0, rest: 0 };
  const least = threshold * Math.abs(total);

  const add = (id, kind, influence, more) => {
    const known = nodes.get(id);
    if (known) known.influence += influence;
    else {
      const label = SAYINGS[Math.floor(next() * 3) + (more.layer > 8 ? 3 : 0)];
      nodes.set(id, { ...node(id, kind, { label, layer: null, ...more }), influence });
    }
  };
  const link = (source, target, kind, influence) => {
    edges.push({ ...edge(source, target, kind), influence });
  };
  const stream = (position, layer, stage) =>
    layer < 0 ? `P${position}.embed` : `P${position}.L${layer}.${stage}`;
  const touch = (position, layer, stage, influence) =>
    add(
      stream(position, layer, stage),
      layer < 0 ? "embed" : "residual",
      influence,
      layer < 0 ? { position } : { position, layer },
    );

  /** Shares of one whole that sum to 1, some of them negative. */
  const sharesOf = (weights) => {
    const signed = weights.map((weight, at) => (at > 0 && next() < against ? -weight : weight));
    const sum = signed.reduce((a, b) => a + b, 0);
    return signed.map((weight) => weight / sum);
  };

  add("logits", "logits", total, { position: focus, label: null, top: [] });
  const bias = 0.02 * total;
  add("norm.bias", "bias", bias, { position: focus, label: null });
  link("norm.bias", "logits", "part", bias);
  counts.bias += bias;
  touch(focus, layers - 1, "post", total - bias);
  link(stream(focus, layers - 1, "post"), "logits", "residual", total - bias);

  const spill = (whole, position, layer, influence, count) => {
    if (influence === 0) return;
    add(`${whole}.rest`, "rest", influence, { position, layer, rest: { of: "part", count } });
    link(`${whole}.rest`, whole, "part", influence);
    counts.rest += influence;
  };

  for (let layer = layers - 1; layer >= 0; layer--) {
    for (let position = 0; position < tokens; position++) {
      const post = stream(position, layer, "post");
      const whole = nodes.get(post);
      if (!whole) continue;
      const below = parallel ? stream(position, layer - 1, "post") : stream(position, layer, "mid");
      const [through, kept] = sharesOf([0.15 + 0.5 * next(), 1.2]);
      const viaMlp = whole.influence * through;
      const viaStream = whole.influence * kept;
      const pairs = [];
      if (Math.abs(viaMlp) >= least) {
        add(`P${position}.L${layer}.mlp`, "mlp", viaMlp, { position, layer });
        link(`P${position}.L${layer}.mlp`, post, "write", viaMlp);
        link(below, `P${position}.L${layer}.mlp`, "through", viaMlp);
        pairs.push(viaMlp);
      } else spill(post, position, layer, viaMlp, 1);
      if (!parallel) {
        link(below, post, "residual", viaStream);
        pairs.push(viaStream);
        touch(
          position,
          layer,
          "mid",
          pairs.reduce((a, b) => a + b, 0),
        );
        attend(below, position, layer, nodes.get(below).influence);
      } else {
        attend(post, position, layer, viaStream);
        if (pairs.length) touch(position, layer - 1, "post", viaMlp);
      }
    }
  }

  function attend(whole, position, layer, influence) {
    const busy = next() < 0.35;
    const parts = [];
    for (let source = 0; source <= position; source++) {
      for (let head = 0; head < heads; head++) {
        const strong = next() < (busy ? 0.12 : 0.03) || (source === 0 && next() < 0.1);
        parts.push({ source, head, weight: strong ? 0.04 + 0.5 * next() ** 2 : 0.004 * next() });
      }
    }
    const shares = sharesOf([1.4, ...parts.map(({ weight }) => weight)]);
    let pruned = 0;
    let count = 0;
    parts.forEach(({ source, head, weight }, at) => {
      const value = influence * shares[at + 1];
      if (Math.abs(value) < least) {
        pruned += value;
        count += 1;
        return;
      }
      const id = `P${position}.L${layer}.H${head}.V${source}`;
      add(id, "value", value, { position, layer, head, source, weight: Math.min(1, weight) });
      link(id, whole, "part", value);
      link(stream(source, layer - 1, "post"), id, "through", value);
      touch(source, layer - 1, "post", value);
    });
    const residual = influence * shares[0];
    link(stream(position, layer - 1, "post"), whole, "residual", residual);
    touch(position, layer - 1, "post", residual);
    spill(whole, position, layer, pruned, count);
  }

  const values = Array.from({ length: tokens }, (_, position) => {
    const value = nodes.get(`P${position}.embed`)?.influence ?? 0;
    return { position, value, direct: 0.6 * value };
  });
  const routes = {
    revision: 1,
    position: focus,
    measure,
    total,
    nodes: [...nodes.values()],
    edges,
    attribution: {
      tokens: values,
      bias: counts.bias,
      opaque: 0,
      rest: counts.rest,
      total,
    },
  };
  const words = Array.from({ length: tokens }, (_, position) => WORDS[position % WORDS.length]);
  return {
    routes,
    graph: graph({
      model: { ...graph().model, n_layers: layers, n_heads: heads },
      tokens: words.map((text, position) => ({ position, id: position, text })),
      position: focus,
      measure,
      target: { id: 7, text: "␣Tokyo", logit: total, probability: 0.85, rank: 1 },
    }),
  };
}
