import { describe, expect, test } from "vitest";
import { createController } from "../src/state/controller.js";
import {
  awaitsGraph,
  isStale,
  knownDetail,
  knownNode,
  latePending,
  mergedGraph,
  missingDetails,
  pendingLayers,
  staleLayers,
} from "../src/state/selectors.js";
import { initialState, reduce } from "../src/state/state.js";
import { RequestError } from "../src/wire/requests.js";
import { createStandaloneHost } from "../src/wire/standalone.js";
import {
  attribution,
  block,
  detail,
  graph,
  node,
  predictions,
  routes,
  settled,
  traits,
} from "./helpers/graph.js";

const run = (state, ...actions) => actions.reduce(reduce, state);
const start = (more) => reduce(initialState, { type: "traits", traits: traits(more) });
const takes = (more) => ({ type: "traits", traits: { graph: graph(more) } });

/** Layer 1 is open, and its head's detail is known. */
const opened = (more) =>
  run(
    start({ expanded: [1], ...more }),
    { type: "block", block: block(1) },
    { type: "details", revision: 1, details: { "L1.H0": detail("L1.H0") } },
  );

describe("a new graph of the same prompt", () => {
  test("leaves open layers on show until their new blocks come", () => {
    const next = run(opened(), takes({ revision: 2 }));
    expect(pendingLayers(next)).toEqual([]);
    expect(staleLayers(next)).toEqual([1]);
    expect(mergedGraph(next).nodes.map(({ id }) => id)).toContain("L1.H0");
    // What the new overview says of a node counts more than what the old block said.
    expect(knownNode(next, "L1.attn").label).toBe("␣Japan");
    const fresh = run(next, { type: "block", block: block(1, 2) });
    expect(staleLayers(fresh)).toEqual([]);
    expect(knownNode(fresh, "L1.attn").label).toBe("␣block");
  });

  test("at another focus does not: its layers hold other things", () => {
    const next = run(opened(), takes({ revision: 2, position: 1 }));
    expect(pendingLayers(next)).toEqual([1]);
    expect(next.blocks).toEqual({});
  });

  test("shows details of the old one while they still say the same", () => {
    const other = { id: 8, text: "␣Kyoto", logit: 6, probability: 0.05, rank: 2 };
    const again = run(opened({ selection: ["L1.H0"] }), takes({ revision: 2 }));
    expect(knownDetail(again, "L1.H0")).not.toBeNull();
    expect(missingDetails(again)).toEqual(["L1.H0"]);
    const followed = run(opened(), takes({ revision: 2, target: other }));
    expect(knownDetail(followed, "L1.H0")).toBeNull();
  });

  test("does not show what a rest node was before", () => {
    const rest = detail("L1.attn.rest", { kind: "rest", rest: { of: "head", count: 6 } });
    const known = run(opened(), { type: "details", revision: 1, details: { [rest.id]: rest } });
    expect(knownDetail(run(known, takes({ revision: 2 })), rest.id)).toBeNull();
  });

  test("keeps the selection, less what it does not hold", () => {
    const selection = ["L1.H0", "L1.H9", "L1.mlp", "L3.H0", "P2.L0.mid"];
    const selected = run(opened(), { type: "traits", traits: { selection } });
    const next = run(selected, takes({ revision: 2 }));
    // Layer 3 is closed, so nothing will bring its head; layer 1 may yet bring both of its own.
    expect(next.selection).toEqual(["L1.H0", "L1.H9", "L1.mlp", "P2.L0.mid"]);
    expect(missingDetails(next)).toEqual(["L1.H0", "L1.mlp", "P2.L0.mid"]);
    const fresh = run(next, { type: "block", block: block(1, 2) });
    expect(fresh.selection).toEqual(["L1.H0", "L1.mlp", "P2.L0.mid"]);
    expect(fresh.past).toEqual([]);
    const routed = run(fresh, {
      type: "late",
      name: "routes",
      reply: routes({ revision: 2, nodes: [node("P2.embed", "embed")] }),
    });
    expect(routed.selection).toEqual(["L1.H0", "L1.mlp"]);
  });

  test("keeps late replies on show, as old ones", () => {
    const known = run(
      start(),
      { type: "late-asked", name: "attribution" },
      { type: "late", name: "attribution", reply: attribution() },
    );
    expect(isStale(known, "attribution")).toBe(false);
    const next = run(known, takes({ revision: 2 }));
    expect(next.attribution).not.toBeNull();
    expect(isStale(next, "attribution")).toBe(true);
    expect(next.lateAsked).toEqual([]);
    expect(run(next, { type: "late", name: "attribution", reply: attribution() })).toBe(next);
    expect(run(known, takes({ revision: 2, prompt: "Else" })).attribution).toBeNull();
  });
});

