import { describe, expect, test, vi } from "vitest";
import { createController } from "../src/state/controller.js";
import { auditPending, exactness } from "../src/state/selectors.js";
import { RequestError } from "../src/wire/requests.js";
import { createStandaloneHost } from "../src/wire/standalone.js";
import { audit, badAudit, block, detail, graph, settled, traits } from "./helpers/graph.js";

/** A controller over a fake kernel whose answers a test gives by hand or by handler. */
function setUp({ values = {}, handlers = {}, live = true, watch = true } = {}) {
  const asked = [];
  const set = [];
  const record = (method, answer) => (params, options) => {
    asked.push({ method, params });
    return answer(params, options);
  };
  const answers = {
    expand: ({ layer, revision }) => block(layer, revision),
    project: ({ nodes, revision }) => ({
      revision,
      nodes: Object.fromEntries(nodes.map((id) => [id, detail(id)])),
    }),
    retrace: () => ({ revision: 2 }),
    ...handlers,
  };
  const host = createStandaloneHost(
    { traits: traits(values) },
    {
      live,
      handlers: Object.fromEntries(
        Object.entries(answers).map(([method, answer]) => [method, record(method, answer)]),
      ),
      onSet: (name, value) => set.push([name, value]),
    },
  );
  const controller = createController(host);
  if (watch) controller.subscribe(() => {});
  return { host, controller, asked, set, state: () => controller.getState() };
}

/** A promise that the test settles. */
function held() {
  let settle;
  const promise = new Promise((resolve, reject) => {
    settle = { resolve, reject };
  });
  return { promise, ...settle };
}

describe("opening a layer", () => {
  test("sets the trait, asks for the block, and shows it", async () => {
    const { controller, asked, set, state } = setUp();
    controller.dispatch({ type: "toggle-layer", layer: 1 });
    expect(set).toEqual([["expanded", [1]]]);
    expect(asked).toEqual([{ method: "expand", params: { layer: 1, revision: 1 } }]);
    await settled();
    expect(state().blocks[1]).toBeDefined();
    expect(state().asked).toEqual([]);
  });

  test("again closes it, and a third time needs no asking", async () => {
    const { controller, asked, state } = setUp();
    for (let click = 0; click < 3; click += 1) {
      controller.dispatch({ type: "toggle-layer", layer: 1 });
      await settled();
    }
    expect(state().expanded).toEqual([1]);
    expect(asked).toHaveLength(1);
  });

  test("from Python asks too", async () => {
    const { host, asked } = setUp();
    host.set("expanded", [2, 3]);
    await settled();
    expect(asked.map(({ params }) => params.layer)).toEqual([2, 3]);
  });

  test("that fails closes it and says why; trying again opens it", async () => {
    let broken = true;
    const { controller, set, state } = setUp({
      handlers: {
        expand({ layer, revision }) {
          if (broken) throw new RequestError("OutOfMemory", "The GPU is full.");
          return block(layer, revision);
        },
      },
    });
    controller.dispatch({ type: "toggle-layer", layer: 1 });
    await settled();
    expect(state().expanded).toEqual([]);
    expect(set.at(-1)).toEqual(["expanded", []]);
    expect(state().problems).toMatchObject([{ key: "expand", message: "The GPU is full." }]);
    broken = false;
    controller.dispatch({ type: "retry", key: "expand" });
    await settled();
    expect(state().problems).toEqual([]);
    expect(state().blocks[1]).toBeDefined();
  });

  test("of many that fail is one sentence, and one try again", async () => {
    let broken = true;
    const { controller, state } = setUp({
      handlers: {
        async expand({ layer, revision }) {
          if (broken) throw new Error("The kernel is gone.");
          return block(layer, revision);
        },
      },
    });
    for (const layer of [1, 2, 3]) controller.dispatch({ type: "toggle-layer", layer });
    await settled();
    expect(state().problems).toHaveLength(1);
    broken = false;
    controller.dispatch({ type: "retry", key: "expand" });
    await settled();
    expect(state().expanded).toEqual([1, 2, 3]);
    expect(state().problems).toEqual([]);
  });

  test("shows how far the kernel is", async () => {
    const answer = held();
    const { controller, state } = setUp({
      handlers: {
        expand(_, { onProgress }) {
          onProgress(2, 9);
          return answer.promise;
        },
      },
    });
    controller.dispatch({ type: "toggle-layer", layer: 1 });
    expect(state().progress).toEqual({ "layer 1": { done: 2, total: 9 } });
    answer.resolve(block(1));
    await settled();
    expect(state().progress).toEqual({});
  });
});

