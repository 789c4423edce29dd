/** The menu of what can be saved as a file. */

import { mergedGraph } from "../../state/selectors.js";
import { h } from "../../ui/dom.js";
import { pressed } from "../../words/keys.js";
import { drawFigure } from "../figure/figure.js";
import { pngFile, svgFile } from "../figure/files.js";

/** @import { Controller } from "../../state/controller.js" */
/** @import { Popovers } from "../../ui/popover.js" */
/** @import { Room } from "../../views/index.js" */
/** @import { Marks } from "../figure/prompt-layout.js" */

/**
 * @typedef {"screen" | "light" | "dark"} Theme
 *
 * @typedef {object} Shown What the figure takes over from the screen.
 * @property {HTMLElement} root
 * @property {() => Room} room
 * @property {() => Marks} marks
 * @property {(message: string) => void} onProblem
 */

/** @type {[Theme, string, string][]} */
const THEMES = [
  ["screen", "as on screen", "The figure’s colours: those on screen"],
  ["light", "light", "The figure’s colours: dark on white"],
  ["dark", "dark", "The figure’s colours: light on dark"],
];

/**
 * @param {Controller} controller
 * @param {Popovers} popovers
 * @param {Shown} shown
 */
export function createExportMenu(controller, popovers, { root, room, marks, onProblem }) {
  /** @type {Theme} */
  let theme = "screen";

  function figure() {
    const now = room();
    const dark = theme === "screen" ? now.dark : theme === "dark";
    return drawFigure(controller.getState(), { home: root, room: now, dark, marks: marks() });
  }

  /** @type {[string, string, () => Blob | Promise<Blob>][]} */
  const files = [
    ["SVG", "the figure, as vectors", () => svgFile(figure())],
    ["PNG", "the figure, twice its size", () => pngFile(figure())],
    ["JSON", "the graph’s numbers", numbers],
  ];

  function numbers() {
    const text = `${JSON.stringify(mergedGraph(controller.getState()), null, 1)}\n`;
    return new Blob([text], { type: "application/json" });
  }

  /** @param {HTMLElement} button */
  function open(button) {
    const choices = THEMES.map(([name, label, title]) =>
      h(
        "button",
        {
          role: "menuitemradio",
          class: "vw-switch-part",
          "aria-checked": String(name === theme),
          title,
          click() {
            theme = name;
            for (const [at, choice] of choices.entries()) {
              choice.setAttribute("aria-checked", String(THEMES[at][0] === theme));
            }
          },
        },
        label,
      ),
    );
    const items = files.map(([name, words, make]) =>
      h(
        "button",
        {
          role: "menuitem",
          class: "vw-menu-item",
          click: () => save(name, make),
        },
        h("b", {}, name),
        h("span", {}, words),
      ),
    );
    const menu = h(
      "div",
      { class: "vw-menu", role: "menu", "aria-label": "Export", keydown: moveInMenu },
      items,
      h("div", { class: "vw-switch vw-themes", role: "group", "aria-label": "Colours" }, choices),
    );
    popovers.show(button, menu, { label: "Export", align: "end" });
  }

  /**
   * @param {string} name
   * @param {() => Blob | Promise<Blob>} make
   */
  async function save(name, make) {
    popovers.close({ focus: true });
    try {
      download(root, await make(), fileName(name.toLowerCase()));
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      onProblem(`The ${name} could not be made: ${why}`);
    }
  }

  /** @param {string} extension */
  function fileName(extension) {
    const { graph } = controller.getState();
    const words = `${graph?.model.name ?? "flow"} ${graph?.target.text ?? ""}`;
    return `${words.replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-|-$/g, "")}.${extension}`;
  }

  return { open };
}

/** @param {KeyboardEvent} event */
function moveInMenu(event) {
  const key = pressed(event, "upper", "lower", "left", "right", "start", "end");
  if (!key) return;
  const step = key === "lower" || key === "right" ? 1 : -1;
  const menu = /** @type {HTMLElement} */ (event.currentTarget);
  const items = /** @type {HTMLElement[]} */ ([...menu.querySelectorAll("[role^='menuitem']")]);
  const from = items.indexOf(/** @type {HTMLElement} */ (event.target));
  const ends = { start: 0, end: items.length - 1 }[/** @type {string} */ (key)];
  items[ends ?? (from + step + items.length) % items.length]?.focus();
  event.preventDefault();
  event.stopPropagation();
}

/**
 * VS Code hears of a download by the click that reaches the page's body.
 *
 * @param {HTMLElement} root
 * @param {Blob} blob
 * @param {string} name
 */
function download(root, blob, name) {
  const url = URL.createObjectURL(blob);
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.hidden = true;
  root.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
