/**
 * Texts that a bundle says again and again, said once: each has a short name of its own, at the
 * module's top, where that takes fewer letters.
 */

import { parse, print } from "@swc/core";

/** @typedef {Record<string, any>} Syntax A node of swc's syntax tree. */

const LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_$";
const REST = `${LETTERS}0123456789`;

/** @param {string} code Of a module, minified: nothing after this may put the texts back. */
export async function namedTexts(code) {
  const tree = await parse(code, { syntax: "ecmascript", target: "es2022" });
  /** @type {Map<string, number>} */
  const counts = new Map();
  const taken = new Set();
  visit(tree, (node) => {
    if (node.type === "Identifier") taken.add(node.value);
    if (node.type === "StringLiteral") counts.set(node.value, (counts.get(node.value) ?? 0) + 1);
  });
  const names = unused(taken);
  /** @type {Map<string, string>} */
  const named = new Map();
  for (const [text, count] of counts) {
    const letters = JSON.stringify(text).length;
    // What its uses save, less `name="text",`.
    if (count * (letters - 2) > letters + 4) named.set(text, names.next().value ?? "");
  }
  if (named.size === 0) return code;
  visit(tree, (node, parent, at) => {
    if (node.type !== "StringLiteral" || !named.has(node.value)) return;
    const name = identifier(named.get(node.value) ?? "", node);
    const isKey = at === "key" && /^(KeyValue|Method|Getter|Setter)/.test(parent.type);
    parent[at] = isKey ? { type: "Computed", span: node.span, expression: name } : name;
  });
  const [{ span }] = tree.body;
  const ctxt = 0;
  const declarations = [...named].map(([text, name]) => ({
    type: "VariableDeclarator",
    span,
    id: identifier(name, { span, ctxt }),
    init: { type: "StringLiteral", span, value: text },
    definite: false,
  }));
  const texts = { type: "VariableDeclaration", span, ctxt, kind: "let", declare: false };
  tree.body.unshift(/** @type {any} */ ({ ...texts, declarations }));
  return (await print(tree, { minify: true, jsc: { target: "es2022" } })).code;
}

/**
 * @param {string} value
 * @param {Syntax} where
 */
const identifier = (value, { span, ctxt = 0 }) => ({
  type: "Identifier",
  span,
  ctxt,
  value,
  optional: false,
});

/**
 * @param {Set<string>} taken Words of the language are among them only where they are used.
 * @returns {Generator<string>} Names of two letters, then of three.
 */
function* unused(taken) {
  const words = new Set(["as", "do", "if", "in", "is", "of", "for", "let", "new", "try", "var"]);
  const isFree = (/** @type {string} */ name) => !taken.has(name) && !words.has(name);
  const pairs = [...LETTERS].flatMap((first) => [...REST].map((next) => first + next));
  yield* pairs.filter(isFree);
  for (const pair of pairs) yield* [...REST].map((next) => pair + next).filter(isFree);
}

/**
 * Directives, and where a module's parts come from, have to stay as they are.
 *
 * @param {Syntax} node
 * @param {(node: Syntax, parent: Syntax, at: string) => void} see
 */
function visit(node, see) {
  for (const [at, child] of Object.entries(node)) {
    if (typeof child !== "object" || child === null) continue;
    if (/^(Import|Export.*From|ExportAll|ExportNamed)/.test(child.type ?? "")) continue;
    if (child.type === "ExpressionStatement" && child.expression.type === "StringLiteral") continue;
    if (child.type) see(child, node, at);
    visit(child, see);
  }
}