describe("a new graph", () => {
  test("has its open layers and its selection asked for again", async () => {
    const { host, controller, asked, state } = setUp({ values: { expanded: [1] } });
    controller.dispatch({ type: "select", nodes: ["L1.H0"] });
    await settled();
    asked.length = 0;
    host.set("graph", graph({ revision: 2, position: 2 }));
    expect(asked).toEqual([
      { method: "expand", params: { layer: 1, revision: 2 } },
      { method: "project", params: { nodes: ["L1.H0"], revision: 2 } },
    ]);
    await settled();
    expect(state().blocks[1].revision).toBe(2);
  });

  test("makes replies to the old one void", async () => {
    const late = held();
    let calls = 0;
    const { host, controller, state } = setUp({
      handlers: {
        expand: ({ layer, revision }) => (++calls === 1 ? late.promise : block(layer, revision)),
      },
    });
    controller.dispatch({ type: "toggle-layer", layer: 1 });
    host.set("graph", graph({ revision: 2 }));
    late.reject(new Error("too late to matter"));
    await settled();
    expect(state().problems).toEqual([]);
    expect(state().expanded).toEqual([1]);
    expect(state().blocks[1].revision).toBe(2);
  });
});

test("a question that crosses with a new graph is not a failure", async () => {
  vi.useFakeTimers();
  let drawing = true;
  const { controller, host, state, asked } = setUp({
    handlers: {
      async expand({ layer, revision }) {
        if (drawing) throw new Error("The graph has changed since this was asked.");
        return block(layer, revision);
      },
    },
  });
  controller.dispatch({ type: "set-focus", position: 1 });
  controller.dispatch({ type: "toggle-layer", layer: 1 });
  await vi.advanceTimersByTimeAsync(1200);
  expect(state()).toMatchObject({ problems: [], expanded: [1] });
  expect(asked.length).toBeGreaterThan(1);
  drawing = false;
  host.set("graph", graph({ revision: 2, position: 1 }));
  await vi.advanceTimersByTimeAsync(0);
  expect(state().blocks[1].revision).toBe(2);
  const times = asked.length;
  await vi.advanceTimersByTimeAsync(2000);
  expect(asked).toHaveLength(times);
  vi.useRealTimers();
});

describe("selecting", () => {
  test("sets the trait and asks for what is not known", async () => {
    const { controller, asked, set, state } = setUp();
    controller.dispatch({ type: "select", nodes: ["L1.attn"] });
    await settled();
    controller.dispatch({ type: "select", nodes: ["L1.mlp"], additive: true });
    await settled();
    expect(set).toEqual([
      ["selection", ["L1.attn"]],
      ["selection", ["L1.attn", "L1.mlp"]],
    ]);
    expect(asked.map(({ params }) => params.nodes)).toEqual([["L1.attn"], ["L1.mlp"]]);
    controller.dispatch({ type: "select", nodes: ["L1.attn"], additive: true });
    expect(state().selection).toEqual(["L1.mlp"]);
  });

  test("that fails is not asked again by every change, only by trying again", async () => {
    const { controller, asked, state } = setUp({
      handlers: {
        project() {
          throw new Error("The model has moved.");
        },
      },
    });
    controller.dispatch({ type: "select", nodes: ["L1.attn"] });
    await settled();
    controller.dispatch({ type: "set-measure", measure: "norm" });
    await settled();
    expect(asked).toHaveLength(1);
    expect(state().problems).toMatchObject([{ key: "details", message: "The model has moved." }]);
    controller.dispatch({ type: "retry", key: "details" });
    await settled();
    expect(asked).toHaveLength(2);
  });
});

