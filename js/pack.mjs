/**
 * A module as a smaller one that unpacks it. Every saved notebook and page carries the bundle, so
 * what counts is its length there; the code itself stays as a minifier leaves it.
 */

import { deflateSync, strToU8 } from "fflate";

/**
 * @param {string} code Of a module that imports nothing.
 * @param {string[]} names Of its exports, beside the default one.
 * @returns {string} A module with the same exports; the same for the same code, on every machine.
 */
export function packed(code, names) {
  const text = Buffer.from(deflateSync(strToU8(code), { level: 9, mem: 12 })).toString("base64");
  return `const bytes = Uint8Array.from(atob("${text}"), (char) => char.charCodeAt(0));
const plain = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
const code = await new Response(plain).text();
const url = URL.createObjectURL(new Blob([code], { type: "text/javascript" }));
const bundle = await import(url);
URL.revokeObjectURL(url);
export default bundle.default;
export const { ${names.join(", ")} } = bundle;
`;
}
