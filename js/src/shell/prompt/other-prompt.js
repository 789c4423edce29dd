/** The other prompt, token under token: what differs, what has no partner, and what it says next. */

import { alignedTokens } from "../../state/other-side.js";
import { fill, h, iconButton } from "../../ui/dom.js";
import { percent } from "../../words/format.js";

/** @import { Controller } from "../../state/controller.js" */
/** @import { TokenPair } from "../../state/other-side.js" */
/** @import { Against, FlowGraph } from "../../types.js" */

/** How much higher it makes a row of tokens, as other-prompt.css has it. */
export const OTHER_HEIGHT = 32;
/** What stands where there is no partner. */
const NONE = "–";

/**
 * @param {Controller} controller
 * @param {() => void} edit Lets the reader type it.
 */
export function createOtherPrompt({ dispatch, live }, edit) {
  const open = iconButton("compare", "Compare with another prompt", edit, {
    "data-role": "compare",
    hidden: true,
  });
  const change = iconButton("pencil", "Edit the other prompt", edit, {
    "data-role": "edit-other",
  });
  const remove = iconButton(
    "close",
    "Compare with nothing",
    () => dispatch({ type: "set-against", prompt: null }),
    { "data-role": "remove-other" },
  );
  const says = h("span", { class: "vw-chip vw-other-says", "data-role": "other-says" });
  const tail = h(
    "span",
    { class: "vw-tail vw-other-tail", "data-role": "other-tail", hidden: true },
    live && change,
    live && remove,
    h("span", { class: "vw-arrow", "aria-hidden": true }, "→"),
    says,
  );

  /**
   * @param {FlowGraph | null} graph
   * @param {HTMLElement[]} cells Of this prompt's tokens.
   * @returns {HTMLElement[]} All cells, with the other's tokens in them.
   */
  function cellsOf(graph, cells) {
    const against = graph?.against;
    open.hidden = !live || !graph || !!against;
    tail.hidden = !against;
    if (!graph || !against) return cells;
    const first = against.prediction[0];
    fill(says, first?.text);
    const said = first ? `There the model says ${first.text}: ${percent(first.probability)}` : "";
    says.title = said;
    const pairs = alignedTokens(graph);
    const all = pairs.map((pair) => withOther(pair, cells, against, live));
    return [
      ...all,
      h(
        "span",
        { class: "vw-offscreen", "data-role": "other-words" },
        toldOf(pairs, against, said),
      ),
    ];
  }

  return { cellsOf, open, change, tail };
}

/**
 * @param {TokenPair} pair
 * @param {HTMLElement[]} cells
 * @param {Against} against
 * @param {boolean} live
 */
function withOther({ here, there }, cells, against, live) {
  const own =
    here === null
      ? h(
          "span",
          { class: "vw-cell", "aria-hidden": true },
          h("span", { class: "vw-chip vw-no-partner" }, NONE),
          h("span", { class: "vw-under" }),
        )
      : cells[here.position];
  const same = here?.id === there?.id;
  const kind = there === null ? "vw-no-partner" : same ? "same" : "apart";
  const at = there?.position === against.position ? " there-focus" : "";
  const title =
    there === null
      ? "It has no partner in the other prompt"
      : here === null
        ? `${there.text} has no partner here`
        : same
          ? "The same there"
          : `${there.text} there`;
  // Another token is dragged onto its partner: its embedding is then read in its place.
  const bring = kind === "apart" && live && here !== null;
  if (bring)
    own.querySelector("[data-position]")?.setAttribute("data-part", `embed@${here.position}`);
  own.append(
    h(
      "span",
      {
        class: `vw-chip vw-other ${kind}${at}`,
        "aria-hidden": true,
        title: bring ? `${title}. Drag it up: the pass is run with its embedding` : title,
        "data-bring": bring && "embed",
        "data-bring-at": bring && here.position,
      },
      there?.text ?? NONE,
    ),
  );
  return own;
}

/**
 * @param {TokenPair[]} pairs
 * @param {Against} against
 * @param {string} said
 * @returns {string} The same for who does not see it.
 */
function toldOf(pairs, { prompt }, said) {
  const differs = pairs.flatMap(({ here, there }) => {
    if (!here) return `${there?.text} has no partner here`;
    if (!there) return `${here.text} has no partner there`;
    return here.id === there.id ? [] : `${there.text} in the place of ${here.text}`;
  });
  const words = differs.length > 0 ? differs.join(", ") : "no token differs";
  return `Compared with “${prompt}”: ${words}. ${said}.`;
}
