"""How far what a graph says of a part is what happens without it.

    python -m benchmarks.faithfulness

A graph is drawn from one pass, with later layers and norms as they were. Here heads and MLPs of the
demo model are ablated, by hooks on its modules and with nothing frozen, and the loss of the logit
is compared by rank with what the graph says that the part adds; and tokens' embeddings are
replaced, and compared with what routes say that they add. Prints tables in Markdown.
"""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn

import visit_widget as vw
from visit_widget.flow import Edge, FlowGraph
from visit_widget.trace.logit import logit_direction

from . import token_effects
from .part_effects import said_of, some_neurons
from .ranking import N_STRONGEST, decimals, spearman, strongest_found
from .report import Table
from .token_effects import Tokens, tokens_of

PROMPTS = (
    "The capital of Japan is the city of",
    "The Eiffel Tower is in the city of",
    "Paris is the capital of France, and Rome is the capital of",
    "The opposite of hot is",
    "When Mary and John went to the store, John gave a drink to",
    "I know that the dogs next to the man",
)
AT_ONCE = 32
SIGNED = ("effect", "logit", "share × sign", "influence", "influence by linear")
# What a block graph says of parts, and what routes say with nothing pruned.
SIZES = (
    "|logit|", "|share|", "norm", "proximity",
    "|influence|", "|influence by linear|", "|influence by share|", "|influence by proximity|",
)  # fmt: skip
ROUTES = {
    "logit": "influence",
    "linear": "influence by linear",
    "share": "influence by share",
    "proximity": "influence by proximity",
    "effect": "influence by effect",
}
EFFECTS = ("last", "all", "last, − foil", "all, − foil")


@dataclass(frozen=True)
class Cut:
    """A part of the model to be taken away: columns of what enters a projection to the stream.

    Attributes:
        layer: in which layer.
        projection: the output projection of attention, or the down projection of an MLP.
        columns: which.
    """

    layer: int
    projection: nn.Module
    columns: slice


@dataclass
class Parts:
    """Parts of one kind under one prompt: what the graph says of them, and what ablation does.

    Attributes:
        said: {measure: (n,)}; with a foil under "logit, − foil" and "influence, − foil"; what an
            effect says hangs on what is taken away, "effect: last", "effect: all, − foil", ….
        lost: {effect: (n,)} by how much the logit falls without each part.
    """

    said: dict[str, Tensor] = field(default_factory=dict)
    lost: dict[str, Tensor] = field(default_factory=dict)


@dataclass
class Case:
    """One prompt, followed to the model's first choice, with the runner-up as foil."""

    prompt: str
    target: str
    foil: str
    heads: Parts
    mlps: Parts
    neurons: Parts
    tokens: Tokens


class Ablated:
    """The demo model without parts of it, on one prompt.

    Args:
        model: the demo model.
        ids: (T,) the prompt.

    Attributes:
        clean: (n_vocab,) its logits at the last position with nothing taken away.
    """

    def __init__(self, model: Any, ids: Tensor) -> None:
        self.model, self.ids = model, ids
        self.blocks = list(model.model.layers)
        self._streams: list[Tensor] = []
        handles = [
            block.register_forward_hook(lambda _m, _a, out: self._streams.append(out))
            for block in self.blocks
        ]
        try:
            self.clean = self._run(1)[0]
        finally:
            for handle in handles:
                handle.remove()

    def lost(self, cuts: Sequence[Cut], target: int, foil: int) -> dict[str, Tensor]:
        """{effect: (len(cuts),)} by how much the logits fall without each."""
        found = {}
        for name, start in (("last", -1), ("all", 0)):
            chunks = [cuts[n : n + AT_ONCE] for n in range(0, len(cuts), AT_ONCE)]
            fallen = self.clean - torch.cat([self._without(chunk, start) for chunk in chunks])
            found[name] = fallen[:, target].double()
            found[f"{name}, − foil"] = (fallen[:, target] - fallen[:, foil]).double()
        return found

    def _without(self, cuts: Sequence[Cut], start: int) -> Tensor:
        """(len(cuts), n_vocab) without each from a position on; the layers before are not run."""

        def hook(module: nn.Module, args: Any) -> Any:
            x = args[0].clone()
            for row, cut in enumerate(cuts):
                if cut.projection is module:
                    x[row, start:, cut.columns] = 0
            return (x, *args[1:])

        first = min(cut.layer for cut in cuts)
        with ExitStack() as stack:
            for block, stream in zip(self.blocks[:first], self._streams, strict=False):
                kept = stream.expand(len(cuts), -1, -1)
                stack.enter_context(patch.object(block, "forward", lambda *_, s=kept, **__: s))
            for module in {cut.projection for cut in cuts}:
                stack.callback(module.register_forward_pre_hook(hook).remove)
            return self._run(len(cuts))

    @torch.no_grad()
    def _run(self, batch: int) -> Tensor:
        ids = self.ids.repeat(batch, 1)
        logits: Tensor = self.model(ids, use_cache=False, logits_to_keep=1).logits[:, -1]
        return logits


