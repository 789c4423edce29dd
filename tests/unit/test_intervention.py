"""What a graph says of a part comes true when that part is doubled in a model frozen around it.

Attention patterns, the scale of norms, and neurons are held at what they were in a clean run (see
`tests.frozen`), and one part is added once more where it joins. By how much the logit and every
stream after it change is then no matter of derivation but of running the model.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache, cached_property

import pytest
import torch
from torch import Tensor

import visit_widget as vw
from tests.frozen import Change, Frozen, Pass
from tests.tiny import PROMPT_IDS, float64_throughout, make_model
from visit_widget.flow import Edge, FlowGraph

FAMILIES = ("gpt2", "llama", "gemma2", "phi", "olmo2", "qwen3")
TARGET, FOIL = 11, 30
FLOWS = ("residual", "write", "part")
KEEPS = {
    "a few": vw.Keep(heads=2, memories=2, neurons=4, rows=3),
    "everything": vw.Keep(heads=99, memories=99, neurons=99, rows=0),
    "nothing": vw.Keep(heads=0, memories=0, neurons=0, rows=(1, 1)),
}


def exactly(value: float) -> object:
    return pytest.approx(value, abs=1e-9)


@dataclass
class Case:
    """A tiny model, clean and frozen, and how its nodes' parts are doubled at one position."""

    family: str

    @cached_property
    def frozen(self) -> Frozen:
        return Frozen(make_model(self.family), PROMPT_IDS)

    @cached_property
    def trace(self) -> vw.Trace:
        return vw.trace(self.frozen.model, None, PROMPT_IDS)

    @cached_property
    def width(self) -> int:
        """Numbers of a head that enter the output projection."""
        numbers = self.frozen.clean.into[self.frozen.blocks[0].out].shape[-1]
        return int(numbers) // self.trace.n_heads

    @property
    def parallel(self) -> bool:
        return self.family == "phi"

    def doubled(self, graph: FlowGraph, name: str, edge: Edge | None = None) -> Change:
        """How a node's part is added once more; with an edge, just what flows along it."""
        frozen, at = self.frozen, graph.position
        if name in ("embed", "norm", "norm.bias", "logits.bias"):
            return self._doubled_at_an_end(name, at)
        layer, rest = int(name[1:].partition(".")[0]), name.partition(".")[2]
        block = frozen.blocks[layer]
        if rest == "pre":
            return [frozen.again("into", block.block, at)]
        if rest == "mid":
            stream = frozen.clean.into[block.before_mlp or block.mlp][0, at]
            return [frozen.vector("out_of", block.after_attention or block.attention, at, stream)]
        if rest == "post":
            return [frozen.again("out_of", block.block, at)]
        if rest in ("attn", "mlp"):
            half = {"attn": block.after_attention or block.attention}
            return [frozen.again("out_of", half.get(rest, block.after_mlp or block.mlp), at)]
        if rest.endswith(".bias"):
            module = block.out if rest == "attn.bias" else block.down
            return [frozen.vector("out_of", module, at, module.bias)]
        if rest == "mlp.rest" or rest.startswith("N"):
            return [frozen.coordinates(block.down, at, self._neurons(graph, layer, rest))]
        if re.fullmatch(r"H\d+\.(V\d+|rest)", rest):
            return [frozen.weights(layer, at, self._sources(graph, layer, rest))]
        left = edge is not None and edge.kind == "part"
        return [frozen.coordinates(block.out, at, self._numbers(graph, layer, rest, left))]

    def _doubled_at_an_end(self, name: str, at: int) -> Change:
        frozen = self.frozen
        if name == "embed":
            return [frozen.again("into", frozen.blocks[0].block, at)]
        if name == "norm":
            return [frozen.again("into", frozen.final_norm, at)]
        module = frozen.final_norm if name == "norm.bias" else frozen.head
        return [frozen.vector("out_of", module, at, module.bias)]

    def _neurons(self, graph: FlowGraph, layer: int, rest: str) -> set[int]:
        if rest != "mlp.rest":
            return {int(rest[1:])}
        drawn = {n.neuron for n in graph.nodes if n.kind == "neuron" and n.layer == layer}
        return set(range(self.trace.d_mlp)) - drawn

    def _sources(self, graph: FlowGraph, layer: int, rest: str) -> list[tuple[int, int]]:
        head, what = re.findall(r"\d+|rest", rest)
        if what != "rest":
            return [(int(head), int(what))]
        drawn = {n.source for n in graph.nodes
                 if n.kind == "value" and (n.layer, n.head) == (layer, int(head))}  # fmt: skip
        return [(int(head), j) for j in range(len(PROMPT_IDS)) if j not in drawn]

    def _numbers(self, graph: FlowGraph, layer: int, rest: str, left: bool) -> set[int]:
        """The numbers that enter the output projection, of a head, a row, or the other heads."""
        if rest.startswith("O"):
            return {int(rest[1:])}
        heads = {int(rest[1:])} if rest.startswith("H") else self._others(graph, layer)
        numbers = {h * self.width + n for h in heads for n in range(self.width)}
        rows = {n.neuron for n in graph.nodes if n.kind == "row" and n.layer == layer}
        return numbers - rows if left else numbers

    def _others(self, graph: FlowGraph, layer: int) -> set[int]:
        drawn = {n.head for n in graph.nodes if n.kind == "head" and n.layer == layer}
        return set(range(self.trace.n_heads)) - drawn

    def stream(self, seen: Pass, name: str) -> Tensor:
        """(B, T, d_model) what stands at a node that other nodes flow into."""
        if name in ("norm", "logits"):
            return seen.into[self.frozen.final_norm]
        layer, rest = int(name[1:].partition(".")[0]), name.partition(".")[2]
        block = self.frozen.blocks[layer]
        return {
            "pre": lambda: seen.into[block.block],
            "attn": lambda: seen.out_of[block.after_attention or block.attention],
            "mid": lambda: seen.into[block.before_mlp or block.mlp],
            "mlp": lambda: seen.out_of[block.after_mlp or block.mlp],
            "post": lambda: seen.out_of[block.block],
        }[rest]()

    def logit_changes(self, graph: FlowGraph, seen: Pass) -> list[float]:
        changed = self.frozen.changed(seen, "out_of", self.frozen.head)[:, graph.position]
        foil = 0 if graph.foil is None else changed[:, graph.foil["id"]]
        return (changed[:, graph.target["id"]] - foil).tolist()


