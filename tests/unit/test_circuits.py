"""The scoreboard of circuits: its numbers on circuits whose worth is known by hand, and that what
it reads of the package is what the package says.
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest
import torch
from torch import Tensor

import visit_widget as vw
from benchmarks.circuit_edges import edge_scores
from benchmarks.circuit_metrics import auroc, circuits, cmd, counts, cpr, faithfulness
from benchmarks.circuit_runs import Patched
from benchmarks.circuit_scores import node_names, node_scores, slopes_along
from benchmarks.circuit_tasks import Pair
from benchmarks.circuits import compared
from benchmarks.compiled_model import Compiled, answered, compiled
from tests.tiny import PROMPT_IDS, float64_throughout, make_model
from visit_widget.trace.target import followed

OTHER_IDS = [3, 17, 12, 5, 40, 60, 0]
TARGET, FOIL = 5, 7


def test_faithfulness_is_of_the_mean_over_prompts():
    said = torch.tensor([[1.0, 3.0], [5.0, 7.0], [9.0, 11.0]])
    f = faithfulness(said, torch.tensor([1.0, 3.0]), torch.tensor([5.0, 7.0]))
    assert f.tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("f", "under", "off"),
    [
        ([0.0, 1.0, 1.0], 0.75, 0.25),  # half of the parts are enough
        ([0.0, 0.0, 1.0], 0.25, 0.75),
        ([0.0, 2.0, 1.0], 1.25, 0.75),  # what pulls back is left out: more CPR, no less CMD
        ([1.0, 1.0, 1.0], 1.0, 0.0),
    ],
)
def test_areas_are_those_known_by_hand(f, under, off):
    sizes = (0.0, 0.5, 1.0)
    assert cpr(torch.tensor(f), sizes) == pytest.approx(under)
    assert cmd(torch.tensor(f), sizes) == pytest.approx(off)


def test_circuits_are_of_the_largest_scores_or_sizes():
    assert counts(300)[:4] == [0, 0, 1, 3]
    scores = torch.tensor([0.5, -3.0, 2.0, 0.0])
    signed = circuits(scores, [0, 1, 2, 4], by_size=False)
    assert signed.int().tolist() == [[0, 0, 0, 0], [0, 0, 1, 0], [1, 0, 1, 0], [1, 1, 1, 1]]
    by_size = circuits(scores, [1, 2], by_size=True)
    assert by_size.int().tolist() == [[0, 1, 0, 0], [0, 1, 1, 0]]


@pytest.mark.parametrize("seed", range(4))
def test_auroc_is_how_often_a_part_of_the_circuit_is_above_one_that_is_not(seed):
    dice = torch.Generator().manual_seed(seed)
    scores = torch.randint(6, (30,), generator=dice).double()  # many are equal
    member = torch.rand(30, generator=dice) < 0.3
    above = [(a > b) + (a == b) / 2 for a in scores[member] for b in scores[~member]]
    assert auroc(scores, member) == pytest.approx(float(sum(above)) / len(above))
    assert auroc(member.double(), member) == 1
    assert auroc(-member.double(), member) == 0


def _traces() -> tuple[vw.Trace, vw.Trace]:
    model = make_model("llama")
    return vw.trace(model, None, PROMPT_IDS), vw.trace(model, None, OTHER_IDS)


def test_scores_are_what_the_package_says_of_nodes():
    clean, corrupted = _traces()
    names = node_names(clean)
    scores = node_scores(clean, corrupted, TARGET, FOIL)
    for measure in ("linear", "proximity"):
        keep = vw.Keep(routes=vw.Limit())
        found: dict[str, float] = defaultdict(float)
        for node in clean.routes(-1, TARGET, FOIL, measure, keep).nodes:
            if node.kind in ("value", "mlp"):
                part = "mlp" if node.kind == "mlp" else f"H{node.head}"
                found[f"L{node.layer}.{part}"] += node.influence or 0.0
        assert scores[measure].tolist() == pytest.approx([found[n] for n in names], abs=1e-9)
    parts = clean.logit_parts(TARGET, FOIL, by="head")
    assert scores["logit"].tolist() == pytest.approx([parts[n] for n in names], abs=1e-9)
    gone = clean.effects(names, TARGET, FOIL, action="zero", positions="all")
    foretold = [gone[n].predicted for n in names]
    assert scores["effect, of zero"].tolist() == pytest.approx(foretold, abs=1e-9)


@pytest.fixture
def precise():
    with float64_throughout():
        yield


@pytest.mark.usefixtures("precise")
def test_hooks_say_of_circuits_what_reruns_say():
    clean, corrupted = _traces()
    pair = Pair(clean.input_ids, corrupted.input_ids, [TARGET, 9], [FOIL])
    run = Patched(clean.model, pair)
    assert run.names == node_names(clean)
    every = torch.ones(len(run.names)).bool()
    said = run.said(torch.stack([every, *(every & ~row for row in torch.eye(len(every)).bool())]))
    effects = clean.effects(run.names, pair.target, FOIL, action=corrupted, positions="all")
    measured = [effects[n].measured for n in run.names]
    assert (said[0] - said[1:]).tolist() == pytest.approx(measured, abs=1e-9)
    kept = circuits(torch.arange(len(every)).double(), [n % 15 for n in range(10)], False)
    assert compared(clean.model, pair, kept, run) < 1e-9


def test_slopes_along_the_way_make_up_the_difference_of_the_prompts():
    clean, corrupted = _traces()
    told, against = followed(clean, TARGET), followed(clean, FOIL)
    slopes = slopes_along(clean, corrupted, told, against, n_points=24)
    moved = clean.residual(0, "pre") - corrupted.residual(0, "pre")
    m = [float(t.logits()[TARGET] - t.logits()[FOIL]) for t in (clean, corrupted)]
    assert float((moved * slopes.streams[0, "pre"]).sum()) == pytest.approx(m[0] - m[1], rel=2e-3)


def _program(labels: list[str], n_layers: int, answer: str) -> dict[str, np.ndarray]:
    """A program of five prompts that holds nothing yet, of tokens x and y: how many are x."""
    tokens = np.zeros((2, len(labels)))
    tokens[0, labels.index("tokens:x")] = tokens[1, labels.index("tokens:y")] = 1
    prompts = np.array([[0, 1, 1, 0], [1, 1, 1, 1], [0, 0, 0, 1], [0, 1, 0, 1], [1, 0, 1, 1]])
    shapes = {"up": (len(labels), 2), "down": (2, len(labels))}
    shapes |= dict.fromkeys(("query", "key", "value"), (len(labels), 2))
    empty = {k: np.zeros((n_layers, *s)) for k, s in {**shapes, "output": (2, len(labels))}.items()}
    return {
        "tokens": tokens, "positions": np.zeros((8, len(labels))), "dimensions": np.array(labels),
        "n_heads": np.array(1), "answers": np.array([answer]), "prompts": prompts,
        "said": (prompts == 0).mean(-1), **empty,
    }  # fmt: skip


def _planted(seed: int) -> Compiled:
    """Two programs that say which part of the tokens are x: one by a head, one by an MLP and then
    a head.
    """
    short = _program(["tokens:x", "tokens:y", "mean"], 1, "mean")
    short["value"][0, 0, 0] = short["output"][0, 0, 2] = 1
    long = _program(["tokens:x", "tokens:y", "flag", "mean"], 2, "mean")
    long["up"][0, 0, 1] = long["down"][0, 1, 2] = 1
    long["value"][1, 2, 0] = long["output"][1, 0, 3] = 1
    return compiled({"short": short, "long": long}, seed)


@pytest.mark.parametrize("seed", range(3))
def test_compiled_programs_are_the_circuits_that_are_found(seed):
    made = _planted(seed)
    assert [answered(made, name) for name in made.circuits] == [1, 1]
    assert len(made.nodes) == 3
    short, long = made.circuits["short"], made.circuits["long"]
    (head,) = short.nodes
    (mlp,), (second,) = ({n for n in long.nodes if n.endswith(e)} for e in ("mlp", "H0"))
    assert short.edges == {("embed", f"{head.split('.')[0]}.attn"), (head, "logits")}
    reader = f"{second.split('.')[0]}.attn"
    assert long.edges == {("embed", mlp), (mlp, reader), (second, "logits")}
    for circuit in made.circuits.values():
        clean, corrupted = (vw.trace(made.model, None, ids) for ids in circuit.prompts[:2])
        names = node_names(clean)
        nodes = node_scores(clean, corrupted, circuit.answers[0], gone=True)
        edges = edge_scores(clean, corrupted, made.edges, circuit.answers[0])
        inside: Tensor = torch.tensor([n in circuit.nodes for n in made.nodes])
        drawn: Tensor = torch.tensor([e in circuit.edges for e in made.edges])
        for measure in ("effect", "effect, integrated", "linear", "measured", "measured, of zero"):
            of_nodes = nodes[measure][[names.index(n) for n in made.nodes]]
            assert auroc(of_nodes.abs() > 1e-9, inside) == 1, measure
            assert auroc(edges[measure].abs() > 1e-9, drawn) == 1, measure
        # What a node carries is carried by the edges that leave it.
        for measure in ("logit", "proximity", "linear", "effect", "effect, integrated"):
            for name, value in zip(names, nodes[measure].tolist(), strict=True):
                mine = torch.tensor([writer == name for writer, _ in made.edges])
                if mine.any():
                    assert float(edges[measure][mine].sum()) == pytest.approx(value, abs=1e-9)
        # All of it is linear, so that a slope says all that a measurement does.
        for measure in ("measured", "measured, of zero"):
            told = edges[measure.replace("measured", "effect")]
            assert edges[measure].tolist() == pytest.approx(told.tolist(), abs=1e-9)
