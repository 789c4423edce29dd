// A notebook in miniature: a model that answers from tests/fixtures, and as many views as asked for.
//
// harness.html?mode=kernel       through the widget's own door: initialize and render, with messages
// harness.html?mode=standalone   through mountStandalone, as in a saved page
// &views=2  &theme=dark  &include=nothing (a saved page with nothing but the graph)

import widget, { mountStandalone } from "/visit_widget/static/widget.js";

const options = new URLSearchParams(location.search);
const read = async (name) => (await fetch(`/tests/fixtures/${name}.json`)).json();
const names = ["traits", "expand", "project", "audit"];
const [recorded, block, projection, audit] = await Promise.all(names.map(read));

const traits = { ...recorded, expanded: [], selection: [] };
const expand = { [block.layer]: block };
const project = projection.nodes;

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
  /** What an audit finds. */
  audit = audit;
  /** Whether the kernel is gone: whatever is sent to it throws. */
  gone = false;

  get(name) {
    return this.#state[name];
  }

  set(name, value) {
    this.#state[name] = value;
    this.#emit(`change:${name}`);
    this.#emit("change");
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
    setTimeout(() => this.#answer(message), 10);
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
      const nodes = params.nodes.filter((node) => project[node]);
      const details = Object.fromEntries(nodes.map((node) => [node, project[node]]));
      return reply({ ok: true, result: { revision, nodes: details } });
    }
    if (method === "audit") return reply({ ok: true, result: this.audit });
    fail(`The test's model does not answer '${method}'.`);
  }

  #emit(name, ...values) {
    for (const listener of [...(this.#listeners.get(name) ?? [])]) listener(...values);
  }
}

function newView() {
  const element = document.createElement("div");
  element.className = "view";
  document.body.append(element);
  return element;
}

if (options.get("theme")) document.documentElement.dataset.theme = options.get("theme");
const views = Number(options.get("views") ?? 1);

if (options.get("mode") === "standalone") {
  const bare = options.get("include") === "nothing";
  const data = bare ? { traits, expand: {}, project: {} } : { traits, expand, project, audit };
  for (let i = 0; i < views; i++) mountStandalone(newView(), data);
} else {
  const model = new FakeModel();
  const definition = typeof widget === "function" ? await widget() : widget;
  const life = new AbortController();
  window.model = model;
  window.endWidget = () => life.abort();
  const experimental = { invoke: async () => [null, []] };
  await definition.initialize?.({ model, signal: life.signal, experimental });
  for (let i = 0; i < views; i++) {
    await definition.render({ model, el: newView(), signal: life.signal, experimental });
  }
}
document.documentElement.dataset.ready = "true";
