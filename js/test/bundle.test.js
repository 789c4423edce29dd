import { describe, expect, it } from "vitest";
import { arrows } from "../arrows.mjs";
import { namedTexts } from "../strings.mjs";
import { shortSheet, shortTokens } from "../tokens.mjs";

/** @param {string} code @returns {Promise<any>} What a module gives out as `found`. */
const run = async (code) =>
  (await import(`data:text/javascript,${encodeURIComponent(code)}`)).found;

describe("functions written as arrows", () => {
  it.each([
    [
      "are there before they stand",
      "export const found = twice(4); function twice(n) { return 2 * n }",
    ],
    [
      "know one another",
      "export const found = [even(7), odd(7)]; function even(n) { return n === 0 || odd(n - 1) } function odd(n) { return n > 0 && even(n - 1) }",
    ],
    [
      "are hoisted within others, and within blocks",
      "export const found = outer(); function outer() { const list = [inner(1)]; if (list) { list.push(own()); function own() { return 2 } } return list; function inner(n) { return n + 10 } }",
    ],
    [
      "take what they are given",
      "export const found = [f({ a: 1 }, 2, 3), f({})]; function f({ a = 5 }, ...rest) { return [a, rest.length] }",
    ],
    ["wait", "export const found = await late(); async function late() { return (await 3) + 1 }"],
    [
      "come after imports and directives",
      '"use strict"; import { sep } from "node:path"; export const found = f(); function f() { return typeof sep }',
    ],
    [
      "keep `this`, `arguments`, `new` and what yields",
      "function Made(n) { this.n = n } function many() { return arguments.length } function empty() {} function* steps() { yield 1; yield 2 } function own() { return [1].map(function () { return this === undefined }) } export const found = [new Made(3).n, many(1, 2), typeof new empty(), [...steps()], own()]",
    ],
  ])("%s", async (_, code) => {
    const shorter = await arrows(code);
    expect(await run(shorter)).toEqual(await run(code));
    expect(await run(code)).toBeDefined();
  });

  it("are arrows where they can be", async () => {
    expect(await arrows("function f(a) { return a }")).not.toContain("function");
    expect(await arrows("function f() { return this }")).toContain("function");
    expect(await arrows("function f() { } new f();")).toContain("function");
  });
});

describe("texts said again and again", () => {
  const LONG = "aria-something-long";
  const many = Array.from({ length: 9 }, () => `"${LONG}"`).join();

  it.each([
    ["are values", `export const found = [${many}]`],
    [
      "are keys, of what is made and of what is taken apart",
      `const o = {"${LONG}": 1, ["x"]: [${many}]}; const {"${LONG}": p} = o; export const found = [o, p, "${LONG}" in o]`,
    ],
    [
      "are names of methods",
      `export const found = [{ "${LONG}"() { return 3 } }["${LONG}"](), ${many}]`,
    ],
    [
      "are cases",
      `const at = (n) => { switch (n) { case "${LONG}": return 1; default: return 0 } }; export const found = [at("${LONG}"), at("x"), ${many}]`,
    ],
    [
      "do not take a name that is taken",
      `const aa = 1, ab = (ac) => ac + aa; export const found = [ab(1), ${many}]`,
    ],
    [
      "leave directives and the names of what is given out",
      `"use strict"; const own = [${many}]; export { own as found, own as "${LONG}" }`,
    ],
  ])("%s", async (_, code) => {
    const shorter = await namedTexts(code);
    expect(await run(shorter)).toEqual(await run(code));
    expect(await run(code)).toBeDefined();
    expect(shorter.length).toBeLessThan(code.length - 60);
  });

  it("stay where saying them once is no shorter", async () => {
    const code = 'export const found=["ab","ab","something quite long"]';
    expect(await namedTexts(code)).toBe(code);
  });
});

describe("tokens of the style sheet", () => {
  it("have one short name in all files, each its own, and texts beside them stay", () => {
    const sheet = ".a{color:var(--vw-ink);fill:var(--vw-ink-2)}.b{--vw-ink: #1a1d24}.vw-ink{top:0}";
    const script = 'el.style.setProperty("--vw-ink-2",1);h("i",{class:"vw-ink"})';
    const [css, js] = shortTokens([sheet, script]);
    expect(css).toBe(".a{color:var(--vw0);fill:var(--vw1)}.b{--vw0: #1a1d24}.vw-ink{top:0}");
    expect(js).toBe('el.style.setProperty("--vw1",1);h("i",{class:"vw-ink"})');
  });

  it("lose blanks and doubled digits of colours, and nothing else", () => {
    expect(shortSheet(".a{--vw-x: #ffffff;--vw-y: #ffeedd;--vw-z: ;b:#ffffee80}")).toBe(
      ".a{--vw-x:#fff;--vw-y:#fed;--vw-z: ;b:#ffffee80}",
    );
    expect(shortSheet("--a: #12ab34;fill:url(#aabbccx)")).toBe("--a:#12ab34;fill:url(#aabbccx)");
  });
});
