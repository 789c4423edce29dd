/** Small graphs and a fake model for tests; real ones are in tests/fixtures. */

import { readFileSync } from "node:fs";

/** @param {string} name */
export function fixture(name) {
  const url = new URL(`../../../tests/fixtures/${name}.json`, import.meta.url);
  return JSON.parse(readFileSync(url, "utf8"));
}

export function node(id, kind, more = {}) {
  return {
    id,
    kind,
    layer: /^L(\d+)/.test(id) ? Number(/^L(\d+)/.exec(id)[1]) : null,
    position: 2,
    head: null,
    source: null,
    neuron: null,
    label: "␣Japan",
    top: [
      { id: 9, text: "␣Japan", probability: 0.5 },
      { id: 7, text: "␣Tokyo", probability: 0.1 },
    ],
    bottom: [{ id: 4, text: "lid", probability: 0 }],
    target_probability: 0.1,
    target_rank: 12,
    norm: 1,
    logit: 2.68,
    activation: null,
    weight: null,
    score: null,
    rest: null,
    ...more,
  };
}

export function edge(source, target, kind, more = {}) {
  return {
    source,
    target,
    kind,
    share: 0.41,
    logit: 2.68,
    norm: 1,
    proximity: 0.2,
    value: null,
    ...more,
  };
}

export function graph(more = {}) {
  return {
    version: 1,
    revision: 1,
    model: {
      name: "tiny",
      type: "llama",
      n_layers: 4,
      n_heads: 2,
      d_model: 8,
      d_mlp: 16,
      n_vocab: 50,
    },
    prompt: "The capital of",
    tokens: ["The", "␣capital", "␣of"].map((text, position) => ({ position, id: position, text })),
    position: 2,
    target: { id: 7, text: "␣Tokyo", logit: 9, probability: 0.85, rank: 1 },
    foil: null,
    measure: "logit",
    keep: {},
    layers: [],
    prediction: [
      { id: 7, text: "␣Tokyo", logit: 9, probability: 0.85 },
      { id: 8, text: "␣Kyoto", logit: 6, probability: 0.05 },
    ],
    nodes: [
      node("embed", "embed"),
      node("L1.pre", "residual"),
      node("L1.attn", "attention"),
      node("L1.mid", "residual"),
      node("L1.mlp", "mlp"),
      node("L1.post", "residual"),
      node("logits", "logits", { label: null, top: [] }),
    ],
    edges: [edge("L1.pre", "L1.mid", "residual"), edge("L1.attn", "L1.mid", "write")],
    ...more,
  };
}

export function block(layer = 1, revision = 1) {
  return {
    layer,
    revision,
    nodes: [
      node(`L${layer}.H0`, "head", { head: 0 }),
      node(`L${layer}.H0.V1`, "value", { head: 0, source: 1, weight: 0.6 }),
      node(`L${layer}.attn`, "attention", { label: "␣block" }),
    ],
    edges: [
      edge(`L${layer}.H0`, `L${layer}.attn`, "part"),
      edge(`L${layer}.attn`, `L${layer}.mid`, "write"),
    ],
  };
}

export function detail(id, more = {}) {
  return {
    ...node(id, "head", { head: 0 }),
    share: 0.41,
    whole: "L1.attn",
    target: { probability: 0.1, rank: 12 },
    foil: null,
    attention: [0.1, 0.6, 0.3],
    sources: [{ position: 1, weight: 0.6, logit: 2.1 }],
    reads: null,
    ...more,
  };
}

export function audit(more = {}) {
  return {
    rows: [
      { identity: "attention = Σ heads + bias", error: 4.8e-7 },
      { identity: "MLP = Σ neurons + bias", error: 2.5e-6 },
      { identity: "attention rows = output_attentions", error: null },
    ],
    tolerance: 1e-4,
    exact: true,
    max_error: 2.5e-6,
    position: 2,
    dtype: "float32",
    ...more,
  };
}

