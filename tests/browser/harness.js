// A notebook in miniature: a model that answers from tests/fixtures, and as many views as asked for.
//
// harness.html?mode=kernel       through the widget's own door: initialize and render, with messages
// harness.html?mode=standalone   through mountStandalone, as in a saved page
// &views=2  &theme=dark  &include=nothing (a saved page with nothing but the graph)
// &tape=yes  &chat=yes (tape.js)  &many=yes (many.js)

import { opening, withMany } from "/tests/browser/many.js";
import { speaking, withChat, withTape } from "/tests/browser/tape.js";
import widget, { mountStandalone } from "/visit_widget/static/widget.js";

const options = new URLSearchParams(location.search);
const read = async (name) => (await fetch(`/tests/fixtures/${name}.json`)).json();
const names = ["traits", "expand", "project", "audit", "routes", "attribution", "predictions"];
const [recorded, block, projection, audit, ...more] = await Promise.all(names.map(read));
const [routes, attribution, predictions] = more;
const { sinks, ...findings } = await read("findings");

let traits = { ...recorded, expanded: [], selection: [] };
if (options.get("tape")) traits = withTape(traits);
if (options.get("chat")) traits = withChat(traits);
if (options.get("many")) traits = withMany(traits);
const expand = { [block.layer]: block };
const project = projection.nodes;

/** Traits whose change makes a kernel publish a new graph. */
const REDRAWN = [
  ...["opened", "branch", "step", "against", "focus", "target", "foil", "measure", "lens", "keep"],
  "interventions",
];
const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);

/** Every token that the graph speaks of. */
function vocabularyOf({ tokens, prediction, nodes }) {
  const all = [...tokens, ...prediction, ...nodes.flatMap(({ top }) => top)];
  return [...new Map(all.map(({ id, text }) => [id, { id, text }])).values()];
}

/** What anywidget hands to a widget, without a kernel behind it. */
class FakeModel {
  #state = structuredClone(traits);
  #listeners = new Map();
  sent = [];
  /** Messages for methods in here are answered with `ok: false` and this sentence. */
  failing = {};
  /** Messages for methods in here are not answered. */
  silent = new Set();
  /** The blocks it can give, by layer. */
  blocks = expand;
  /** What it can say of nodes, by id. */
  details = project;
  /** What an audit finds. */
  audit = audit;
  /** The replies that depend on nothing but the graph's revision. */
  replies = { routes, attribution, predictions, sinks, ...findings };
  /** What `vocabulary` searches. */
  vocabulary = vocabularyOf(traits.graph);
  /** The other sides that a graph can have, by prompt; and what it says of their nodes, by id. */
  others = {};
  otherDetails = {};
  /** How long an answer takes, in milliseconds. */
  delay = 10;
  /** What a new graph has that the old one had not: tests make their own. */
  revised = (graph) => graph;
  /** Whether the kernel is gone: whatever is sent to it throws. */
  gone = false;

  get(name) {
    return this.#state[name];
  }

  set(name, value) {
    this.#state[name] = value;
    this.#emit(`change:${name}`);
    this.#emit("change");
    if (REDRAWN.includes(name) && !this.silent.has("graph")) setTimeout(() => this.#publish(), 10);
  }

  /** A new graph, about what the traits say now; its numbers stay those of the fixture. */
  #publish() {
    const { graph, focus, target, foil, measure, lens, keep, interventions } = this.#state;
    const { generation, branch, step, prompts, opened } = this.#state;
    const { against = null, status } = this.#state;
    if (against !== null && !this.others[against]) {
      this.set("against", graph.against?.prompt ?? null);
      const message = "This prompt cannot be compared.";
      return this.set("status", { ...status, state: "error", message });
    }
    const about = {
      ...(generation ? { branch, step } : {}),
      ...(prompts && opened !== null ? { opened } : {}),
      position: focus,
      target: { ...graph.target, ...target },
      foil: foil && { ...graph.target, ...foil },
      measure,
      lens,
      keep,
      against: against === null ? undefined : this.others[against],
      interventions: interventions?.length || graph.interventions ? interventions : undefined,
    };
    if (Object.entries(about).every(([name, value]) => same(graph[name], value))) return;
    const next = this.revised({ ...graph, ...about, revision: graph.revision + 1 });
    this.set("graph", next);
    if (next.position !== focus) this.set("focus", next.position);
    // At another focus the kernel follows another token.
    if (target && next.target.id !== target.id) {
      this.set("target", { id: next.target.id, text: next.target.text });
    }
  }

