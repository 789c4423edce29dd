"""Ferrando & Voita's information flow routes (2024, arXiv 2403.00824), by an implementation of its
own.

What a block writes is split by token, and by how much a part p brings a whole w nearer (by their
proximity, max(‖w‖₁ − ‖w − p‖₁, 0)) its edge counts, as a fraction of all edges into w. Edges that
reach a threshold are followed, from the prediction down.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from functools import cache

import pytest
from transformers import PreTrainedModel

import visit_widget as vw
from tests.tiny import PROMPT_IDS, float64_throughout, make_model
from tests.ways import Taken, near, take_apart
from visit_widget.flow import FlowGraph

TAUS = (0.01, 0.03, 0.06, 0.1, 0.15, 0.25, 0.4)
LAST = len(PROMPT_IDS) - 1
TokenEdge = tuple[int, int, int]


@dataclass
class Routes:
    """What is kept, and how much each edge is of all edges into its whole.

    Attributes:
        attention: {(layer, to position, from position): …}, all heads together.
        mlps: {(layer, position): …}.
        past_attention, past_mlp: {(layer, position): …} the stream on its way past.
    """

    attention: dict[TokenEdge, float] = field(default_factory=dict)
    mlps: dict[tuple[int, int], float] = field(default_factory=dict)
    past_attention: dict[tuple[int, int], float] = field(default_factory=dict)
    past_mlp: dict[tuple[int, int], float] = field(default_factory=dict)


@cache
def made(seed: int) -> tuple[PreTrainedModel, vw.Trace, Taken]:
    """A llama without any bias in its blocks."""
    with float64_throughout():
        model = make_model("llama", seed=seed, attention_bias=False, mlp_bias=False)
        return model, vw.trace(model, None, PROMPT_IDS), take_apart(model, PROMPT_IDS)


def information_flow_routes(taken: Taken, n_layers: int, position: int, tau: float) -> Routes:
    found, live = Routes(), {position}
    for layer in reversed(range(n_layers)):
        through_mlp = set()
        for i in live:
            mid, written = (p.vector for p in taken.parts[f"P{i}.L{layer}.post"])
            sizes = [near(p, mid + written) for p in (mid, written)]
            for kept, size in zip((found.past_mlp, found.mlps), sizes, strict=True):
                if size / sum(sizes) >= tau:
                    kept[layer, i] = size / sum(sizes)
                    through_mlp.add(i)
        live = set()
        for i in through_mlp:
            whole = taken.wholes[f"P{i}.L{layer}.mid"]
            stream, *brought = taken.parts[f"P{i}.L{layer}.mid"]
            by_token: dict[int, float] = defaultdict(float)
            for part in brought:
                by_token[int(part.node.split(".V")[1])] += near(part.vector, whole)
            past = near(stream.vector, whole)
            every = past + sum(by_token.values())
            if past / every >= tau:
                found.past_attention[layer, i] = past / every
                live.add(i)
            for j, size in by_token.items():
                if size / every >= tau:
                    found.attention[layer, i, j] = size / every
                    live.add(j)
    return found


def as_drawn(graph: FlowGraph) -> Routes:
    """The same of a routes graph; a weight is what an edge's influence is of its whole's."""
    found = Routes()
    for edge in graph.edges:
        part, whole = graph.node(edge.source), graph.node(edge.target)
        if whole.kind != "residual" or part.kind == "rest":
            continue
        weight, at = edge.influence / whole.influence, (whole.layer, whole.position)
        if part.kind == "value":
            token = (whole.layer, whole.position, part.source)
            found.attention[token] = found.attention.get(token, 0) + weight
        elif part.kind == "mlp":
            found.mlps[at] = weight
        elif edge.kind == "residual":
            (found.past_mlp if whole.id.endswith("post") else found.past_attention)[at] = weight
    return found


@pytest.mark.parametrize("position", [LAST, 3])
@pytest.mark.parametrize("tau", TAUS)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_same_edges_are_kept_with_the_same_weights(seed, tau, position):
    model, trace, taken = made(seed)
    published = information_flow_routes(taken, len(model.model.layers), position, tau)
    keep = vw.Keep(routes={"count": None, "threshold": tau}, routes_by="edge")
    with float64_throughout():
        drawn = as_drawn(trace.routes(position, measure="proximity", keep=keep))
    for name, expected in vars(published).items():
        assert getattr(drawn, name) == pytest.approx(expected, abs=1e-9), name


def test_the_thresholds_prune_something_and_leave_something():
    """Else the comparison would say nothing."""
    model, _, taken = made(0)
    n_layers = len(model.model.layers)
    every = [information_flow_routes(taken, n_layers, LAST, tau) for tau in (0, *TAUS)]
    counts = [sum(map(len, vars(routes).values())) for routes in every]
    assert counts[-1] > 3
    assert counts == sorted(counts, reverse=True)
    assert len(set(counts)) > 5
