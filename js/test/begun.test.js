// @vitest-environment jsdom
import { describe, expect, it } from "vitest";
import { tokensSection } from "../src/shell/panel/panel-sections.js";
import { writeToken } from "../src/views/shared/glyphs.js";
import { indexGraph } from "../src/views/shared/graph.js";
import { fitLabel, fitText, textWidth } from "../src/views/shared/text.js";
import { settingApart } from "../src/wire/bidi.js";
import { restOf, restOfLabel } from "../src/words/begun.js";
import { nodeName, seenName } from "../src/words/names.js";
import { graph, node } from "./helpers/graph.js";

const token = { id: 5, text: "␣Witt", word: "␣Wittgenstein", score: 2, probability: null };
const other = { id: 6, text: "␣Niel", score: 1, probability: null };
const head = node("L3.H1", "head", { head: 1, label: "␣Witt", top: [token, other] });

describe("a token that begins a word", () => {
  it("leaves out the rest of it, and others leave out nothing", () => {
    expect(restOf(token)).toBe("genstein");
    expect(restOf(other)).toBe("");
    expect(restOfLabel(head)).toBe("genstein");
    expect(restOfLabel({ ...head, label: "␣Niel" })).toBe("");
    expect(restOfLabel({ label: "␣Witt" })).toBe("");
  });

  it("is in one piece from right to left", async () => {
    const host = {
      get: () => ({ text: "הש", word: "השלום" }),
      set() {},
      request: async () => null,
    };
    expect(restOf(settingApart(host).get("token"))).toBe("");
  });

  it("never takes more room than there is, and never loses a letter of the token for it", () => {
    for (let width = 10; width < 130; width += 1) {
      const { text, piece } = fitLabel(head, width, 12);
      expect(textWidth(text, 12)).toBeLessThanOrEqual(width);
      if (piece === undefined) expect(text).toBe(fitText("␣Witt", width, 12));
      else expect(text.startsWith("␣Witt")).toBe(true);
    }
    // What is spelled out is longer than it was, and begins no word.
    expect(fitLabel({ ...head, label: "👩‍🔬" }, 130, 12)).toEqual({
      text: fitText("👩‍🔬", 130, 12),
    });
    expect(fitLabel(head, 130, 12)).toEqual({ text: "␣Wittgenstein", piece: 5 });
    expect(fitLabel(head, 62, 12)).toEqual({ text: "␣Wittge…", piece: 5 });
    expect(fitLabel(head, 50, 12)).toEqual({ text: "␣Witt" });
  });

  it("is drawn with the rest receding, and drawn anew where the rest changes alone", () => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", "text");
    const drawn = () => [...element.children].map((span) => [span.textContent, span.classList[0]]);
    writeToken(element, { text: "␣Wittgenstein", piece: 5 });
    expect(drawn()).toEqual([
      ["␣", "vw-space"],
      ["Witt", undefined],
      ["genstein", "vw-begun"],
    ]);
    writeToken(element, { text: "␣Wittgenstein" });
    expect(drawn()).toEqual([
      ["␣", "vw-space"],
      ["Wittgenstein", undefined],
    ]);
  });

  it("is told with its word in names, and in the panel", () => {
    const index = indexGraph(graph());
    expect(nodeName(index, head, null, "logit")).toBe("Head 1 writes ␣Witt (␣Wittgenstein)");
    expect(seenName(index, head, null, "logit", ["␣Wittgenstein", "H1"])).toBe(
      "␣Wittgenstein H1: what head 1 writes, its token is ␣Witt",
    );
    expect(seenName(index, head, null, "logit", ["␣Wittge…", "H1"])).toBe(
      "␣Wittge… H1: what head 1 writes, in full ␣Witt (␣Wittgenstein)",
    );
    const section = tokensSection("it writes", [token, other], { id: 5, text: "␣Witt" });
    const [first, second] = section?.querySelectorAll(".vw-token") ?? [];
    expect(first.textContent).toBe("␣Wittgenstein");
    expect(first.querySelector(".vw-rest")?.textContent).toBe("genstein");
    expect(second.textContent).toBe("␣Niel");
  });
});
