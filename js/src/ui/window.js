/** A window's frame: a heading, what stands beside it, and a way to close it. */

import { h, iconButton } from "./dom.js";

/**
 * @param {object} options
 * @param {string} options.name Its class is `vw-` and this.
 * @param {string} [options.role] What `data-role` says; its name by default.
 * @param {string | HTMLElement} options.title
 * @param {() => void} options.close
 * @param {import("./dom.js").Child[]} [options.tools] Beside the heading.
 * @param {import("./dom.js").Attributes} [options.more]
 * @param {...(import("./dom.js").Child | import("./dom.js").Child[])} content
 */
export function createWindow({ name, role = name, title, close, tools = [], more }, ...content) {
  const frame = { class: `vw-window vw-${name}`, "data-role": role, "data-first": true };
  return h(
    "div",
    { ...frame, tabindex: -1, ...more },
    h(
      "div",
      { class: "vw-window-head" },
      typeof title === "string" ? h("h2", {}, title) : title,
      tools,
      iconButton("close", "Close (Escape)", close),
    ),
    ...content,
  );
}
