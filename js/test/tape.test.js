// @vitest-environment jsdom
import "./helpers/dom.js";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { createTurns, isTemplate } from "../src/shell/prompt/turns.js";
import { createTape } from "../src/shell/tape/tape.js";
import { createController } from "../src/state/controller.js";
import { takeGraph } from "../src/state/revisions.js";
import { awaitsGraph } from "../src/state/selectors.js";
import { initialState, reduce } from "../src/state/state.js";
import { h } from "../src/ui/dom.js";
import { createStandaloneHost } from "../src/wire/standalone.js";
import { branchWords, saidFacts, saidMark, saidWords } from "../src/words/said.js";
import { graph, traits } from "./helpers/graph.js";

const TOKENS = [
  { id: 7, text: "␣Tokyo", probability: 0.85, rank: 1, first: null, put: false },
  {
    id: 8,
    text: "␣a",
    probability: 0.03,
    rank: 4,
    first: { id: 9, text: "␣the", probability: 0.41 },
    put: false,
  },
  {
    id: 5,
    text: "␣Kyoto",
    probability: 0.001,
    rank: 90,
    first: { id: 9, text: "␣the", probability: 0.5 },
    put: true,
  },
];
const FIRST = { of: null, at: null, token: null };
const GENERATION = { begun: 3, tokens: TOKENS, interrupted: false, branches: [FIRST] };

/** The graph of a step: so many tokens of the new ones stand in its prompt. */
function stepped(step, more = {}) {
  const had = graph();
  const own = TOKENS.slice(0, step).map(({ id, text }, n) => ({ id, text, position: 3 + n }));
  const tokens = [...had.tokens, ...own];
  const position = tokens.length - 1;
  return graph({
    revision: step + 1,
    prompt: tokens.map(({ text }) => text).join(""),
    tokens,
    position,
    target: { ...had.target, ...TOKENS[step] },
    step,
    branch: 0,
    ...more,
  });
}

describe("words", () => {
  test("say what came, how likely it was, and what the first choice was", () => {
    expect(TOKENS.map(saidFacts)).toEqual([
      "␣Tokyo 85.0%, rank 1",
      "␣a 3.0%, rank 4; the first choice was ␣the (41.0%)",
      expect.stringMatching(/^␣Kyoto .*rank 90; the first choice was ␣the \(50\.0%\); put there$/),
    ]);
    expect(saidWords(TOKENS[0], 11)).toBe("New token 12, ␣Tokyo 85.0%, rank 1");
    expect(TOKENS.map(saidMark)).toEqual(["", "≠", "✎"]);
  });

  test("name a branch by what was put, and where it left", () => {
    const kyoto = { of: 0, at: 2, token: { id: 5, text: "␣Kyoto" } };
    const all = [FIRST, kyoto, { ...kyoto, of: 1, at: 4 }];
    expect(all.map((_, at) => branchWords(all, at))).toEqual([
      "as it was said",
      "1: ␣Kyoto as token 3",
      "2: ␣Kyoto as token 5 in branch 1",
    ]);
  });
});

describe("state", () => {
  const at = (step) => ({
    ...initialState,
    generation: GENERATION,
    branch: 0,
    step,
    focus: 2 + step,
    graph: stepped(step),
  });

  test("a step waits for its graph, and so does a branch", () => {
    const state = { ...at(1), target: { id: 8 } };
    expect(awaitsGraph(state)).toBe(false);
    expect(awaitsGraph({ ...state, step: 2 })).toBe(true);
    expect(awaitsGraph({ ...state, branch: 1 })).toBe(true);
    expect(awaitsGraph({ ...state, branch: 1, live: false })).toBe(false);
  });

  test("playing is one step to undo, and a branch is taken back to where it was asked", () => {
    let state = at(0);
    state = reduce(state, { type: "change", changes: { step: 1 } });
    state = reduce(state, { type: "change", changes: { step: 2 }, goesOn: true });
    expect(reduce(state, { type: "undo" }).step).toBe(0);
    const traits = { branch: 1, step: 1, focus: 3 };
    const branched = reduce(reduce(state, { type: "traits", traits }), {
      type: "branched",
      from: state,
    });
    const { branch, step } = reduce(branched, { type: "undo" });
    expect([branch, step]).toEqual([0, 2]);
  });

  test("what is on show stays from step to step, as far as its tokens are still there", () => {
    const late = { routes: { revision: 2 }, predictions: { revision: 2 }, selection: ["L1.mlp"] };
    const on = takeGraph({ ...at(1), ...late }, stepped(2));
    expect([on.routes, on.predictions]).toEqual([late.routes, late.predictions]);
    const back = takeGraph({ ...at(1), ...late }, stepped(0));
    expect([back.routes, back.predictions]).toEqual([null, late.predictions]);
    const other = takeGraph({ ...at(1), ...late }, graph({ revision: 9, prompt: "A dog" }));
    expect(other.predictions).toBe(null);
    const elsewhere = stepped(2);
    elsewhere.tokens[3] = { ...elsewhere.tokens[3], id: 99 };
    expect(takeGraph({ ...at(1), ...late }, elsewhere).predictions).toBe(null);
  });
});