test("what the wire leaves out of the routes is filled in", () => {
  const bare = {
    ...routes(),
    nodes: [{ id: "P2.L0.mid", kind: "residual", layer: 0, position: 2, influence: 9 }],
    edges: [{ source: "P2.L0.mid", target: "logits", kind: "residual", influence: 9 }],
  };
  const state = run(start(), { type: "late", name: "routes", reply: bare });
  expect(knownNode(state, "P2.L0.mid")).toMatchObject({ top: [], logit: null, influence: 9 });
  expect(state.routes.edges[0]).toMatchObject({ share: null, influence: 9 });
});

test("another measure or more to keep is another graph, where a kernel can make it", () => {
  expect(awaitsGraph(start({ measure: "norm" }))).toBe(true);
  expect(awaitsGraph({ ...start({ measure: "norm" }), live: false })).toBe(false);
  expect(awaitsGraph(start({ keep: { neurons: 20 } }))).toBe(true);
  expect(awaitsGraph(start({ keep: { neurons: { count: 12 }, mass: null } }))).toBe(false);
});

describe("late replies", () => {
  function setUp({ values = {}, handlers = {}, live = true, data = {} } = {}) {
    const asked = [];
    const record = ([method, answer]) => [
      method,
      (params) => {
        asked.push(`${method} ${params.revision}`);
        return answer(params);
      },
    ];
    const host = createStandaloneHost(
      { traits: traits(values), ...data },
      { live, handlers: Object.fromEntries(Object.entries(handlers).map(record)) },
    );
    const controller = createController(host);
    controller.subscribe(() => {});
    return { host, controller, asked, state: () => controller.getState() };
  }
  const answers = {
    routes: ({ revision }) => routes({ revision }),
    attribution: ({ revision }) => attribution({ revision }),
    predictions: ({ revision }) => predictions({ revision }),
  };

  test("come once a graph is watched; routes only while they are looked at", async () => {
    const { controller, host, asked, state } = setUp({ handlers: answers });
    await settled();
    expect(asked).toEqual(["predictions 1", "attribution 1"]);
    expect(state().attribution.total).toBe(9);
    controller.dispatch({ type: "set-view", view: "routes" });
    expect(latePending(state(), "routes")).toBe(true);
    await settled();
    controller.dispatch({ type: "set-view", view: "block" });
    controller.dispatch({ type: "set-view", view: "routes" });
    expect(asked.slice(2)).toEqual(["routes 1"]);
    expect(host.get("view")).toBe("routes");
    host.set("graph", graph({ revision: 2 }));
    await settled();
    expect(asked.slice(3)).toEqual(["routes 2", "predictions 2", "attribution 2"]);
    expect(isStale(state(), "routes")).toBe(false);
  });

  test("that fail under the tokens are one problem with one way to try again", async () => {
    let broken = true;
    const fail = (answer) => (params) => {
      if (broken) throw new Error("The GPU is full.");
      return answer(params);
    };
    const { controller, asked, state } = setUp({
      handlers: {
        attribution: fail(answers.attribution),
        predictions: fail(answers.predictions),
      },
    });
    await settled();
    expect(state().problems).toMatchObject([{ key: "under-tokens", message: "The GPU is full." }]);
    controller.dispatch({ type: "select", nodes: ["embed"] });
    expect(asked).toHaveLength(2);
    broken = false;
    controller.dispatch({ type: "retry", key: "under-tokens" });
    await settled();
    expect(state().problems.filter(({ key }) => key === "under-tokens")).toEqual([]);
    expect(state().predictions.positions).toHaveLength(3);
  });

  test("that a page was saved without: nothing under the tokens, a sentence for the routes", async () => {
    const { controller, state } = setUp({ live: false, data: { attribution: null } });
    await settled();
    expect(state().problems).toEqual([]);
    controller.dispatch({ type: "set-view", view: "routes" });
    await settled();
    expect(state().problems).toMatchObject([
      {
        key: "routes",
        message: expect.stringMatching(/^The routes view was not included in this/),
      },
    ]);
    expect(latePending(state(), "routes")).toBe(false);
  });

  test("that a page was saved with are there, whatever measure is on screen", async () => {
    const data = { attribution: attribution(), predictions: predictions(), routes: routes() };
    const { controller, state } = setUp({ live: false, data, values: { view: "routes" } });
    await settled();
    controller.dispatch({ type: "set-measure", measure: "norm" });
    expect(state().routes.nodes).toHaveLength(4);
    expect(state().attribution.total).toBe(9);
    expect(awaitsGraph(state())).toBe(false);
    expect(state().problems).toEqual([]);
  });

  test("of a kernel that cannot be reached are missed in silence", async () => {
    const { state } = setUp({
      handlers: {
        predictions() {
          throw new RequestError("unreachable", "The kernel cannot be reached.");
        },
      },
    });
    await settled();
    expect(state().problems).toEqual([]);
  });
});