def said(graph: FlowGraph, against: FlowGraph, names: Sequence[str]) -> dict[str, Tensor]:
    """What graphs, without and with the foil, say of these nodes, on their edges into wholes."""
    out = {e.source: e for e in graph.edges if e.share is not None}
    whole = {n.id: n.logit for n in graph.nodes}

    def column(value: Callable[[Edge], float]) -> Tensor:
        return torch.tensor([value(out[name]) for name in names], dtype=torch.float64)

    def signed(edge: Edge) -> float:
        return (edge.share or 0.0) * (1 if (whole[edge.target] or 0.0) >= 0 else -1)

    logit = column(lambda e: e.logit or 0.0)
    differences = {n.id: n.logit or 0.0 for n in against.nodes}
    return {
        "logit": logit,
        "logit, − foil": torch.tensor([differences[n] for n in names], dtype=torch.float64),
        "share × sign": column(signed),
        "share": column(lambda e: e.share or 0.0),
        "norm": column(lambda e: e.norm or 0.0),
        "proximity": column(lambda e: e.proximity or 0.0),
    }


def carried(routes: Mapping[str, FlowGraph], names: Sequence[str]) -> dict[str, Tensor]:
    """The influence of these nodes of the last position, in routes with nothing pruned; a head's is
    the sum over what it brings from every token.
    """
    found = {}
    for measure, graph in routes.items():
        totals: dict[str, float] = defaultdict(float)
        for node in graph.nodes:
            if node.position == graph.position and node.kind in ("value", "mlp"):
                part = "mlp" if node.kind == "mlp" else f"H{node.head}"
                totals[f"L{node.layer}.{part}"] += node.influence or 0.0
        name, *foil = measure.split(",")
        column = torch.tensor([totals[n] for n in names], dtype=torch.float64)
        found[",".join([ROUTES[name], *foil])] = column
    return found


def measured(model: Any, tokenizer: Any, prompt: str) -> Case:
    """One prompt: what its graphs say, and every ablation."""
    trace = vw.trace(model, tokenizer, prompt)
    first, second = (t["id"] for t in trace.flow().prediction[:2])
    keep = vw.Keep(heads=trace.n_heads, memories=0, neurons=0, rows=0)
    layers = range(trace.n_layers)
    graph = trace.flow(target=first, layers=layers, keep=keep)
    against = trace.flow(target=first, foil=second, layers=layers, keep=keep)
    every = vw.Keep(routes=vw.Limit())
    routes = {m: trace.routes(target=first, measure=m, keep=every) for m in ROUTES}
    for name in ("logit", "linear", "effect"):
        routes[f"{name}, − foil"] = trace.routes(-1, first, second, name, every)

    width = model.config.hidden_size // trace.n_heads
    heads, mlps, neurons = {}, {}, {}
    for n, block in enumerate(model.model.layers):
        mlps[f"L{n}.mlp"] = Cut(n, block.mlp.down_proj, slice(None))
        for head in range(trace.n_heads):
            columns = slice(head * width, (head + 1) * width)
            heads[f"L{n}.H{head}"] = Cut(n, block.self_attn.o_proj, columns)
    for layer, neuron in some_neurons(trace):
        down = model.model.layers[layer].mlp.down_proj
        neurons[layer, neuron] = Cut(layer, down, slice(neuron, neuron + 1))
    ablated = Ablated(model, trace.input_ids)
    effects = said_of(trace, list(neurons), first, second)
    parts = [
        Parts(
            said(graph, against, list(cuts)) | carried(routes, list(cuts)) | effects[kind],
            ablated.lost(list(cuts.values()), first, second),
        )
        for kind, cuts in (("heads", heads), ("mlps", mlps))
    ]
    read = logit_direction(trace, first, None, len(trace) - 1)
    logits = [float(trace.mlp_row(n, -1).along(read.layers[n].post)[k]) for n, k in neurons]
    own = effects["neurons"] | {"logit": torch.tensor(logits, dtype=torch.float64)}
    parts.append(Parts(own, ablated.lost(list(neurons.values()), first, second)))
    tokens = tokens_of(model, trace.input_ids, prompt, routes, first, second)
    return Case(prompt, graph.prediction[0]["text"], graph.prediction[1]["text"], *parts, tokens)