describe("the tape", () => {
  let tape;
  let controller;
  let sent;
  let asked;

  beforeEach(() => {
    vi.useFakeTimers();
    document.body.replaceChildren();
  });
  afterEach(() => {
    tape.destroy();
    vi.useRealTimers();
  });

  function open({ live = true, step = 0 } = {}) {
    sent = [];
    asked = [];
    const data = {
      traits: traits({
        graph: stepped(step),
        focus: 2 + step,
        target: TOKENS[step],
        generation: GENERATION,
        branch: 0,
        step,
      }),
    };
    const host = createStandaloneHost(data, {
      live,
      onSet: (name, value) => sent.push([name, value]),
      handlers: {
        branch: (params) => {
          asked.push(params);
          return { branch: 1 };
        },
      },
    });
    controller = createController(host);
    tape = createTape(controller, { show: vi.fn(), close: vi.fn() });
    document.body.append(tape.el);
    controller.subscribe((state) => tape.update(state));
    tape.update(controller.getState());
    return host;
  }

  const chips = () => [...tape.el.querySelectorAll(".vw-chip")];
  const said = (role) => tape.el.querySelector(`[data-role="${role}"]`).textContent;
  const steps = () => sent.filter(([name]) => name === "step").map(([, value]) => value);
  const draw = (host, step) => {
    host.set("graph", stepped(step));
    host.set("focus", 2 + step);
    host.set("target", TOKENS[step]);
  };

  test("marks the token on show and tells it, or the one that is looked at", () => {
    open({ step: 1 });
    expect(chips().map((chip) => chip.getAttribute("aria-current"))).toEqual([null, "step", null]);
    expect(said("tape-place")).toBe("token 2 of 3");
    expect(said("tape-facts")).toMatch(/^␣a 3\.0%, rank 4/);
    chips()[0].dispatchEvent(new Event("pointerenter"));
    expect(said("tape-facts")).toBe("␣Tokyo 85.0%, rank 1");
  });

  test("a click and the arrows go to a token", () => {
    open();
    chips()[2].click();
    expect(steps()).toEqual([2]);
    const press = (chip, key) =>
      chip.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
    press(chips()[2], "ArrowRight");
    press(chips()[2], "ArrowLeft");
    press(chips()[1], "Home");
    expect(steps()).toEqual([2, 1, 0]);
    expect(document.activeElement).toBe(chips()[0]);
  });

  test("plays on once a step is drawn, to the end, and stops for its reader", () => {
    const host = open();
    const play = tape.el.querySelector('[data-role="play"]');
    play.click();
    expect(steps()).toEqual([1]);
    vi.advanceTimersByTime(5000);
    expect(steps()).toEqual([1]);
    draw(host, 1);
    vi.advanceTimersByTime(1000);
    expect(steps()).toEqual([1, 2]);
    draw(host, 2);
    expect(play.getAttribute("aria-label")).toMatch(/^Play/);
    play.click();
    expect(steps()).toEqual([1, 2, 0]);
    draw(host, 0);
    chips()[0].click();
    vi.advanceTimersByTime(5000);
    expect(steps()).toEqual([1, 2, 0]);
  });

  test("without a kernel it is there to be read", () => {
    open({ live: false, step: 1 });
    expect(tape.el.querySelector('[data-role="play"]')).toBe(null);
    expect(tape.el.querySelector('[data-role="say-else"]')).toBe(null);
    chips()[2].click();
    expect(sent).toEqual([]);
    chips()[2].focus();
    expect(said("tape-facts")).toMatch(/^␣Kyoto/);
  });

  test("a branch is asked for", async () => {
    open();
    await controller.dispatch({ type: "branch", at: 1, token: 9 });
    expect(asked).toEqual([{ at: 1, token: 9 }]);
    expect(controller.getState().past).toHaveLength(1);
  });
});

describe("turns", () => {
  const turns = [
    { role: null, start: 0, end: 2, said: null },
    { role: "user", start: 2, end: 6, said: [3, 5] },
  ];
  const made = () => [0, 1, 2, 3, 4, 5].map(() => h("span", {}));

  test("tell the template's tokens from those that were said", () => {
    expect([2, 3, 4, 5].map((at) => isTemplate(turns[1], at))).toEqual([true, false, false, true]);
    const chips = made();
    createTurns(() => {}).mark(chips, turns);
    expect(chips.map((chip) => chip.classList.contains("template"))).toEqual([
      true,
      true,
      true,
      false,
      false,
      true,
    ]);
  });

  test("fold, stay folded in the next graph, and open for the focus", () => {
    const onFold = vi.fn();
    const shown = createTurns(onFold);
    let cells = made();
    const heads = () => shown.arranged(cells, turns).filter((el) => el.matches(".vw-turn"));
    expect(heads().map((el) => el.textContent)).toEqual(["template", "user"]);
    shown.arranged(cells, turns)[3].click();
    expect(cells.map(({ hidden }) => hidden)).toEqual([false, false, true, true, true, true]);
    cells = made();
    expect(heads().map((el) => el.textContent)).toEqual(["template", "user · 4 tokens"]);
    expect(cells[3].hidden).toBe(true);
    shown.reveal(4);
    expect(cells[3].hidden).toBe(false);
    expect(onFold).toHaveBeenCalledTimes(2);
    expect(shown.arranged(cells, undefined)).toBe(cells);
    expect(shown.arranged([...cells, ...made()], turns)).toHaveLength(14);
  });
});
