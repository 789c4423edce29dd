/** Puts text on the clipboard, or where it can be copied by hand. */

import { asWritten } from "../wire/bidi.js";
import { h } from "./dom.js";

/** @import { Attributes } from "./dom.js" */

const SAID_MS = 1500;

/**
 * @param {string} label
 * @param {() => string} text
 * @param {Attributes} [attributes]
 */
export function copyButton(label, text, attributes = {}) {
  const button = h("button", { class: "vw-link", click: copy, ...attributes }, label);
  async function copy() {
    const copied = await copyText(asWritten(text()), button);
    button.textContent = copied ? "copied" : "select and copy:";
    if (!copied && button.nextElementSibling?.tagName !== "CODE") {
      button.after(" ", h("code", { class: "vw-copied" }, text()));
    }
    if (copied) setTimeout(() => (button.textContent = label), SAID_MS);
  }
  return button;
}

/**
 * @param {string} text
 * @param {HTMLElement} near Beside it stands a field, for browsers that only copy what is selected.
 */
async function copyText(text, near) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const field = h("textarea", { class: "vw-offscreen", "aria-hidden": true });
    field.value = text;
    near.parentElement?.append(field);
    field.select();
    const copied = near.ownerDocument.execCommand?.("copy") ?? false;
    field.remove();
    near.focus({ preventScroll: true });
    return copied;
  }
}
