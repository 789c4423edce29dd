"""What a routes graph says of a part, in logits, comes true when the part is doubled in the model.

Attention patterns, the scale of norms, and neurons are held (see `tests.frozen`); attention weighs
whatever comes to it, so that a change travels from any position to the prediction. Nothing is
pruned: every way is there.
"""

from __future__ import annotations

from functools import cache

import pytest
import torch
from torch import Tensor

import visit_widget as vw
from tests.frozen import Addition, Change, Frozen, Pass
from tests.tiny import PROMPT_IDS, float64_throughout, make_model
from visit_widget.flow import FlowGraph, Node

FAMILIES = ("gpt2", "llama", "llama-head-bias", "gemma2", "phi", "olmo2", "qwen3")
TARGET, FOIL = 11, 30
EVERYTHING = vw.Keep(routes={"count": None, "threshold": 0})


@cache
def made(family: str) -> tuple[Frozen, vw.Trace]:
    with float64_throughout():
        model = make_model(family)
        return Frozen(model, PROMPT_IDS), vw.trace(model, None, PROMPT_IDS)


@pytest.fixture(params=FAMILIES)
def frozen(request):
    with float64_throughout():
        yield made(request.param)[0]


@pytest.fixture(params=[(-1, FOIL), (4, None)], ids=["last", "within"])
def graph(request, frozen):
    trace = next(t for f, t in map(made, FAMILIES) if f is frozen)
    position, foil = request.param
    return trace.routes(position, TARGET, foil, measure="logit", keep=EVERYTHING)


def exactly(value: float) -> object:
    return pytest.approx(value, abs=1e-9)


def logit_changes(frozen: Frozen, graph: FlowGraph, changes: list[Change]) -> list[float]:
    """What each change adds to the followed logit, in runs of bounded size."""
    found: list[float] = []
    for start in range(0, len(changes), 100):
        seen = frozen.run(changes[start : start + 100], hold_attention=False)
        changed = frozen.changed(seen, "out_of", frozen.head)[:, graph.position]
        foil = 0 if graph.foil is None else changed[:, graph.foil["id"]]
        found += (changed[:, graph.target["id"]] - foil).tolist()
    return found


def constants(frozen: Frozen, layer: int) -> Tensor:
    """(n_heads, T, d_value) what the values are without any stream: from a run without one."""
    block = frozen.blocks[layer]
    without = Addition("into", block.block, -frozen.clean.into[block.block][0])
    seen: Pass = frozen.run([[without]], hold_attention=False)
    return seen.values[block.attention][0]


def doubled(frozen: Frozen, node: Node) -> Change:
    """How a node's vector is added once more where it joins."""
    at, layer = node.position, node.layer
    if node.kind == "embed":
        return [frozen.again("into", frozen.blocks[0].block, at)]
    if node.id in ("norm.bias", "logits.bias"):
        module = frozen.final_norm if node.id == "norm.bias" else frozen.head
        return [frozen.vector("out_of", module, at, module.bias)]
    block = frozen.blocks[layer]
    if node.kind == "mlp":
        return [frozen.again("out_of", block.after_mlp or block.mlp, at)]
    if node.kind == "value":
        return [frozen.weights(layer, at, [(node.head, node.source)])]
    if node.id.endswith("attn.bias"):
        return [frozen.vector("out_of", block.out, at, block.out.bias)]
    if node.kind == "bias":
        weight = frozen.clean.patterns[block.attention][0, node.head, at, node.source]
        brought = weight * constants(frozen, layer)[node.head, node.source]
        mixed = torch.zeros_like(frozen.clean.into[block.out][0, at])
        mixed[node.head * len(brought) : (node.head + 1) * len(brought)] = brought
        return [frozen.vector("into", block.out, at, mixed)]
    if node.id.endswith("post"):
        return [frozen.again("out_of", block.block, at)]
    stream = frozen.clean.into[block.before_mlp or block.mlp][0, at]
    return [frozen.vector("out_of", block.after_attention or block.attention, at, stream)]


def test_a_token_adds_what_doubling_its_embedding_adds(frozen, graph):
    first = frozen.blocks[0].block
    tokens = range(len(PROMPT_IDS))
    changes = logit_changes(frozen, graph, [[frozen.again("into", first, j)] for j in tokens])
    assert [t["position"] for t in graph.attribution["tokens"]] == list(tokens)
    assert [t["direct"] for t in graph.attribution["tokens"]] == exactly(changes)
    assert all(map(bool, changes[: graph.position + 1]))
    assert changes[graph.position + 1 :] == exactly([0.0] * (len(tokens) - graph.position - 1))


def test_a_node_doubled_adds_its_logit(frozen, graph):
    nodes = [n for n in graph.nodes if n.id != "logits"]
    assert {n.kind for n in nodes} >= {"embed", "residual", "value", "mlp"}
    changes = logit_changes(frozen, graph, [doubled(frozen, n) for n in nodes])
    assert {n.id: n.logit for n in nodes} == exactly(
        dict(zip((n.id for n in nodes), changes, strict=True))
    )


def test_there_is_a_node_for_all_that_reaches_the_prediction(frozen, graph):
    expected, live = {"logits", *(n.id for n in graph.nodes if n.kind == "bias")}, {graph.position}
    for layer, block in reversed(list(enumerate(frozen.blocks))):
        pattern, reached = frozen.clean.patterns[block.attention][0], set(live)
        middle = [] if graph.model["type"] == "phi" else ["mid"]
        for i in live:
            expected |= {f"P{i}.L{layer}.{name}" for name in ("mlp", "post", *middle)}
            for head, source in pattern[:, i].nonzero().tolist():
                expected.add(f"P{i}.L{layer}.H{head}.V{source}")
                reached.add(source)
        live = reached
    assert {n.id for n in graph.nodes} == expected | {f"P{i}.embed" for i in live}


def test_what_a_head_brings_flows_from_its_source(frozen, graph):
    """The edge into a value is what it takes from the stream there; the constants are the rest."""
    for edge in graph.edges:
        target = graph.node(edge.target)
        if edge.kind != "through" or target.kind != "value":
            continue
        layer = target.layer
        before = f"P{target.source}." + ("embed" if layer == 0 else f"L{layer - 1}.post")
        assert edge.source == before
        bias = f"{target.id}.bias"
        constant = graph.node(bias).logit if bias in graph else 0.0
        assert edge.logit == exactly(target.logit - constant)


def test_the_logits_into_a_stream_sum_to_what_doubling_it_adds(frozen, graph):
    streams = [n for n in graph.nodes if n.kind == "residual"]
    changes = logit_changes(frozen, graph, [doubled(frozen, n) for n in streams])
    for node, change in zip(streams, changes, strict=True):
        assert sum(e.logit for e in graph.into(node.id)) == exactly(change)
    said = frozen.logits(frozen.clean)[0, graph.position]
    followed = float(said[TARGET] - (0 if graph.foil is None else said[FOIL]))
    assert graph.attribution["total"] == exactly(followed)
    assert graph.node("logits").logit == exactly(followed)
