// Many prompts for the harness: what a kernel would say of forty.

const COUNTRIES = [
  ["Japan", "␣Tokyo"], ["Portugal", "␣Lisbon"], ["Peru", "␣Lima"], ["Canada", "␣Ottawa"],
  ["the Netherlands", "␣Amsterdam"], ["Bosnia and Herzegovina", "␣Sarajevo"],
];
const LAYERS = 30;

function row(number) {
  const [country, city] = COUNTRIES[number % COUNTRIES.length];
  const text = `The capital of ${country} is the city of`;
  if (number === 3) return { text: "", problem: "The prompt is empty: pass at least one token." };
  const settled = 20 + (number % 10);
  const probability = 0.02 + ((number * 37) % 96) / 100;
  const part = (layer) => (layer < settled ? 0.001 * layer : probability * ((layer - settled + 1) / (LAYERS - settled)));
  const after = Array.from({ length: LAYERS + 1 }, (_, n) => n - 1);
  const first = { id: 19081 + number, text: city, probability };
  const wrong = number % 7 === 5;
  const own = wrong
    ? { target: { id: 4, text: "␣elsewhere" }, probability: 0.013, rank: 12, right: false }
    : { target: { id: first.id, text: city }, probability, rank: 1, right: true };
  return {
    text, first, ...own, settled,
    words: [[-1, "␣of"], [4, "␣("], [9, "␣the"], [15, "␣capital"], [settled, city]],
    probabilities: after.map(part),
    ranks: after.map((layer) => (layer < settled ? Math.round(20_000 / (layer + 2) ** 2) : 1)),
  };
}

export function withMany(traits) {
  const rows = Array.from({ length: 40 }, (_, number) => row(number));
  const graph = { ...traits.graph, opened: 0 };
  return { ...traits, graph, prompts: { lens: "logit", rows }, opened: null, order: "given" };
}

/** Answers as the kernel of many prompts does. */
export function opening(model) {
  const { rows } = model.get("prompts");
  const home = model.get("graph");
  model.revised = (graph) => {
    const { opened } = graph;
    const { text, first } = rows[opened];
    if (graph.prompt === text) return graph;
    const name = /of (.*) is/.exec(text)[1].split(" ").pop();
    const tokens = home.tokens.map((token) =>
      token.position === 3 ? { ...token, text: `␣${name}` } : token);
    const target = { ...home.target, id: first.id, text: first.text };
    return { ...graph, prompt: text, tokens, target };
  };
}
