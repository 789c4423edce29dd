import { describe, expect, test } from "vitest";
import { holdController } from "../src/state/registry.js";
import { createModelHost, isSameModel } from "../src/wire/host.js";
import { fakeModel, settled, traits } from "./helpers/graph.js";

describe("a widget's model", () => {
  test("is known again behind another proxy, and is not another widget's", () => {
    const one = fakeModel(traits());
    const other = fakeModel(traits());
    expect(isSameModel(one.proxy(), one.proxy())).toBe(true);
    expect(isSameModel(one.proxy(), other.proxy())).toBe(false);
  });

  test("has one controller, from initialize to the last view", () => {
    const model = fakeModel();
    const initialised = holdController(model.proxy());
    const again = holdController(model.proxy());
    const view = holdController(model.proxy());
    expect(view.controller).toBe(initialised.controller);
    expect(again.controller).toBe(initialised.controller);
    initialised.release();
    initialised.release();
    again.release();
    expect(model.listenerCount()).toBeGreaterThan(0);
    view.release();
    expect(model.listenerCount()).toBe(0);
  });

  test("that comes to its view uninitialised gets one all the same", () => {
    const model = fakeModel();
    const { controller, release } = holdController(model.proxy());
    expect(controller.getState().graph?.revision).toBe(1);
    release();
  });
});

describe("a model that holds what was saved", () => {
  /** As a book hands it out: it can be read and set, and all else throws. */
  function savedModel(saved, set = () => {}) {
    const refuse = () => {
      throw new Error("not implemented");
    };
    return {
      get: (name) => ({ saved })[name],
      set,
      save_changes: refuse,
      on: refuse,
      off: refuse,
      send: refuse,
    };
  }

  test("answers from that, and is told what is chosen", async () => {
    const told = [];
    const saved = { traits: traits(), expand: {} };
    const initialised = holdController(savedModel(saved));
    const { controller, release } = holdController(savedModel(saved, (...args) => told.push(args)));
    expect(controller).toBe(initialised.controller);
    expect(controller.live).toBe(false);
    initialised.release();
    release();

    const view = holdController(savedModel(saved, (...args) => told.push(args)));
    view.controller.subscribe(() => {});
    view.controller.dispatch({ type: "select", nodes: ["L1.post"] });
    expect(told).toEqual([["selection", ["L1.post"]]]);
    view.controller.dispatch({ type: "toggle-layer", layer: 1 });
    await settled();
    expect(view.controller.getState().problems[0].message).toMatch(/not included in this page/);
    view.release();
    expect(holdController(savedModel({ traits: traits() })).controller).not.toBe(view.controller);
  });
});

describe("a host over a model", () => {
  test("carries requests as custom messages", async () => {
    const model = fakeModel();
    const host = createModelHost(model.proxy());
    const asked = host.request("expand", { layer: 1, revision: 1 });
    const [{ id, kind }] = model.sent;
    expect(kind).toBe("visit-request");
    model.answer({ kind: "visit-response", id, ok: true, result: "block" });
    expect(await asked).toBe("block");
    host.destroy();
    expect(model.listenerCount()).toBe(0);
  });

  test("survives a kernel that is gone, and says so", async () => {
    const model = fakeModel();
    const { controller, release } = holdController(model.proxy());
    controller.subscribe(() => {});
    model.dead = true;
    controller.dispatch({ type: "set-measure", measure: "norm" });
    expect(controller.getState()).toMatchObject({ measure: "norm", problems: [] });
    controller.dispatch({ type: "toggle-layer", layer: 1 });
    await settled();
    expect(controller.getState().problems[0].message).toMatch(/cannot be reached/);
    expect(controller.getState().expanded).toEqual([]);
    controller.dispatch({ type: "dismiss", key: "expand" });
    controller.dispatch({ type: "set-focus", position: 0 });
    expect(controller.getState().problems[0].message).toMatch(/cannot be reached/);
    release();
  });
});
