import { describe, expect, test } from "vitest";
import {
  auditMarkdown,
  auditTsv,
  comparedWith,
  errorScale,
  meaningOf,
  roundingWords,
  verdict,
  waitingWords,
} from "../src/shell/windows/audit-words.js";
import { powerOfTen } from "../src/words/format.js";
import { audit, badAudit, fixture, graph } from "./helpers/graph.js";

const real = fixture("audit");

describe("errors", () => {
  test.each([
    [1.23e-7, "1.2 × 10⁻⁷"],
    [1e-4, "10⁻⁴"],
    [5e-2, "5 × 10⁻²"],
    [9.96e-8, "10⁻⁷"],
    [12, "1.2 × 10¹"],
    [1e-12, "10⁻¹²"],
    [0, "0"],
    [Number.NaN, "–"],
  ])("%s is printed %s", (value, text) => expect(powerOfTen(value)).toBe(text));

  test("have a scale in whole decades, with all of them and the tolerance inside", () => {
    for (const each of [real, audit(), badAudit()]) {
      const scale = errorScale(each);
      expect(Number.isInteger(scale.decades)).toBe(true);
      const sizes = [each.tolerance, ...each.rows.map(({ error }) => error ?? each.tolerance)];
      for (const size of sizes) {
        expect(scale.place(size)).toBeGreaterThan(0);
        expect(scale.place(size)).toBeLessThan(1);
      }
      expect(scale.place(each.tolerance)).toBeLessThan(0.95);
    }
  });

  test("of nothing at all have one too", () => {
    const rows = [{ identity: "a = a", error: 0 }];
    expect(errorScale(audit({ rows })).place(0)).toBe(0);
  });
});

describe("the verdict", () => {
  test("of a graph that adds up names the largest error and what is allowed", () => {
    expect(verdict(audit())).toBe(
      "Exact to rounding: the largest error is 2.5 × 10⁻⁶, below the 10⁻⁴ that rounding alone may " +
        "cause in float32. 1 identity could not be asked of this model.",
    );
  });

  test("of one that does not says which identity, by how much", () => {
    expect(verdict(badAudit())).toBe(
      "Not exact: 1 of 2 identities is off by more than the 10⁻⁴ that rounding alone may cause in " +
        "float32; “MLP = Σ neurons + bias” by 3 × 10⁻². Read ribbons with care.",
    );
  });

  test("of what could not be asked, or is no number, says so", () => {
    const silent = [{ identity: "a = b", error: null }];
    const nothing = { rows: silent, exact: false, max_error: null };
    expect(verdict(audit(nothing))).toMatch(/^Nothing could be compared/);
    const rows = [...silent, { identity: "c = d", error: 1e-7 }];
    expect(verdict(audit({ rows, exact: false, max_error: null }))).toMatch(/not a number/);
  });
});

describe("the words", () => {
  test("explain every identity that the kernel checks", () => {
    for (const { identity } of real.rows) expect(meaningOf(identity), identity).toBeTruthy();
    expect(meaningOf("an identity of a later version")).toBeNull();
  });

  test("say what is done, and with what it was compared", () => {
    expect(waitingWords(graph())).toMatch(/two fresh passes.*all 4 layers at ␣of/);
    expect(comparedWith(audit(), graph())).toMatch(/two fresh passes of the model itself.*␣of/);
  });
});

describe("as text", () => {
  test("it is a Markdown table with its conditions", () => {
    const rows = [{ identity: "‖a‖ | b", error: 0.5 }, ...audit().rows];
    expect(auditMarkdown(audit({ rows }), graph({ prompt: "one\nline" }))).toBe(
      `| identity | largest relative error | within tolerance |
|---|---:|---|
| ‖a‖ \\| b | 5.0e-1 | no |
| attention = Σ heads + bias | 4.8e-7 | yes |
| MLP = Σ neurons + bias | 2.5e-6 | yes |
| attention rows = output_attentions | not asked |  |

tiny (float32), tolerance 1.0e-4, prompt "one\\nline". ${comparedWith(audit(), graph())}
`,
    );
  });

  test("it is tab-separated values", () => {
    expect(auditTsv(audit()).split("\n")).toEqual([
      "identity\terror\ttolerance",
      "attention = Σ heads + bias\t4.8e-7\t0.0001",
      "MLP = Σ neurons + bias\t0.0000025\t0.0001",
      "attention rows = output_attentions\t\t0.0001",
      "",
    ]);
  });
});

describe("rounding", () => {
  const rounded = (/** @type {number[]} */ ...logits) => ({
    ...graph(),
    nodes: logits.map((logit, n) => ({
      id: `L${n}.mid.rounding`,
      kind: /** @type {const} */ ("rounding"),
      position: 0,
      layer: n,
      logit,
    })),
  });
  const half = { ...audit(), dtype: "bfloat16" };

  test("is told where there is some, with its sign and its size", () => {
    const words = roundingWords(half, rounded(0.5, -0.25));
    expect(words).toContain("In bfloat16");
    expect(words).toContain("+0.25 of the logit");
    expect(words).toContain("pieces of 0.75");
  });

  test("is not spoken of where there is none", () => {
    expect(roundingWords(half, rounded())).toBe(null);
  });
});