@cache
def made(family: str) -> Case:
    with float64_throughout():
        case = Case(family)
        assert case.frozen.norms
        assert case.trace
        return case


@pytest.fixture(params=FAMILIES)
def case(request):
    with float64_throughout():
        yield made(request.param)


# The frozen model is the model, and it is frozen.


def test_the_frozen_model_says_what_the_model_says(case):
    frozen, model = case.frozen, case.frozen.model
    with torch.no_grad():
        said = model(torch.tensor([PROMPT_IDS])).logits[0]
    for hold in (True, False):
        again = frozen.logits(frozen.run([[]], hold))[0]
        cap = getattr(model.config, "final_logit_softcapping", None)
        again = cap * torch.tanh(again / cap) if cap else again
        assert torch.allclose(again, said, atol=1e-12, rtol=0)


@pytest.mark.parametrize("hold", [True, False])
def test_the_frozen_model_is_linear_in_what_is_added(case, hold):
    frozen = case.frozen
    one = frozen.again("into", frozen.blocks[0].block, 2)
    other = frozen.coordinates(frozen.blocks[0].down, 4, [0, 3])
    seen = frozen.run([[one], [other], [one, other, one]], hold)
    first, second, both = frozen.changed(seen, "out_of", frozen.head)
    assert torch.allclose(2 * first + second, both, atol=1e-9, rtol=0)
    assert float(first[2].abs().max()) > 0.1
    # Only attention takes it to another position.
    assert float(first[4].abs().max()) < 1e-12 if hold else float(first[4].abs().max()) > 0.01


# The block graph: nothing that comes later reacts.


def flow_edges(graph: FlowGraph) -> list[Edge]:
    return [e for e in graph.edges if e.kind in FLOWS and e.share is not None]


@pytest.mark.parametrize("keep", KEEPS)
@pytest.mark.parametrize(("position", "foil"), [(4, None), (-1, FOIL)])
def test_a_node_doubled_adds_its_logit(case, keep, position, foil):
    graph = case.trace.flow(position, TARGET, foil, [0, 1, 2], KEEPS[keep], "logit")
    nodes = [n for n in graph.nodes if n.logit is not None and n.id != "logits"]
    kinds = {n.kind for n in nodes}
    assert {"embed", "attention", "mlp", "residual", "norm"} <= kinds
    assert keep == "nothing" or {"head", "value", "neuron"} <= kinds
    seen = case.frozen.run([case.doubled(graph, n.id) for n in nodes], hold_attention=True)
    for node, change in zip(nodes, case.logit_changes(graph, seen), strict=True):
        assert node.logit == exactly(change), node.id


