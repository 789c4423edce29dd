/** A chat in the prompt bar: whose words the tokens are, the template's dimmed, a turn foldable. */

import { h, setAttribute } from "../../ui/dom.js";
import { counted } from "../../words/format.js";

/** @import { Turn } from "../../types.js" */

/**
 * @param {Turn} turn
 * @param {number} position
 * @returns {boolean} Whether the template put the token there.
 */
export const isTemplate = ({ said }, position) =>
  said === null || position < said[0] || position >= said[1];

/** @param {Turn} turn */
export const roleOf = ({ role }) => role ?? "template";

/** @param {() => void} onFold Told when there is more or less to see. */
export function createTurns(onFold) {
  /** Those that are folded, by where they start. @type {Set<number>} */
  const folded = new Set();
  /** @type {{turn: Turn, head: HTMLElement, cells: HTMLElement[]}[]} */
  let shown = [];

  /**
   * Says of each token whose it is.
   *
   * @param {HTMLElement[]} chips
   * @param {Turn[]} [turns]
   */
  function mark(chips, turns = []) {
    for (const turn of turns) {
      for (let position = turn.start; position < turn.end; position++) {
        const chip = chips[position];
        if (!chip || !isTemplate(turn, position)) continue;
        chip.classList.add("template");
        chip.title = ["Of the chat’s template", chip.title].filter(Boolean).join("\n");
      }
    }
  }

  /**
   * @param {HTMLElement[]} cells
   * @param {Turn[]} [turns]
   * @returns {HTMLElement[]} With the head of a turn before its tokens.
   */
  function arranged(cells, turns = []) {
    shown = turns.map((turn) => ({
      turn,
      head: h("button", {
        class: "vw-turn",
        "data-role": `turn-${turn.start}`,
        click: () => fold(turn, !folded.has(turn.start)),
      }),
      cells: cells.slice(turn.start, turn.end),
    }));
    shown.forEach(show);
    if (shown.length === 0) return cells;
    const rest = cells.slice(turns[turns.length - 1].end);
    return [...shown.flatMap(({ head, cells: own }) => [head, ...own]), ...rest];
  }

  /** @param {typeof shown[number]} part */
  function show({ turn, head, cells }) {
    const isFolded = folded.has(turn.start);
    const count = counted(turn.end - turn.start, "token");
    head.textContent = isFolded ? `${roleOf(turn)} · ${count}` : roleOf(turn);
    setAttribute(head, "aria-expanded", String(!isFolded));
    head.title = isFolded ? `Show the ${count}` : "Fold this turn";
    for (const cell of cells) cell.hidden = isFolded;
  }

  /**
   * @param {Turn} turn
   * @param {boolean} wanted
   */
  function fold(turn, wanted) {
    if (wanted === folded.has(turn.start)) return;
    if (wanted) folded.add(turn.start);
    else folded.delete(turn.start);
    shown.filter((part) => part.turn === turn).forEach(show);
    onFold();
  }

  /** Opens the turn that a token is in. @param {number} position */
  function reveal(position) {
    const part = shown.find(({ turn }) => position >= turn.start && position < turn.end);
    if (part) fold(part.turn, false);
  }

  return { mark, arranged, reveal };
}
