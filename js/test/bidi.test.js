import { describe, expect, it } from "vitest";
import { fitText } from "../src/views/shared/text.js";
import { asWritten, settingApart } from "../src/wire/bidi.js";
import { createStandaloneHost } from "../src/wire/standalone.js";

const APART = "\u2068שלום\u2069";
const graph = {
  tokens: [
    { id: 1, text: "שלום" },
    { id: 2, text: "Paris 10" },
  ],
  nodes: [{ id: "L0.שלום", label: "שלום", top: [{ id: 1, text: "שלום", probability: 1 }] }],
};

describe("words that are written from right to left", () => {
  it("are set apart wherever the kernel says them, and nothing else is", async () => {
    const answer = { tokens: [{ id: 1, text: "שלום" }] };
    const handlers = { vocabulary: () => answer };
    const host = settingApart(createStandaloneHost({ traits: { graph } }, { handlers }));
    const { tokens, nodes } = host.get("graph");
    expect(tokens.map(({ text }) => text)).toEqual([APART, "Paris 10"]);
    expect(nodes[0]).toMatchObject({ id: "L0.שלום", label: APART, top: [{ text: APART }] });
    expect(tokens[1]).toBe(graph.tokens[1]);
    expect((await host.request("vocabulary", {})).tokens[0].text).toBe(APART);
  });

  it("are the same object every time, so that nothing is drawn anew", () => {
    const host = settingApart(createStandaloneHost({ traits: { graph } }));
    expect(host.get("graph")).toBe(host.get("graph"));
  });

  it("go out as they were written", () => {
    const said = [];
    const fake = createStandaloneHost({ traits: {} }, { onSet: (_, value) => said.push(value) });
    settingApart(fake).set("target", { id: 1, text: APART });
    expect(said).toEqual([{ id: 1, text: "שלום" }]);
    expect(asWritten(`${APART} 10`)).toBe("שלום 10");
  });

  it("stay apart when their end is cut off", () => {
    expect(fitText(`${APART.slice(0, -1)} עולם\u2069`, 40, 11)).toBe("\u2068שלום…\u2069");
  });
});