describe("the audit", () => {
  test("is asked for by its first reader, once for all, and kept", async () => {
    const { controller, asked, state } = setUp({ handlers: { audit: () => audit() } });
    const stops = [controller.readAudit(), controller.readAudit()];
    expect(auditPending(state())).toBe(true);
    await settled();
    expect(state().audit).toEqual(audit());
    expect(auditPending(state())).toBe(false);
    for (const stop of stops) stop();
    controller.readAudit();
    await settled();
    expect(asked).toEqual([{ method: "audit", params: { revision: 1 } }]);
  });

  test("is called off with its last reader, and asked for anew by the next", async () => {
    const signals = [];
    const answer = held();
    const { controller, state } = setUp({
      handlers: {
        audit(_, { signal }) {
          signals.push(signal);
          return answer.promise;
        },
      },
    });
    const [one, two] = [controller.readAudit(), controller.readAudit()];
    one();
    one();
    expect(signals[0].aborted).toBe(false);
    two();
    expect(signals[0].aborted).toBe(true);
    expect(auditPending(state())).toBe(false);
    controller.readAudit();
    expect(signals).toHaveLength(2);
    answer.resolve(audit());
    await settled();
    expect(state().audit).toEqual(audit());
  });

  test("that fails is a problem that can be tried again, not by every change", async () => {
    let broken = true;
    const { controller, asked, state } = setUp({
      handlers: {
        async audit() {
          if (broken) throw new RequestError("OutOfMemory", "The GPU is full.");
          return audit();
        },
      },
    });
    const stop = controller.readAudit();
    await settled();
    controller.dispatch({ type: "open-layers", layers: [] });
    await settled();
    expect(asked).toHaveLength(1);
    expect(state().problems).toMatchObject([{ key: "audit", message: "The GPU is full." }]);
    expect(auditPending(state())).toBe(false);
    stop();
    expect(state().problems).toEqual([]);
    controller.readAudit();
    await settled();
    broken = false;
    controller.dispatch({ type: "retry", key: "audit" });
    await settled();
    expect(asked).toHaveLength(3);
    expect(state()).toMatchObject({ problems: [], audit: audit() });
  });

  test("of another graph is another audit", async () => {
    const late = held();
    let calls = 0;
    const { controller, host, asked, state } = setUp({
      handlers: { audit: () => (++calls === 1 ? late.promise : audit({ position: 1 })) },
    });
    controller.readAudit();
    host.set("graph", graph({ revision: 2, position: 1 }));
    late.resolve(audit());
    await settled();
    expect(asked.map(({ params }) => params.revision)).toEqual([1, 2]);
    expect(state().audit.position).toBe(1);
    host.set("graph", graph({ revision: 3, position: 0 }));
    expect(state().audit).toBeNull();
  });

  test("that crosses with a new graph waits for it", async () => {
    vi.useFakeTimers();
    const { controller, host, state } = setUp({
      handlers: {
        async audit({ revision }) {
          if (revision === 1) throw new Error("The graph has changed since this was asked.");
          return audit();
        },
      },
    });
    controller.dispatch({ type: "set-focus", position: 1 });
    controller.readAudit();
    await vi.advanceTimersByTimeAsync(1200);
    expect(state().problems).toEqual([]);
    host.set("graph", graph({ revision: 2, position: 1 }));
    await vi.advanceTimersByTimeAsync(0);
    expect(state().audit).not.toBeNull();
    vi.useRealTimers();
  });

  test("has the last word on how exact the graph is", async () => {
    const { controller, state } = setUp({ handlers: { audit: () => badAudit() } });
    expect(exactness(state())).toEqual({ exact: true, error: 4e-7 });
    controller.readAudit();
    await settled();
    expect(exactness(state())).toEqual({ exact: false, error: 0.03 });
  });
});

