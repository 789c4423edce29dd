/** A token in a line of the page: what follows it in its word recedes. */

import { restOf } from "../words/begun.js";
import { h } from "./dom.js";

/** @import { ReadToken } from "../types.js" */

/** @param {ReadToken} token */
export function tokenWords(token) {
  const rest = restOf(token);
  return [token.text, rest !== "" && h("span", { class: "vw-rest" }, rest)];
}
