// A generation, and a chat, for the harness: what a kernel would say of the recorded graph's prompt.

const token = (id, text, probability, rank, first = null, put = false) => ({
  id, text, probability, rank, first, put,
});
const the = { id: 260, text: "␣the", probability: 0.41 };
const SAID = [
  [
    token(19081, "␣Tokyo", 0.85, 1),
    token(28, ",", 0.62, 1),
    token(253, "␣a", 0.031, 4, the),
    token(5111, "␣large", 0.12, 2, { id: 3488, text: "␣major", probability: 0.2 }),
    token(3210, "␣city", 0.71, 1),
    token(30, ".", 0.44, 1),
  ],
];
const TURNS = [
  { role: null, start: 0, end: 2, said: null },
  { role: "user", start: 2, end: 6, said: [3, 5] },
  { role: "assistant", start: 6, end: 8, said: null },
];
const branches = [{ of: null, at: null, token: null }];

const generation = (begun, branch) => ({
  begun, tokens: SAID[branch], interrupted: false, branches: [...branches],
});

/** The graph at a step: the new tokens before it stand in its prompt. */
function stepped(graph, begun, branch, step) {
  const own = SAID[branch].slice(0, step).map(({ id, text }, n) => ({ position: begun + n, id, text }));
  const tokens = [...graph.tokens.slice(0, begun), ...own];
  const said = step > 0 ? [begun, tokens.length] : null;
  const turns = graph.turns?.map((turn, at, { length }) =>
    at === length - 1 ? { ...turn, end: tokens.length, said } : turn);
  const { id, text, probability, rank } = SAID[branch][step];
  const target = { ...graph.target, id, text, probability, rank };
  return { ...graph, tokens, turns, prompt: `${step} of ${branch}`, position: begun + step - 1, target, branch, step };
}

export function withTape(traits) {
  const begun = traits.graph.tokens.length;
  const graph = stepped(traits.graph, begun, 0, 0);
  const { id, text } = graph.target;
  const step = { focus: graph.position, target: { id, text }, branch: 0, step: 0 };
  return { ...traits, graph, ...step, generation: generation(begun, 0) };
}

export const withChat = (traits) => ({ ...traits, graph: { ...traits.graph, turns: TURNS } });

/** Answers as the kernel of a generation does. */
export function speaking(model) {
  const { begun } = model.get("generation");
  let shown = "0 of 0";
  model.revised = (graph) => {
    const { branch, step } = graph;
    if (`${step} of ${branch}` === shown) return graph;
    shown = `${step} of ${branch}`;
    model.set("generation", generation(begun, branch));
    return stepped(graph, begun, branch, step);
  };
  model.branching = ({ at, token: id }) => {
    const text = model.vocabulary.find((each) => each.id === id).text;
    const of = model.get("branch");
    const put = token(id, text, 0.004, 90, { id: 28, text: ",", probability: 0.62 }, true);
    const on = [token(3210, "␣city", 0.3, 1), token(30, ".", 0.5, 1)];
    SAID.push([...SAID[of].slice(0, at), put, ...on]);
    branches.push({ of, at, token: { id, text } });
    model.set("branch", SAID.length - 1);
    model.set("step", at);
    return { branch: SAID.length - 1 };
  };
}