test("undo puts traits back", async () => {
  const { controller, set } = setUp();
  controller.dispatch({ type: "set-measure", measure: "norm" });
  controller.dispatch({ type: "set-focus", position: 1 });
  set.length = 0;
  controller.dispatch({ type: "undo" });
  controller.dispatch({ type: "undo" });
  expect(set).toEqual([
    ["focus", 2],
    ["measure", "logit"],
  ]);
});

test("a target goes out with the text that it is shown by", () => {
  const { controller, set } = setUp();
  controller.dispatch({ type: "set-target", id: 8 });
  expect(set).toEqual([["target", { id: 8, text: "␣Kyoto" }]]);
});

test("a prompt that cannot be traced is a sentence, and what is shown stays", async () => {
  const { controller, state } = setUp({
    handlers: {
      retrace() {
        throw new Error("The prompt is longer than the model's 2,048 tokens.");
      },
    },
  });
  controller.dispatch({ type: "retrace", prompt: "…" });
  await settled();
  expect(state().problems).toMatchObject([{ key: "retrace", retry: { prompt: "…" } }]);
  expect(state().graph).not.toBeNull();
});

test("a status that says error is shown, until it no longer does", () => {
  const { host, state } = setUp();
  const status = { state: "error", message: "Token 99 is past the prompt.", exact: true };
  host.set("status", { ...status, max_error: null });
  expect(state().problems).toMatchObject([{ key: "status", message: status.message }]);
  host.set("status", { ...status, state: "ready", message: null, max_error: null });
  expect(state().problems).toEqual([]);
});

test("a kernel that leaves a new focus unanswered is said to be silent", () => {
  vi.useFakeTimers();
  const { controller, host, state } = setUp();
  controller.dispatch({ type: "set-focus", position: 1 });
  vi.advanceTimersByTime(20_000);
  expect(state().silent).toBe(true);
  host.set("graph", graph({ revision: 2, position: 1 }));
  expect(state().silent).toBe(false);
  vi.useRealTimers();
});

test("nothing is asked before somebody looks", async () => {
  const { controller, asked } = setUp({ values: { expanded: [1] }, watch: false });
  await settled();
  expect(asked).toEqual([]);
  controller.subscribe(() => {});
  expect(asked).toHaveLength(1);
});

describe("a saved page", () => {
  test("answers from what it carries and says what it does not", async () => {
    const host = createStandaloneHost({
      traits: traits(),
      expand: { 1: block(1) },
      project: { "L1.H0": detail("L1.H0") },
    });
    const controller = createController(host);
    controller.subscribe(() => {});
    controller.dispatch({ type: "toggle-layer", layer: 1 });
    controller.dispatch({ type: "toggle-layer", layer: 3 });
    controller.dispatch({ type: "select", nodes: ["L1.H0"] });
    await settled();
    const state = controller.getState();
    expect(state.expanded).toEqual([1]);
    expect(state.details["L1.H0"]).toBeDefined();
    expect(state.problems).toHaveLength(1);
    expect(state.problems[0].message).toMatch(/^Layer 3 was not included in this page\./);
    // Trying again could not help.
    expect(state.problems[0]).not.toHaveProperty("retry");
  });

  test("has the audit that it was saved with, or says how to save one", async () => {
    const read = async (data) => {
      const controller = createController(createStandaloneHost({ traits: traits(), ...data }));
      controller.subscribe(() => {});
      controller.readAudit();
      await settled();
      return controller.getState();
    };
    expect((await read({ audit: audit() })).audit).toEqual(audit());
    for (const without of [{}, { audit: null }]) {
      const [problem] = (await read(without)).problems;
      expect(problem.message).toMatch(/saved without its audit.*save_html\(path, audit=True\)/);
      expect(problem).not.toHaveProperty("retry");
    }
  });

  test("does not alter the data that it was given", () => {
    const data = { traits: traits() };
    const host = createStandaloneHost(data);
    host.set("measure", "norm");
    expect(data.traits.measure).toBe("logit");
  });
});