describe("steps", () => {
  test("looking at a position and a layer is one step", () => {
    const host = createStandaloneHost({ traits: traits({ view: "routes", expanded: [0] }) });
    const controller = createController(host);
    controller.dispatch({ type: "look-at", position: 1, layer: 2 });
    expect(controller.getState()).toMatchObject({ focus: 1, view: "block", expanded: [2] });
    controller.dispatch({ type: "undo" });
    expect(controller.getState()).toMatchObject({ focus: 2, view: "routes", expanded: [0] });
    expect(host.get("view")).toBe("routes");
    controller.dispatch({ type: "look-at", position: 1 });
    expect(controller.getState()).toMatchObject({ focus: 1, view: "block", expanded: [0] });
  });

  test("opening a rest node keeps more of it, closing it does not, and undo takes either back", () => {
    const host = createStandaloneHost({ traits: traits() }, { live: true });
    const controller = createController(host);
    controller.dispatch({ type: "open-rest", node: "L1.mlp.rest" });
    expect(host.get("keep")).toMatchObject({ neurons: 12, more: { "L1.mlp.rest": 12 } });
    controller.dispatch({ type: "open-rest", node: "L1.mlp.rest" });
    expect(host.get("keep").more).toEqual({ "L1.mlp.rest": 24 });
    controller.dispatch({ type: "close-rest", node: "L1.mlp.rest" });
    expect(host.get("keep").more).toEqual({});
    controller.dispatch({ type: "undo" });
    expect(host.get("keep").more).toEqual({ "L1.mlp.rest": 24 });
  });

  test("a selection that a new graph drops is dropped for the host too", async () => {
    const host = createStandaloneHost({
      traits: traits({ selection: ["L1.attn", "L3.H0"] }),
      project: { "L1.attn": detail("L1.attn"), "L3.H0": detail("L3.H0") },
    });
    createController(host).subscribe(() => {});
    await settled();
    host.set("graph", graph({ revision: 2 }));
    expect(host.get("selection")).toEqual(["L1.attn"]);
  });
});