export function attribution(more = {}) {
  return {
    revision: 1,
    tokens: [
      { position: 0, value: 0.5, direct: 0.4 },
      { position: 1, value: -1.5, direct: -1.2 },
      { position: 2, value: 4, direct: 1 },
    ],
    bias: 0.2,
    opaque: 0,
    rest: 5.8,
    total: 9,
    ...more,
  };
}

export function predictions(more = {}) {
  const token = (id, text, probability) => ({ id, text, probability });
  return {
    revision: 1,
    positions: [
      {
        position: 0,
        top: [token(20, "␣first", 0.2), token(21, "␣best", 0.1), token(1, "␣capital", 0.05)],
        next: { ...token(1, "␣capital", 0.05), rank: 3 },
      },
      {
        position: 1,
        top: [token(2, "␣of", 0.9), token(22, "␣city", 0.04), token(23, ",", 0.01)],
        next: { ...token(2, "␣of", 0.9), rank: 1 },
      },
      {
        position: 2,
        top: [token(7, "␣Tokyo", 0.85), token(8, "␣Kyoto", 0.05), token(24, "␣the", 0.02)],
        next: null,
      },
    ],
    ...more,
  };
}

/** A value at position 2 that reads position 1, on its way to the logits. */
export function routes(more = {}) {
  const { revision: _, ...facts } = attribution();
  return {
    revision: 1,
    position: 2,
    measure: "logit",
    total: 9,
    nodes: [
      node("P1.embed", "embed", { position: 1, influence: 4 }),
      node("P2.L0.H1.V1", "value", { layer: 0, head: 1, source: 1, weight: 0.6, influence: 4 }),
      node("P2.L0.mid", "residual", { layer: 0, influence: 9 }),
      node("logits", "logits", { label: null, top: [], influence: 9 }),
    ],
    edges: [
      edge("P1.embed", "P2.L0.H1.V1", "through", { influence: 4 }),
      edge("P2.L0.H1.V1", "P2.L0.mid", "part", { influence: 4 }),
    ],
    attribution: facts,
    ...more,
  };
}

/** One of two identities does not hold. */
export const badAudit = () =>
  audit({
    rows: [
      { identity: "attention = Σ heads + bias", error: 4.8e-7 },
      { identity: "MLP = Σ neurons + bias", error: 0.03 },
    ],
    exact: false,
    max_error: 0.03,
  });

export function traits(more = {}) {
  return {
    prompt: "The capital of",
    focus: 2,
    target: { id: 7, text: "␣Tokyo" },
    foil: null,
    graph: graph(),
    expanded: [],
    selection: [],
    measure: "logit",
    keep: {},
    view: "block",
    status: { state: "ready", message: null, max_error: 4e-7, exact: true },
    ...more,
  };
}

/** What anywidget makes of a widget: one store, and a proxy of it for each who asks. */
export function fakeModel(values = traits()) {
  const listeners = new Map();
  const model = {
    values: { ...values },
    sent: [],
    dead: false,
    proxy() {
      return {
        get: (name) => model.values[name],
        set(name, value) {
          if (model.values[name] === value) return;
          model.values[name] = value;
          model.fire(`change:${name}`);
        },
        save_changes() {
          if (model.dead) throw new Error("Cannot send");
        },
        send(message) {
          if (model.dead) throw new Error("Cannot send");
          model.sent.push(message);
        },
        on(event, callback) {
          if (!listeners.has(event)) listeners.set(event, new Set());
          listeners.get(event).add(callback);
        },
        off(event, callback) {
          listeners.get(event)?.delete(callback);
        },
      };
    },
    fire(event, ...args) {
      for (const callback of [...(listeners.get(event) ?? [])]) callback(...args);
    },
    /** The kernel sets a trait. */
    publish(name, value) {
      model.values[name] = value;
      model.fire(`change:${name}`);
    },
    answer(message) {
      model.fire("msg:custom", message, []);
    },
    listenerCount: () => [...listeners.values()].reduce((sum, set) => sum + set.size, 0),
  };
  return model;
}

/** Lets promises that are already settled run on. */
export const settled = () => new Promise((resolve) => setTimeout(resolve, 0));
