import { inflateRawSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { packed } from "../pack.mjs";

describe("a packed module", () => {
  const code = `export const mark = "␣Tokyo </script>";\n`.repeat(50);
  const module = packed(code, ["mark", "other"]);

  it("holds the code, as another decompressor reads it", () => {
    const [, text] = /atob\("([^"]+)"\)/.exec(module) ?? [];
    expect(inflateRawSync(Buffer.from(text, "base64")).toString()).toBe(code);
  });

  it("exports what it exports, and is shorter", () => {
    expect(module).toContain("export const { mark, other } = bundle;");
    expect(module.length).toBeLessThan(code.length);
    expect(module).not.toContain("</script");
  });
});
