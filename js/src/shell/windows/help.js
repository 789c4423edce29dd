/** What the marks mean, and every key. */

import { h } from "../../ui/dom.js";
import { createWindow } from "../../ui/window.js";
import { keyLines, keyNames } from "../../words/keys.js";
import { marksOf } from "../../words/marks.js";

/** @import { Popovers } from "../../ui/popover.js" */
/** @import { Lens } from "../../words/lenses.js" */

/** It scrolls, and the keyboard scrolls it: so it has the focus, and says what it is. */
const REGION = { role: "region", "aria-label": "How to read it" };

/**
 * @param {Popovers} popovers
 * @param {() => Lens} lens The words of the lens that the picture is read with.
 * @returns {(anchor: HTMLElement) => void} Opens it, or closes it.
 */
export function createHelp(popovers, lens) {
  const close = () => popovers.close({ focus: true });
  return (anchor) => {
    if (anchor.getAttribute("aria-expanded") === "true") close();
    else popovers.show(anchor, content(close, lens()), { label: "Help", align: "end" });
  };
}

/**
 * @param {() => void} close
 * @param {Lens} lens
 */
function content(close, lens) {
  const keys = keyLines();
  const places = [...new Set(keys.map(({ place }) => place))];
  return createWindow(
    { name: "help", title: REGION["aria-label"], close, more: { tabindex: 0, ...REGION } },
    h(
      "div",
      { class: "vw-help-columns" },
      h(
        "dl",
        { class: "vw-help-marks" },
        marksOf(lens).flatMap(({ mark, name, words }) => [
          h("dt", {}, h("i", { class: `vw-help-mark ${mark}`, "aria-hidden": true }), name),
          h("dd", {}, words),
        ]),
      ),
      h(
        "div",
        { class: "vw-help-keys" },
        places.map((place) =>
          h(
            "section",
            {},
            h("h3", {}, `Keys ${place}`),
            h(
              "dl",
              {},
              keys
                .filter((key) => key.place === place)
                .flatMap(({ on, words }) => [
                  h(
                    "dt",
                    {},
                    on.flatMap((each, at) => [at > 0 && " ", ...combination(each)]),
                  ),
                  h("dd", {}, words),
                ]),
            ),
          ),
        ),
      ),
    ),
  );
}

/** @param {string} keys */
const combination = (keys) =>
  keyNames(keys).flatMap((name, at) => [at > 0 && "+", h("kbd", {}, name)]);
