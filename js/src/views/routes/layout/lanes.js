/** The level runs of a layer's ribbons: side by side, so that none lies on another. */

/** @typedef {import("./model.js").RoutesModel} RoutesModel */
/** @typedef {import("./model.js").Passage | import("./model.js").OnlyPassage} AnyPassage */

/**
 * @typedef {object} Lanes What crosses between one level and the next that attention writes to.
 * @property {number} height That it needs.
 * @property {boolean} words Whether a ribbon among them says what it carries.
 * @property {Map<string, number>} from The middle of each ribbon's run, from the top down.
 */

const MARGIN = 8;
const GAP = 2.6;
const HIGHEST = 210;
/** Over a ribbon that says what it carries there is room for a line of words. */
const WORDS = 13;
const STRONG = 0.03;
const MOST_LABELLED = 16;
/** Inside a ribbon as wide as this there is room for its words. */
export const ROOMY = 15;

/**
 * The ribbons that are strong enough to say what they carry.
 * @param {RoutesModel} model
 * @returns {Set<string>}
 */
export function labelled({ passages, only, largest }) {
  const strong = [...passages, ...only]
    .filter(({ influence }) => Math.abs(influence) >= STRONG * largest)
    .sort((a, b) => Math.abs(b.influence) - Math.abs(a.influence));
  return new Set(strong.slice(0, MOST_LABELLED).map(({ key }) => key));
}

/**
 * @param {RoutesModel} model
 * @param {number} scale
 * @returns {Map<number, Lanes>} By the level that the ribbons leave from.
 */
export function placeLanes(model, scale) {
  /** @type {Map<number, AnyPassage[]>} */
  const bands = new Map();
  for (const passage of [...model.passages, ...model.only]) {
    const band = bands.get(passage.from.level);
    if (band) band.push(passage);
    else bands.set(passage.from.level, [passage]);
  }
  const words = labelled(model);
  return new Map([...bands].map(([level, passages]) => [level, stackBand(passages, scale, words)]));
}

/**
 * What comes from further left runs higher, and of one source what goes less far: then only ribbons
 * that enclose one another must cross.
 * @param {AnyPassage[]} passages
 * @param {number} scale
 * @param {Set<string>} words Keys of those that say what they carry.
 * @returns {Lanes}
 */
function stackBand(passages, scale, words) {
  const ordered = [...passages].sort(
    (a, b) => a.from.position - b.from.position || a.to.position - b.to.position || b.sign - a.sign,
  );
  /** @type {{left: number, right: number, bottom: number}[]} */
  const placed = [];
  /** @type {Map<string, number>} */
  const from = new Map();
  for (const { key, from: source, to, influence } of ordered) {
    const width = Math.max(1, Math.abs(influence) * scale);
    const [left, right] = [source.position, to.position].sort((a, b) => a - b);
    const above = placed.filter((other) => other.left < right && other.right > left);
    const free = words.has(key) && width < ROOMY ? WORDS : 0;
    const top = Math.max(free / 2, ...above.map(({ bottom }) => bottom + Math.max(GAP, free)));
    placed.push({ left, right, bottom: top + width });
    from.set(key, top + width / 2);
  }
  const thick = Math.max(...passages.map(({ influence }) => Math.abs(influence) * scale));
  const margin = MARGIN + Math.min(14, thick / 3);
  const deep = Math.max(...placed.map(({ bottom }) => bottom));
  const squeeze = Math.min(1, HIGHEST / deep);
  for (const [key, at] of from) from.set(key, margin + at * squeeze);
  const says = passages.some(({ key }) => words.has(key));
  return { height: deep * squeeze + 2 * margin, words: says, from };
}

/**
 * @param {Lanes | undefined} lanes
 * @param {string} key
 * @param {number} low
 * @param {number} high
 */
export function laneOf(lanes, key, low, high) {
  if (!lanes) return (low + high) / 2;
  // Where the layer is higher than its lanes need, they spread.
  return high + ((lanes.from.get(key) ?? 0) * (low - high)) / lanes.height;
}
