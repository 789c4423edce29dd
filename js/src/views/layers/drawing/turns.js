/**
 * Whose turn it is to be drawn: parts in sight at once, the others one after the other while the
 * reader looks. A picture of sixty open layers is there as soon as the six that are seen.
 */

/** @typedef {import("../layout/scene.js").ScenePart} ScenePart */
/** @typedef {(now: (part: ScenePart) => boolean) => void} Draw */

/** Of so few parts all are drawn at once. */
const FEW = 4;
/** For so long others are drawn before the page may do something else, in milliseconds. */
const TURN = 24;
/** How far beyond what is in sight is drawn with it: less than one turn of the wheel. */
const MARGIN = 120;

/** @param {() => void} onDrawn Told when parts have been drawn later. */
export function createTurns(onDrawn) {
  /** @type {{from: number, to: number} | null} What is in sight; null for all there is. */
  let sight = null;
  /** @type {Map<string, ScenePart>} What was drawn last, by key: it stands where it stood. */
  let drawn = new Map();
  /** @type {ScenePart[]} */
  let waiting = [];
  /** @type {Draw} */
  let draw = () => {};
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  let taken = 0;

  /** @param {ScenePart | undefined} part */
  function inSight(part) {
    if (!part) return false;
    const { panel } = part;
    if (!panel || !sight) return true;
    return panel.x < sight.to + MARGIN && panel.x + panel.width > sight.from - MARGIN;
  }

  /** @param {ScenePart[]} parts */
  function take(parts) {
    for (const part of parts) drawn.set(part.key, part);
    draw((part) => parts.includes(part));
    taken += 1;
  }

  function goOn() {
    timer = setTimeout(() => {
      const end = performance.now() + TURN;
      do take(waiting.splice(0, 1));
      while (waiting.length > 0 && performance.now() < end);
      if (waiting.length > 0) goOn();
      else onDrawn();
    });
  }

  return {
    /** @param {{from: number, to: number} | null} now */
    look(now) {
      sight = now;
    },

    /**
     * @param {ScenePart[]} parts
     * @param {Draw} how
     */
    start(parts, how) {
      clearTimeout(timer);
      draw = how;
      const isFirst = (/** @type {ScenePart} */ part) =>
        parts.length <= FEW || inSight(part) || inSight(drawn.get(part.key));
      const first = parts.filter(isFirst);
      waiting = parts.filter((part) => !isFirst(part));
      drawn = new Map(
        parts.flatMap(({ key }) => {
          const before = drawn.get(key);
          return before ? [[key, before]] : [];
        }),
      );
      take(first);
      if (waiting.length > 0) goOn();
    },

    /** Draws what still waits. */
    finish() {
      clearTimeout(timer);
      if (waiting.length === 0) return;
      take(waiting.splice(0));
      onDrawn();
    },

    /** Grows with every turn. */
    taken: () => taken,

    stop() {
      clearTimeout(timer);
      waiting = [];
    },
  };
}