def compared(parts: Parts, measure: str, effect: str, span: slice = slice(None)) -> float:
    """The rank correlation of a measure with an effect, or of sizes with its size.

    Args:
        parts: of one prompt.
        measure: one of SIGNED and SIZES.
        effect: one of EFFECTS.
        span: of which parts.
    """
    name, fallen = measure.strip("|"), parts.lost[effect]
    foil = f"{name}, − foil"
    if f"{name}: {effect}" in parts.said:
        name = f"{name}: {effect}"
    elif effect.endswith("foil") and foil in parts.said:
        name = foil
    value = parts.said[name]
    if measure in SIZES:
        value, fallen = value.abs(), fallen.abs()
    return spearman(value[span], fallen[span])


def by_depth(cases: Sequence[Case]) -> Table:
    """The logit of heads, layers apart: the later, the less comes after."""
    table = Table("The `logit` of heads by depth, mean over prompts")
    table.columns = ["layers", *EFFECTS]
    n_layers = len(cases[0].mlps.said["logit"])
    n_heads = len(cases[0].heads.said["logit"]) // n_layers
    third = n_layers // 3
    spans = [(0, third), (third, 2 * third), (2 * third, n_layers), (n_layers - 1, n_layers)]
    for start, end in spans:
        span = slice(start * n_heads, end * n_heads)
        row = [f"{start} to {end - 1}" if end - start > 1 else f"{start}, the last"]
        for effect in EFFECTS:
            values = [compared(case.heads, "logit", effect, span) for case in cases]
            row.append(decimals(sum(values) / len(values)))
        table.rows.append(row)
    return table


def by_prompt(cases: Sequence[Case], kind: str) -> Table:
    """The logit, prompt by prompt."""
    table = Table(f"What a graph's `logit` says of {kind}, by prompt")
    strongest = f"strongest {N_STRONGEST} found"
    table.columns = ["prompt", "target − foil", *EFFECTS, f"{strongest}: last", f"{strongest}: all"]
    rows = []
    for case in cases:
        parts: Parts = getattr(case, kind)
        values = [compared(parts, "logit", effect) for effect in EFFECTS]
        values += [strongest_found(parts.said["logit"], parts.lost[e]) for e in ("last", "all")]
        rows.append(values)
        table.rows.append([case.prompt, f"{case.target} − {case.foil}", *row_of(values)])
    table.rows.append(["mean", "", *row_of([sum(c) / len(c) for c in zip(*rows, strict=True)])])
    return table


def row_of(values: Sequence[float]) -> list[str]:
    found = [f"{value:.1f}".removesuffix(".0") for value in values[len(EFFECTS) :]]
    return [*map(decimals, values[: len(EFFECTS)]), *found]


def by_measure(cases: Sequence[Case]) -> Table:
    """Every measure, on the average over prompts."""
    table = Table("Every measure, mean over prompts")
    table.columns = ["measure", *(f"{k}: {e}" for k in ("heads", "MLPs") for e in EFFECTS)]
    for measure in (*SIGNED, *SIZES):
        row = [measure]
        for kind in ("heads", "mlps"):
            for effect in EFFECTS:
                values = [compared(getattr(case, kind), measure, effect) for case in cases]
                row.append(decimals(sum(values) / len(values)))
        table.rows.append(row)
    table.notes.append(f"The last {len(SIZES)} rows are sizes, compared with that of the effect.")
    return table


def by_kind(cases: Sequence[Case]) -> Table:
    """Effects and logits of every kind of part, on the average over prompts."""
    table = Table("What effects say of each kind of part, mean over prompts")
    strongest = [f"strongest {N_STRONGEST} found: {where}" for where in ("last", "all")]
    table.columns = ["parts", "measure", *EFFECTS, *strongest]
    for kind in ("heads", "mlps", "neurons"):
        for measure in ("effect", "logit"):
            rows = []
            for case in cases:
                parts: Parts = getattr(case, kind)
                values = [compared(parts, measure, effect) for effect in EFFECTS]
                for where in ("last", "all"):
                    own = parts.said.get(f"{measure}: {where}", parts.said.get(measure))
                    assert own is not None
                    values.append(strongest_found(own, parts.lost[where]))
                rows.append(values)
            means = [sum(c) / len(c) for c in zip(*rows, strict=True)]
            table.rows.append([kind, measure, *row_of(means)])
    return table


def main() -> None:
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    start = time.perf_counter()
    model, tokenizer = vw.load_demo()
    cases = [measured(model, tokenizer, prompt) for prompt in PROMPTS]
    for table in (
        by_prompt(cases, "heads"),
        by_prompt(cases, "mlps"),
        by_depth(cases),
        by_measure(cases),
        by_kind(cases),
        token_effects.by_prompt([case.tokens for case in cases]),
        token_effects.by_measure([case.tokens for case in cases]),
    ):
        print(table.markdown())
    print(f"Took {time.perf_counter() - start:.0f} s.")


if __name__ == "__main__":
    main()