@pytest.mark.parametrize("keep", KEEPS)
@pytest.mark.parametrize(("position", "foil"), [(4, None), (-1, FOIL)])
def test_what_flows_along_an_edge_doubled_changes_its_whole_as_measured(case, keep, position, foil):
    graph = case.trace.flow(position, TARGET, foil, [0, 1, 2], KEEPS[keep], "logit")
    edges = flow_edges(graph)
    changes = [case.doubled(graph, e.source, e) for e in edges]
    seen = case.frozen.run(changes, hold_attention=True)
    logits = case.logit_changes(graph, seen)
    nearness: dict[str, float] = {}
    near: dict[Edge, float] = {}
    for n, edge in enumerate(edges):
        assert edge.logit == exactly(logits[n]), edge
        whole, part = whole_and_part(case, graph, edge, seen, n)
        assert edge.share == exactly(float(part @ whole / (whole @ whole))), edge
        assert edge.norm == exactly(float(part.norm())), edge
        distance = whole.abs().sum() - (whole - part).abs().sum()
        near[edge] = float(distance.clamp_min(0))
        nearness[edge.target] = nearness.get(edge.target, 0.0) + near[edge]
    for edge, value in near.items():
        expected = value / nearness[edge.target] if nearness[edge.target] else 0
        assert edge.proximity == exactly(expected), edge


def whole_and_part(
    case: Case, graph: FlowGraph, edge: Edge, seen: Pass, n: int
) -> tuple[Tensor, Tensor]:
    """An edge's whole in the clean run, and by how much run n changed it."""
    at, clean = graph.position, case.frozen.clean
    if graph.node(edge.target).kind != "head":
        before = case.stream(clean, edge.target)[0, at]
        return before, case.stream(seen, edge.target)[n, at] - before
    # A head is seen by what it changes in its layer's attention.
    attention = f"L{graph.node(edge.target).layer}.attn"
    change = case.doubled(graph, edge.target)
    twice = case.stream(case.frozen.run([change], hold_attention=True), attention)[0, at]
    before = case.stream(clean, attention)[0, at]
    return twice - before, case.stream(seen, attention)[n, at] - before


def test_every_later_stream_changes_by_the_same_logit(case):
    graph = case.trace.flow(5, TARGET, FOIL, [0, 1, 2], KEEPS["a few"], "logit")
    nodes = [n for n in graph.nodes if n.kind in ("head", "value", "neuron", "attention", "mlp")]
    seen = case.frozen.run([case.doubled(graph, n.id) for n in nodes], hold_attention=True)
    streams = [n.id for n in graph.nodes if n.kind == "residual"]  # in the order of the model
    middle = "post" if case.parallel else "mid"
    checked = 0
    for n, node in enumerate(nodes):
        joins = f"L{node.layer}.{middle if node.kind in ('head', 'value', 'attention') else 'post'}"
        first = streams.index(joins)
        for name in streams[first:]:
            change = case.stream(seen, name)[n, 5] - case.stream(case.frozen.clean, name)[0, 5]
            assert read(case, graph, change) == exactly(node.logit), (node.id, name)
            checked += 1
        for name in streams[:first]:
            change = case.stream(seen, name)[n, 5] - case.stream(case.frozen.clean, name)[0, 5]
            assert float(change.abs().max()) < 1e-12, (node.id, name)
    assert checked > 3 * len(nodes) / 2


def read(case: Case, graph: FlowGraph, vector: Tensor) -> float:
    """What a summand of the last stream adds to what is followed, by the model's own end."""
    frozen = case.frozen
    change = [frozen.vector("into", frozen.final_norm, graph.position, vector)]
    return case.logit_changes(graph, frozen.run([change], hold_attention=True))[0]


def test_the_streams_stand_where_the_model_would_stop(case):
    """A stream's own logit, constants left out; the constants and the last stream are the logit."""
    graph = case.trace.flow(3, TARGET, None)
    for node in graph.nodes:
        if node.kind == "residual":
            vector = case.stream(case.frozen.clean, node.id)[0, 3]
            assert node.logit == exactly(read(case, graph, vector))
    said = float(case.frozen.logits(case.frozen.clean)[0, 3, TARGET])
    assert graph.node("logits").logit == exactly(said)


def test_logit_parts_are_what_doubling_adds(case):
    graph = case.trace.flow(-1, TARGET, FOIL, [0, 1, 2], KEEPS["everything"])
    for by in ("component", "head", "neuron"):
        parts = case.trace.logit_parts(TARGET, FOIL, by=by)
        seen = case.frozen.run([case.doubled(graph, name) for name in parts], hold_attention=True)
        for (name, value), change in zip(
            parts.items(), case.logit_changes(graph, seen), strict=True
        ):
            assert value == exactly(change), name


def test_with_attention_at_work_more_changes_than_a_logit_says(case):
    """What `logit` leaves out is there: the layers after it move what they read on."""
    graph = case.trace.flow(-1, TARGET)
    change = case.doubled(graph, "L0.attn")
    held = case.logit_changes(graph, case.frozen.run([change], hold_attention=True))[0]
    moved = case.logit_changes(graph, case.frozen.run([change], hold_attention=False))[0]
    assert abs(held - moved) > 1e-6
