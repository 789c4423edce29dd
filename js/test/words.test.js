import { describe, expect, test } from "vitest";
import { percent, plain, scientific, shareOf, signed, whole } from "../src/words/format.js";
import { contribution, kindWords, nodeFacts, nodeTitle, wholeName } from "../src/words/words.js";
import { edge, fixture, graph, node } from "./helpers/graph.js";

describe("numbers", () => {
  test.each([
    [2.68, "+2.68"],
    [-0.116, "−0.12"],
    [0, "0"],
    [-0.0021, "−0.002"],
    [0.00003, "+3e−5"],
    [-1234.5, "−1,235"],
  ])("%s is signed %s", (value, text) => expect(signed(value)).toBe(text));

  test("that are none are a dash", () => expect(plain(Number.NaN)).toBe("–"));

  test.each([
    [0.575, "57.5%"],
    [1, "100%"],
    [0.99997, ">99.9%"],
    [0.00042, "0.04%"],
    [0.00000001, "<0.01%"],
    [0, "0%"],
  ])("%s is a probability of %s", (value, text) => expect(percent(value)).toBe(text));

  test.each([
    [0.41, "41%"],
    [-0.034, "−3.4%"],
    [1.5, "150%"],
    [0.00001, "<0.1%"],
  ])("%s is a share of %s", (value, text) => expect(shareOf(value)).toBe(text));

  test("ranks have their thousands apart", () => expect(whole(15307)).toBe("15,307"));
  test("errors are powers of ten", () => expect(scientific(4.3e-7)).toBe("4e−7"));
});

describe("nodes", () => {
  test.each([
    [node("embed", "embed"), "Embedding"],
    [node("L3.pre", "residual"), "Before layer 3"],
    [node("L3.mid", "residual"), "Layer 3 · after attention"],
    [node("L3.post", "residual"), "After layer 3"],
    [node("L3.ln2", "norm"), "Layer 3 · norm before the MLP"],
    [node("norm", "norm"), "Final norm"],
    [node("L3.H1", "head", { head: 1 }), "Layer 3 · head 1"],
    [node("L3.H1.Q", "query", { head: 1 }), "Layer 3 · head 1 · query"],
    [
      node("L3.H1.V1", "value", { head: 1, source: 1 }),
      "Layer 3 · head 1 · memory value of ␣capital",
    ],
    [node("L3.O12", "row", { head: 1 }), "Layer 3 · W_O row 12"],
    [node("L3.N9.key", "neuron_key", { neuron: 9 }), "Layer 3 · neuron 9 · key"],
    [node("L3.E2", "expert"), "Layer 3 · expert 2"],
    [node("L3.attn.bias", "bias"), "Layer 3 · attention bias"],
    [
      node("L3.mlp.rest", "rest", { rest: { of: "neuron", count: 1525 } }),
      "Layer 3 · 1,525 more neurons",
    ],
    [node("L3.mix", "opaque"), "Layer 3 · opaque part"],
    [node("L3.N9", "neuron", { neuron: 9, expert: 2 }), "Layer 3 · neuron 9 of expert 2"],
    [
      node("L3.N9.key", "neuron_key", { neuron: 9, expert: 0 }),
      "Layer 3 · neuron 9 of expert 0 · key",
    ],
    [node("L3.mlp.bias", "bias"), "Layer 3 · MLP bias"],
    [node("norm.bias", "bias"), "Final norm’s bias"],
    [node("logits.bias", "bias"), "Unembedding’s bias"],
    [node("logits.entropy", "bias"), "Entropy of the tokens followed as one"],
    [node("logits", "logits"), "Logits"],
  ])("$id is called %s", (it, title) => expect(nodeTitle(it, graph())).toBe(title));

  test("add, take, or stand at a logit", () => {
    expect(contribution(node("L3.H1", "head"), graph())).toBe("adds +2.68 to ␣Tokyo");
    expect(contribution(node("L3.H1", "head", { logit: -0.5 }), graph())).toBe(
      "takes 0.50 from ␣Tokyo",
    );
    expect(contribution(node("L3.pre", "residual"), graph())).toBe("logit of ␣Tokyo: 2.68");
    expect(contribution(node("L3.ln1", "norm", { logit: null }), graph())).toBeNull();
    const foil = { id: 8, text: "␣Kyoto", logit: 6, probability: 0.05, rank: 2 };
    expect(contribution(node("L3.H1", "head"), graph({ foil }))).toBe(
      "adds +2.68 to ␣Tokyo over ␣Kyoto",
    );
  });

  test("say what the stream says along a direction, which is no logit of a token", () => {
    const target = { id: "direction:1f:truth", text: "truth", logit: 1.5, combine: "direction" };
    const along = graph({ target: { ...target, probability: null, rank: null, tokens: [] } });
    expect(contribution(node("L3.pre", "residual"), along)).toBe("along truth: 2.68");
    expect(contribution(node("L3.H1", "head"), along)).toBe("adds +2.68 to truth");
  });

  test("are a share of something that has a name", () => {
    expect(nodeFacts(node("L3.H1", "head"), graph(), { share: 0.41, whole: "L3.attn" })).toEqual([
      "adds +2.68 to ␣Tokyo",
      "41% of attention",
    ]);
    expect(wholeName("L3.H1", graph())).toBe("head 1");
    expect(wholeName("L3.mid", graph())).toBe("the stream after attention");
  });

  test("of a layer that does not attend are named after what it has", () => {
    const edges = [edge("L1.mix", "L1.mid", "write")];
    const hybrid = graph({ nodes: [node("L1.mix", "opaque"), node("L1.mid", "residual")], edges });
    expect(nodeTitle(node("L1.mid", "residual"), hybrid)).toBe("Layer 1 · after the opaque part");
    expect(wholeName("L1.mid", hybrid)).toBe("the stream after the opaque part");
    expect(nodeTitle(node("L1.ln1", "norm"), hybrid)).toBe("Layer 1 · norm before the opaque part");
    expect(contribution(node("L1.mix", "opaque"), hybrid)).toBe("adds +2.68 to ␣Tokyo");
    expect(kindWords(node("L1.mix", "opaque"), hybrid)).toBe(
      "a layer that does not attend, shown as one part",
    );
  });

  test("of a real layer all have a title without a hole", () => {
    const real = fixture("graph");
    for (const it of [...real.nodes, ...fixture("expand").nodes]) {
      expect(nodeTitle(it, real), it.id).not.toMatch(/null|undefined|NaN/);
    }
  });
});
