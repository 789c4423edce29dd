/**
 * Function declarations of a bundle as arrow functions, which take fewer letters. They are hoisted as
 * declarations are: all of a block stand at its start, in their order, so that none is used before
 * it is there.
 */

import { parse, print } from "@swc/core";

/** @typedef {Record<string, any>} Syntax A node of swc's syntax tree. */

/** @param {string} code Of a module. */
export async function arrows(code) {
  const tree = await parse(code, { syntax: "ecmascript", target: "es2022" });
  const made = new Set();
  walk(tree, (node) => {
    if (node.type === "NewExpression") made.add(node.callee.value);
  });
  walk(tree, (node) => {
    for (const name of ["body", "stmts"]) {
      if (Array.isArray(node[name])) node[name] = hoisted(node[name], made);
    }
  });
  return (await print(tree, { minify: true, jsc: { target: "es2022" } })).code;
}

/**
 * @param {Syntax[]} statements
 * @param {Set<string>} made What is called with `new`, which an arrow function cannot be.
 */
function hoisted(statements, made) {
  const becomes = (/** @type {Syntax} */ each) =>
    each.type === "FunctionDeclaration" &&
    !each.generator &&
    !made.has(each.identifier.value) &&
    !asks([each.params, each.body]);
  const functions = statements.filter(becomes);
  if (functions.length === 0) return statements;
  const rest = statements.filter((each) => !functions.includes(each));
  const first = rest.findIndex((each) => !isDirective(each) && each.type !== "ImportDeclaration");
  const at = first < 0 ? rest.length : first;
  const { span, ctxt } = functions[0];
  const declared = {
    type: "VariableDeclaration",
    span,
    ctxt,
    kind: "let",
    declare: false,
    declarations: functions.map((each) => declarator(each)),
  };
  return [...rest.slice(0, at), declared, ...rest.slice(at)];
}

/** @param {Syntax} declaration Of a function. */
function declarator({ identifier, params, body, span, ctxt, async: waits }) {
  const init = {
    type: "ArrowFunctionExpression",
    span,
    ctxt,
    params: params.map((/** @type {Syntax} */ { pat }) => pat),
    body,
    async: waits,
    generator: false,
  };
  return { type: "VariableDeclarator", span, id: identifier, init, definite: false };
}

/**
 * Whether code asks what it was called on or with.
 * @param {unknown} code
 * @returns {boolean}
 */
function asks(code) {
  if (Array.isArray(code)) return code.some(asks);
  if (typeof code !== "object" || code === null) return false;
  const node = /** @type {Syntax} */ (code);
  if (node.type === "ThisExpression" || node.type === "MetaProperty") return true;
  if (node.type === "Identifier" && node.value === "arguments") return true;
  if (/^(Function(Declaration|Expression)|Class(Declaration|Expression))$/.test(node.type)) {
    return false;
  }
  return Object.values(node).some(asks);
}

/** @param {Syntax} statement */
const isDirective = ({ type, expression }) =>
  type === "ExpressionStatement" && expression.type === "StringLiteral";

/**
 * @param {unknown} node
 * @param {(node: Syntax) => void} visit
 */
function walk(node, visit) {
  if (typeof node !== "object" || node === null) return;
  if (!Array.isArray(node)) visit(node);
  for (const child of Object.values(node)) walk(child, visit);
}
