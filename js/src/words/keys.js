/** Every key that the widget takes: what listens to keys asks here, and the help says what is here. */

/**
 * @typedef {"anywhere" | "in the picture" | "in the prompt" | "in lists and windows" | "in the search"} Place
 *
 * @typedef {object} Key
 * @property {string[]} on Keys that all do the same, with "Ctrl" (or ⌘) and "Shift" before them.
 * @property {Place} place
 * @property {string} words What it does; keys of a place with the same words are told together.
 */

export const KEYS = /** @satisfies {Record<string, Key>} */ ({
  search: { on: ["/"], place: "anywhere", words: "search tokens, nodes and what they say" },
  help: { on: ["?"], place: "anywhere", words: "open this help, or close it" },
  undo: { on: ["u", "Ctrl+z"], place: "anywhere", words: "undo" },
  redo: { on: ["Shift+u", "Ctrl+Shift+z", "Ctrl+y"], place: "anywhere", words: "redo" },
  out: {
    on: ["Escape"],
    place: "anywhere",
    words: "close what is open: a window, the search, a layer, the panel",
  },
  left: { on: ["ArrowLeft"], place: "in the picture", words: "go along what flows in and out" },
  right: { on: ["ArrowRight"], place: "in the picture", words: "go along what flows in and out" },
  up: { on: ["ArrowUp"], place: "in the picture", words: "go to what is above or below" },
  down: { on: ["ArrowDown"], place: "in the picture", words: "go to what is above or below" },
  open: {
    on: ["Enter", "Space"],
    place: "in the picture",
    words: "open a layer, or show a node in the panel",
  },
  add: {
    on: ["Shift+Enter", "Shift+Space", "Ctrl+Enter", "Ctrl+Space"],
    place: "in the picture",
    words: "add a node to those shown, or take it out",
  },
  bring: {
    on: ["p"],
    place: "in the picture",
    words: "patch: bring the part over from the other prompt, or take it back; so also in its map",
  },
  first: {
    on: ["Home"],
    place: "in the picture",
    words: "go to the first or the last: of layers, of a column, or token and prediction",
  },
  last: {
    on: ["End"],
    place: "in the picture",
    words: "go to the first or the last: of layers, of a column, or token and prediction",
  },
  before: {
    on: ["ArrowLeft"],
    place: "in the prompt",
    words: "go along the tokens; so also in the tools, the panel and the tables",
  },
  after: {
    on: ["ArrowRight"],
    place: "in the prompt",
    words: "go along the tokens; so also in the tools, the panel and the tables",
  },
  start: { on: ["Home"], place: "in the prompt", words: "go to the first or the last token" },
  end: { on: ["End"], place: "in the prompt", words: "go to the first or the last token" },
  submit: {
    on: ["Enter"],
    place: "in the prompt",
    words: "look at the token; trace an edited prompt",
  },
  next: { on: ["Enter"], place: "in the search", words: "go to the next that was found" },
  previous: { on: ["Shift+Enter"], place: "in the search", words: "go to the one before" },
  lower: {
    on: ["ArrowDown"],
    place: "in lists and windows",
    words: "go along a list, or through a map",
  },
  upper: {
    on: ["ArrowUp"],
    place: "in lists and windows",
    words: "go along a list, or through a map",
  },
  west: {
    on: ["ArrowLeft"],
    place: "in lists and windows",
    words: "go along a list, or through a map",
  },
  east: {
    on: ["ArrowRight"],
    place: "in lists and windows",
    words: "go along a list, or through a map",
  },
  choose: { on: ["Enter"], place: "in lists and windows", words: "choose" },
  walk: {
    on: ["Tab"],
    place: "in lists and windows",
    words: "go through a window’s fields, on or back",
  },
  back: {
    on: ["Shift+Tab"],
    place: "in lists and windows",
    words: "go through a window’s fields, on or back",
  },
});

/** @typedef {keyof typeof KEYS} KeyName */

/**
 * Which of some keys was pressed.
 *
 * @template {KeyName} Name
 * @param {KeyboardEvent} event
 * @param {Name[]} names
 * @returns {Name | null}
 */
export function pressed(event, ...names) {
  return (
    names.find((name) => KEYS[name].on.some((combination) => matches(event, combination))) ?? null
  );
}

/**
 * @param {KeyboardEvent} event
 * @param {string} combination
 */
function matches({ key, ctrlKey, metaKey, altKey, shiftKey }, combination) {
  const parts = combination.split("+");
  const wanted = parts[parts.length - 1];
  const name = key === " " ? "Space" : key.length === 1 ? key.toLowerCase() : key;
  // Where a sign is on a keyboard, and what has to be held for it, differs; it says enough itself.
  const isSign = wanted.length === 1 && !/[a-z]/.test(wanted);
  return (
    name === wanted &&
    (isSign || !altKey) &&
    (ctrlKey || metaKey) === parts.includes("Ctrl") &&
    (isSign || shiftKey === parts.includes("Shift"))
  );
}

/** @type {Record<string, string>} How keys are written. */
const SIGNS = {
  ArrowLeft: "←",
  ArrowRight: "→",
  ArrowUp: "↑",
  ArrowDown: "↓",
  Escape: "Esc",
};

/**
 * @param {string} combination
 * @returns {string[]} Its keys, as they are written: "Ctrl", "Z".
 */
export const keyNames = (combination) =>
  combination.split("+").map((key) => SIGNS[key] ?? (key.length === 1 ? key.toUpperCase() : key));

/**
 * @returns {{place: Place, on: string[], words: string}[]} What the help says, a line each.
 */
export function keyLines() {
  /** @type {Map<string, Key>} */
  const lines = new Map();
  for (const { on, place, words } of /** @type {Key[]} */ (Object.values(KEYS))) {
    const before = lines.get(`${place} ${words}`);
    lines.set(`${place} ${words}`, { place, words, on: [...(before?.on ?? []), ...on] });
  }
  return [...lines.values()];
}
