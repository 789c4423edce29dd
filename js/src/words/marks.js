/** What the marks of the pictures mean, in a line each. */

/** @import { Lens } from "./lenses.js" */

/**
 * @typedef {object} Mark
 * @property {string} mark Which it is, for its drawing.
 * @property {string} name
 * @property {string} words
 */

/**
 * @param {Lens} lens
 * @returns {Mark[]}
 */
export const marksOf = ({ name, does, inStream }) => [
  {
    mark: "river",
    name: "the river",
    words: `the stream of one position; in it, the token ${inStream}`,
  },
  {
    mark: "shades",
    name: "its shade",
    words: "how near the target is: the fuller, the better its rank",
  },
  {
    mark: "positive",
    name: "green ribbon",
    words: "a part that raises the target; its width, by how much",
  },
  { mark: "negative", name: "hatched ribbon", words: "a part that lowers it" },
  {
    mark: "unsigned",
    name: "grey-blue ribbon",
    words: "a length or a proximity, which has no sign",
  },
  {
    mark: "measured",
    name: "bracket beside a ribbon",
    words:
      "its effect, measured; the ribbon is what the prediction would lose without it, to first order",
  },
  { mark: "memory", name: "blue ribbon", words: "attention: how much a head takes from a token" },
  { mark: "read", name: "thin line", words: "what reads the stream, and where" },
  { mark: "norm", name: "ring", words: "a norm, where a stream leaves the river" },
  { mark: "rest", name: "grey row", words: "parts not drawn apart; none is left out of a sum" },
  { mark: "opaque", name: "tall block", words: "a layer that does not attend, shown as one part" },
  {
    mark: "strong",
    name: "strong word",
    words: `what a part ${does}, as the ${name} lens reads it`,
  },
  { mark: "small", name: "small word", words: "what a part looks for, or answers to" },
  { mark: "more", name: "slanted, underlined", words: "parts that a click shows one by one" },
  {
    mark: "tokens",
    name: "letters of one width",
    words: "tokens; all other words are the widget's",
  },
  {
    mark: "bar",
    name: "bar under a token",
    words: "what the token adds to the target; below zero, what it takes",
  },
  { mark: "tick", name: "✓ under a token", words: "the model says the token that follows" },
  {
    mark: "parked",
    name: "▾ on a token",
    words: "an attention sink, or a stream far longer than the others’: hover for how far",
  },
  {
    mark: "outlier",
    name: "▴ on the river",
    words: "from here on the stream is far longer than the other tokens’",
  },
  {
    mark: "composes",
    name: "arc from head to head",
    words: "how much one reads of the other: whole line its query, dashes its key, dots its value",
  },
  { mark: "space", name: "␣ and ⏎", words: "a space and a new line that belong to a token" },
];