  save_changes() {}

  on(name, listener) {
    for (const each of name.split(" ")) {
      this.#listeners.set(each, [...(this.#listeners.get(each) ?? []), listener]);
    }
  }

  off(name, listener) {
    for (const each of (name ?? [...this.#listeners.keys()].join(" ")).split(" ")) {
      const kept = (this.#listeners.get(each) ?? []).filter((one) => listener && one !== listener);
      this.#listeners.set(each, kept);
    }
  }

  send(message, callbacks, buffers) {
    if (this.gone) throw new Error("Comm is closed");
    this.sent.push(message);
    setTimeout(() => this.#answer(message), this.delay);
  }

  #answer({ kind, id, method, params }) {
    if (kind !== "visit-request" || this.silent.has(method)) return;
    const reply = (rest) => this.#emit("msg:custom", { kind: "visit-response", id, ...rest }, []);
    const fail = (message) => reply({ ok: false, error: { type: "VisitError", message } });
    if (this.failing[method]) return fail(this.failing[method]);
    const revision = params.revision;
    if (method === "expand") {
      const block = this.blocks[params.layer];
      if (!block) return fail(`Layer ${params.layer} is not among the test's fixtures.`);
      return reply({ ok: true, result: { ...block, revision } });
    }
    if (method === "project") {
      const nodes = params.nodes.filter((node) => this.details[node]);
      const details = Object.fromEntries(nodes.map((node) => [node, this.details[node]]));
      const theirs = this.get("graph").against ? this.otherDetails : {};
      const gone = params.nodes.filter((node) => !this.details[node] && !theirs[node]);
      const missing = Object.fromEntries(gone.map((node) => [node, `${node} is not drawn.`]));
      const there = Object.entries(theirs).filter(([id]) => params.nodes.includes(id));
      const beside = this.get("graph").against ? { against: Object.fromEntries(there) } : {};
      const more = { ...beside, ...(params.lenient ? { missing } : {}) };
      return reply({ ok: true, result: { revision, nodes: details, ...more } });
    }
    if (method === "vocabulary") {
      const { query, limit } = params;
      const found = this.vocabulary.filter(({ text }) => text.includes(query)).slice(0, limit);
      return reply({ ok: true, result: { tokens: found } });
    }
    if (method === "branch") return reply({ ok: true, result: this.branching(params) });
    if (method === "audit") return reply({ ok: true, result: this.audit });
    const told = this.replies[method];
    if (told) {
      const { layer } = params;
      return reply({ ok: true, result: { ...told, ...(layer === undefined ? {} : { layer }), revision } });
    }
    fail(`The test's model does not answer '${method}'.`);
  }

  /** Says something that nobody asked for. */
  tell(message) {
    this.#emit("msg:custom", message, []);
  }

  #emit(name, ...values) {
    for (const listener of [...(this.#listeners.get(name) ?? [])]) listener(...values);
  }
}

function newView() {
  const element = document.createElement("div");
  element.className = "view";
  (document.querySelector("[data-place]") ?? document.body).append(element);
  return element;
}

if (options.get("theme")) document.documentElement.dataset.theme = options.get("theme");
const views = Number(options.get("views") ?? 1);

if (options.get("mode") === "standalone") {
  const bare = options.get("include") === "nothing";
  const whole = { traits, expand, project, audit, routes, attribution, predictions, sinks };
  const data = bare ? { traits, expand: {}, project: {} } : whole;
  for (let i = 0; i < views; i++) mountStandalone(newView(), data);
} else {
  const model = new FakeModel();
  const definition = typeof widget === "function" ? await widget() : widget;
  const life = new AbortController();
  window.model = model;
  if (options.get("tape")) speaking(model);
  if (options.get("many")) opening(model);
  window.endWidget = () => life.abort();
  const experimental = { invoke: async () => [null, []] };
  await definition.initialize?.({ model, signal: life.signal, experimental });
  for (let i = 0; i < views; i++) {
    await definition.render({ model, el: newView(), signal: life.signal, experimental });
  }
}
document.documentElement.dataset.ready = "true";
