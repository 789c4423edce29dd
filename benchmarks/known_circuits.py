"""Whether measures find the circuits of compiled programs: AUROC over nodes and edges."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import torch
from torch import Tensor

import visit_widget as vw

from .circuit_edges import edge_scores
from .circuit_metrics import auroc
from .circuit_scores import node_names, node_scores
from .compiled_model import Circuit, Compiled, answered, compiled, load
from .ranking import decimals
from .report import Table

# Where scripts/bench.sh puts what `compile_programs.py` compiled.
FILE = Path(__file__).parents[1] / ".venv" / "tracr" / "programs.npz"
N_PAIRS = 8
# Of a program that answers with a number, prompts whose numbers are so far apart.
APART = 0.2
N_RANDOM = 200
Scores = dict[str, Tensor]
Traces = tuple[vw.Trace, vw.Trace]
Followed = tuple[int, int | None]


def known_circuits(n_pairs: int = N_PAIRS, file: Path = FILE) -> list[Table]:
    """Two tables, of nodes and edges; one that says why not where nothing was compiled."""
    if not file.exists():
        return [
            Table(
                "Circuits of compiled programs", ["what"], [["missing"]],
                ['Nothing was compiled: run make bench ARGS="--only circuits".'],
            )
        ]  # fmt: skip
    made = compiled(load(file))
    nodes, edges = {}, {}
    for name, circuit in made.circuits.items():
        if answered(made, name) < 1:
            raise SystemExit(f"The model does not say what the program {name!r} says.")
        pairs = list(_pairs(circuit, n_pairs))
        nodes[name] = _found(made, circuit, pairs, node_ranks)
        edges[name] = _found(made, circuit, pairs, edge_ranks)
    of_nodes = (
        f"One model of {len(nodes)} programs: {len(made.nodes)} heads and MLPs that write "
        f"anything, in {made.model.config.n_layer} layers; each answers all its prompts as its "
        f"program does. Of the circuits: {_counts(made, lambda c: c.nodes)}."
    )
    of_edges = (
        f"{len(made.edges)} edges from what writes (the embeddings, too) to a layer's attention, "
        "an MLP or the logits after it. Of the circuits: "
        f"{_counts(made, lambda c: c.edges)}."
    )
    of_both = f"Of {n_pairs} pairs of prompts a program, the mean of the sizes of scores."
    title = "Circuits of compiled programs: AUROC over"
    return [
        _table(f"{title} heads and MLPs", nodes, [of_nodes, of_both]),
        _table(f"{title} edges", edges, [of_edges, of_both]),
    ]


def node_ranks(made: Compiled, pair: Traces, told: Followed) -> Scores:
    """{measure: (len(made.nodes),)}."""
    clean, corrupted = pair
    scores = node_scores(clean, corrupted, *told, gone=True)
    names = node_names(clean)
    chosen = [names.index(n) for n in made.nodes]
    return {name: values[chosen] for name, values in scores.items()}


def edge_ranks(made: Compiled, pair: Traces, told: Followed) -> Scores:
    """{measure: (len(made.edges),)}."""
    return edge_scores(*pair, made.edges, *told)


def _pairs(circuit: Circuit, n: int) -> Iterator[tuple[Tensor, Tensor, int, int | None]]:
    """Prompts with another answer than one another, and both answers."""
    prompts, said, used = circuit.prompts, circuit.said.tolist(), set()
    for first, one in enumerate(said):
        if len(used) >= 2 * n:
            return
        for second in range(first + 1, len(said)):
            if {first, second} & used or abs(said[second] - one) < APART:
                continue
            used |= {first, second}
            if len(circuit.answers) == 1:
                yield prompts[first], prompts[second], circuit.answers[0], None
            else:
                answers = (circuit.answers[int(said[k])] for k in (first, second))
                yield prompts[first], prompts[second], *answers
            break


def _found(
    made: Compiled,
    circuit: Circuit,
    pairs: list[tuple[Tensor, Tensor, int, int | None]],
    find: Callable[[Compiled, Traces, Followed], Scores],
) -> dict[str, float]:
    """{measure: its AUROC}."""
    total: Scores = {}
    for clean, corrupted, target, foil in pairs:
        traces = vw.trace(made.model, None, clean), vw.trace(made.model, None, corrupted)
        for name, values in find(made, traces, (target, foil)).items():
            total[name] = total.get(name, torch.zeros(())) + values.abs()
    nodes = [n in circuit.nodes for n in made.nodes]
    member = torch.tensor(nodes if find is node_ranks else [e in circuit.edges for e in made.edges])
    found = {name: auroc(_rounded(values), member) for name, values in total.items()}
    dice = torch.Generator().manual_seed(0)
    orders = [auroc(torch.rand(len(member), generator=dice), member) for _ in range(N_RANDOM)]
    return {**found, "random": sum(orders) / len(orders)}


def _rounded(values: Tensor) -> Tensor:
    """What is nothing but rounding is nothing: of equal rank."""
    return values.where(values > 1e-9 * values.max(), torch.zeros(()).double())


def _counts(made: Compiled, of: Callable[[Circuit], Iterable[object]]) -> str:
    return ", ".join(f"{name} {len(set(of(c)))}" for name, c in made.circuits.items())


def _table(title: str, found: dict[str, dict[str, float]], notes: list[str]) -> Table:
    table = Table(title, ["ranked by", *found, "mean"], notes=notes)
    for name in next(iter(found.values())):
        values = [own[name] for own in found.values()]
        table.rows.append([name, *map(decimals, [*values, sum(values) / len(values)])])
    return table
