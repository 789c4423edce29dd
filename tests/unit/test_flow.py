"""The flow graph: every whole is the sum of what flows into it, and every number is the model's."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers import PreTrainedModel

import visit_widget as vw
from tests.slopes import own_slopes
from tests.tiny import (
    N_VOCAB,
    PROMPT_IDS,
    Seen,
    blocks_of,
    final_norm_of,
    float64_throughout,
    frozen,
    look,
    make_model,
    make_speaker,
    matrix_of,
    tokenizer,
)
from visit_widget.flow import Edge, FlowGraph

FAMILIES = ("gpt2", "llama", "llama-head-bias", "gemma2", "phi")
MEASURES = ("share", "logit", "norm", "proximity", "effect")
TARGET, FOIL = 11, 30
KEEPS = {
    "default": vw.Keep(),
    "visit": vw.Keep.visit(),
    "counts": vw.Keep(heads=2, memories=1, neurons=3, rows=4),
    "pairs": vw.Keep(heads=(1, 1), memories=(2, 1), neurons=(3, 2), rows=(2, 3)),
    "mass": vw.Keep(heads=99, memories=99, neurons=99, rows=99, mass=0.6),
    "nothing": vw.Keep(heads=0, memories=0, neurons=0, rows=0),
    "rows alone": vw.Keep(heads=0, memories=0, neurons=0, rows=5),
    "heads alone": vw.Keep(heads=1, memories=0, neurons=0, rows=(0, 2)),
    "everything": vw.Keep(heads=1000, memories=1000, neurons=1000, rows=1000),
}
SCHEMA = json.loads((Path(__file__).parents[2] / "docs" / "schema.json").read_text("utf-8"))


@dataclass
class Case:
    model: PreTrainedModel
    trace: vw.Trace
    seen: Seen
    logits: Tensor


@cache
def made(family: str) -> Case:
    model = make_model(family)
    seen = look(model, PROMPT_IDS)
    # Gemma caps its logits; what the parts add up to is before that.
    final, head = final_norm_of(model)(seen.post[-1]), model.get_output_embeddings()
    logits = torch.nn.functional.linear(final, head.weight, head.bias).detach()
    return Case(model, vw.trace(model, None, PROMPT_IDS), seen, logits)


@pytest.fixture(params=FAMILIES)
def case(request: pytest.FixtureRequest) -> Iterator[Case]:
    with float64_throughout():
        yield made(request.param)


def flows_into(graph: FlowGraph) -> dict[str, list[Edge]]:
    """The edges that carry summands, by the whole that they flow into."""
    wholes: dict[str, list[Edge]] = {}
    for edge in graph.edges:
        if edge.kind in ("part", "write", "residual", "split"):
            wholes.setdefault(edge.target, []).append(edge)
    return wholes


def assert_whole(graph: FlowGraph, case: Case) -> None:
    """What flows into each node sums to it, by share and by logit; nothing dangles."""
    ids = [n.id for n in graph.nodes]
    assert len(set(ids)) == len(ids)
    assert {i for e in graph.edges for i in (e.source, e.target)} == set(ids)
    wholes = flows_into(graph)
    assert wholes.keys() >= {
        f"L{n}.{p}" for n in range(case.trace.n_layers) for p in ("pre", "post")
    }
    for name, edges in wholes.items():
        shares = [e.share for e in edges if e.share is not None]
        assert sum(shares) == pytest.approx(1, abs=1e-9), name
        total = sum(e.logit for e in edges)
        assert total == pytest.approx(graph.node(name).logit, abs=1e-9), name
        if graph.measure == "effect":
            effects = sum(e.effect for e in edges)
            assert effects == pytest.approx(graph.node(name).effect, abs=1e-9), name
        nearness = sum(e.proximity for e in edges if e.proximity is not None)
        assert nearness == pytest.approx(1, abs=1e-9) or nearness == 0, name
    expected = case.logits[graph.position, graph.target["id"]]
    if graph.foil is not None:
        expected = expected - case.logits[graph.position, graph.foil["id"]]
    assert graph.node("logits").logit == pytest.approx(float(expected), abs=1e-9)
    # Whatever the path, it is the same logit: what was written, the embedding and the constants.
    written = [e for e in graph.edges if e.kind == "write" or e.source == "embed"]
    constants = [e for e in graph.edges if e.target == "logits" and e.kind == "part"]
    assert sum(e.logit for e in written + constants) == pytest.approx(float(expected), abs=1e-9)


@pytest.mark.parametrize("keep", KEEPS)
def test_what_flows_into_a_node_sums_to_it(case, keep):
    graph = case.trace.flow(-1, TARGET, FOIL, layers=[0, 2], keep=KEEPS[keep], measure="logit")
    assert_whole(graph, case)


@pytest.mark.parametrize("measure", MEASURES)
def test_every_measure_prunes_a_whole_graph(case, measure):
    keep = vw.Keep(heads=1, memories=(1, 1), neurons=4, rows=(1, 1), mass=0.9)
    assert_whole(case.trace.flow(2, TARGET, layers=[1], keep=keep, measure=measure), case)


counts = st.one_of(st.integers(0, 8), st.tuples(st.integers(0, 5), st.integers(0, 5)))
keeps = st.builds(
    vw.Keep,
    heads=counts,
    memories=counts,
    neurons=counts,
    rows=counts,
    mass=st.none() | st.floats(0.01, 1),
)
tokens = st.integers(0, N_VOCAB - 1)


@settings(max_examples=40, deadline=None)
@given(
    family=st.sampled_from(FAMILIES),
    position=st.integers(-len(PROMPT_IDS), len(PROMPT_IDS) - 1),
    target=tokens,
    foil=st.none() | tokens,
    layers=st.lists(st.integers(0, 2), max_size=3),
    keep=keeps,
    measure=st.sampled_from(MEASURES),
)
def test_any_graph_is_whole_and_valid(family, position, target, foil, layers, keep, measure):
    with float64_throughout():
        case = made(family)
        graph = case.trace.flow(position, target, foil, layers, keep, measure)
        assert_whole(graph, case)
        assert FlowGraph.from_json(graph.to_json()) == graph
        jsonschema.validate(json.loads(graph.to_json()), SCHEMA)


# Ids and kinds.


def overview_ids(model: PreTrainedModel) -> dict[str, str]:
    """{id: kind} of an overview."""
    parallel = model.config.model_type == "phi"
    kinds = {"embed": "embed", "norm": "norm", "logits": "logits"}
    for n in range(model.config.num_hidden_layers):
        kinds |= {
            f"L{n}.{at}": "residual" for at in ("pre", "post", *(() if parallel else ("mid",)))
        }
        kinds |= {f"L{n}.attn": "attention", f"L{n}.mlp": "mlp"}
    if getattr(final_norm_of(model), "bias", None) is not None:
        kinds["norm.bias"] = "bias"
    if model.get_output_embeddings().bias is not None:
        kinds["logits.bias"] = "bias"
    return kinds


def test_an_overview_has_these_nodes_and_edges(case):
    graph = case.trace.flow(3, TARGET)
    assert {n.id: n.kind for n in graph.nodes} == overview_ids(case.model)
    assert graph.layers == []
    edges = {(e.source, e.target): e.kind for e in graph.edges}
    expected = {("embed", "L0.pre"): "residual", ("norm", "logits"): "residual"}
    last = case.trace.n_layers - 1
    expected[(f"L{last}.post", "norm")] = "residual"
    for n in range(last + 1):
        mid = f"L{n}.post" if case.model.config.model_type == "phi" else f"L{n}.mid"
        expected[(f"L{n}.pre", mid)] = "residual"
        expected[(f"L{n}.attn", mid)] = expected[(f"L{n}.mlp", f"L{n}.post")] = "write"
        if not mid.endswith("post"):
            expected[(mid, f"L{n}.post")] = "residual"
        if n < last:
            expected[(f"L{n}.post", f"L{n + 1}.pre")] = "residual"
    for name in overview_ids(case.model):
        if name in ("norm.bias", "logits.bias"):
            expected[(name, "logits")] = "part"
    assert edges == expected


KIND_OF_ID = {
    r"L\d+\.ln[12]": "norm",
    r"L\d+\.H\d+\.Q": "query",
    r"L\d+\.H\d+\.K\d+": "key",
    r"L\d+\.H\d+\.V\d+": "value",
    r"L\d+\.H\d+": "head",
    r"L\d+\.O\d+": "row",
    r"L\d+\.(attn|mlp|H\d+)\.rest": "rest",
    r"L\d+\.(attn|mlp)\.bias": "bias",
    r"L\d+\.N\d+\.key": "neuron_key",
    r"L\d+\.N\d+": "neuron",
}


def test_a_block_adds_nodes_whose_ids_say_what_they_are(case):
    graph = case.trace.flow(5, TARGET, layers=[1], keep=KEEPS["counts"])
    overview = overview_ids(case.model)
    block = [n for n in graph.nodes if n.id not in overview]
    for node in block:
        kind = next(k for pattern, k in KIND_OF_ID.items() if re.fullmatch(pattern, node.id))
        assert node.kind == kind
        assert (node.layer, node.position) == (1, 5)
        numbers = dict(re.findall(r"([HKVNO])(\d+)", node.id))
        if "H" in numbers:
            assert node.head == int(numbers["H"])
        if "K" in numbers or "V" in numbers:
            assert node.source == int(numbers.get("K") or numbers["V"])
        if "N" in numbers or "O" in numbers:
            assert node.neuron == int(numbers.get("N") or numbers["O"])
    made_kinds = [n.kind for n in block]
    assert (made_kinds.count("head"), made_kinds.count("query")) == (2, 2)
    assert made_kinds.count("value") == made_kinds.count("key") == 2
    assert (made_kinds.count("neuron"), made_kinds.count("row")) == (3, 4)
    width = matrix_of(blocks_of(case.model)[1].out).shape[0] // case.trace.n_heads
    for node in block:
        if node.kind == "row":
            assert node.head == node.neuron // width


READS = {"read", "score", "weight", "activation"}


def test_a_block_has_these_edges(case):
    graph = case.trace.flow(5, TARGET, layers=[1], keep=KEEPS["counts"])
    for edge in graph.edges:
        source, target = graph.node(edge.source), graph.node(edge.target)
        pair = (source.kind, target.kind)
        if edge.kind in READS:
            assert edge.share is edge.logit is edge.norm is edge.proximity is None
            assert (edge.value is None) == (edge.kind == "read")
        if edge.kind == "score":
            assert pair == ("query", "key")
            assert edge.value == target.score
        elif edge.kind == "weight":
            assert pair == ("key", "value")
            assert edge.value == source.weight == target.weight
        elif edge.kind == "activation":
            assert pair == ("neuron_key", "neuron")
            assert edge.value == source.activation == target.activation
        elif edge.kind == "read":
            assert pair in {
                ("residual", "norm"), ("norm", "query"), ("norm", "neuron_key"),
            }  # fmt: skip
        elif edge.kind == "split":
            assert target.kind == "row"
            assert edge.source in (f"L1.H{target.head}", "L1.attn.rest")
    stem = "L1.pre" if case.model.config.model_type == "phi" else "L1.mid"
    reads = {(e.source, e.target) for e in graph.edges if e.kind == "read"}
    assert {("L1.pre", "L1.ln1"), (stem, "L1.ln2")} <= reads


@pytest.mark.parametrize("keep", KEEPS)
def test_rest_nodes_say_how_many_they_sum(case, keep):
    graph = case.trace.flow(4, TARGET, layers=[1], keep=KEEPS[keep])
    kinds: dict[str, int] = {}
    for node in graph.nodes:
        if node.layer == 1:
            kinds[node.kind] = kinds.get(node.kind, 0) + 1
    rests = {n.id: n.rest for n in graph.nodes if n.kind == "rest"}
    neurons, heads = kinds.get("neuron", 0), kinds.get("head", 0)
    left = case.trace.d_mlp - neurons
    assert rests.get("L1.mlp.rest") == ({"of": "neuron", "count": left} if left else None)
    left = case.trace.n_heads - heads
    assert rests.get("L1.attn.rest") == ({"of": "head", "count": left} if left else None)
    for node in graph.nodes:
        if node.kind == "head":
            sources = int((case.seen.attentions[1][node.head, 4] != 0).sum())
            kept = sum(n.kind == "value" and n.head == node.head for n in graph.nodes)
            left = sources - kept
            rest = rests.get(f"{node.id}.rest")
            assert rest == ({"of": "value", "count": left} if left else None)


# Numbers.


def own_logits(case: Case, vector: Tensor) -> Tensor:
    """The lens's reading of one vector: the model's head on it."""
    norm, head = final_norm_of(case.model), case.model.get_output_embeddings()
    normed = frozen(norm, vector, vector)
    if getattr(norm, "bias", None) is not None:
        normed = normed + norm.bias
    logits = torch.nn.functional.linear(normed, head.weight, head.bias).detach()
    cap = getattr(case.model.config, "final_logit_softcapping", None)
    return cap * torch.tanh(logits / cap) if cap else logits


def own_direction(case: Case, i: int, target: int, foil: int | None) -> Tensor:
    """⟨direction, part⟩ is what a part of the last stream adds to the logit."""
    weight = case.model.get_output_embeddings().weight.detach()
    row = weight[target] if foil is None else weight[target] - weight[foil]
    unit = torch.eye(len(row), dtype=row.dtype)
    return frozen(final_norm_of(case.model), case.seen.post[-1][i].expand_as(unit), unit) @ row


def own_parts(case: Case, layer: int, i: int) -> dict[str, tuple[Tensor, Tensor]]:
    """{node id: (what it adds to the stream, the whole that it is part of)}, from own hooks."""
    seen, block = case.seen, blocks_of(case.model)[layer]
    name = f"L{layer}"
    parts = {
        f"{name}.attn": (seen.attention[layer][i], seen.pre[layer][i] + seen.attention[layer][i]),
        f"{name}.mlp": (seen.mlp[layer][i], seen.post[layer][i]),
        f"{name}.pre": (seen.pre[layer][i], seen.pre[layer][i] + seen.attention[layer][i]),
    }
    if case.model.config.model_type == "phi":
        parts[f"{name}.attn"] = (seen.attention[layer][i], seen.post[layer][i])
        parts[f"{name}.pre"] = (seen.pre[layer][i], seen.post[layer][i])
    matrix, z = matrix_of(block.out), seen.heads[layer][i]
    rows = frozen(block.after_attention, seen.written[layer][i], z[:, None] * matrix)
    by_head = rows.reshape(case.trace.n_heads, -1, rows.shape[1]).sum(1)
    whole = seen.attention[layer][i]
    parts |= {f"{name}.H{h}": (vector, whole) for h, vector in enumerate(by_head)}
    parts |= {f"{name}.O{r}": (vector, whole) for r, vector in enumerate(rows)}
    written = seen.neurons[layer][i][:, None] * matrix_of(block.down)
    written = frozen(block.after_mlp, seen.mlp_written[layer][i], written)
    whole = seen.mlp[layer][i]
    return parts | {f"{name}.N{k}": (vector, whole) for k, vector in enumerate(written)}


@pytest.mark.parametrize("foil", [None, FOIL])
def test_nodes_and_edges_carry_the_models_numbers(case, foil):
    layer, i = 1, 4
    graph = case.trace.flow(i, TARGET, foil, layers=[layer], keep=vw.Keep(9, 9, 99, 0))
    direction = own_direction(case, i, TARGET, foil)
    checked = 0
    for name, (part, whole) in own_parts(case, layer, i).items():
        if name not in graph:
            assert ".O" in name
            continue
        node = graph.node(name)
        assert node.norm == pytest.approx(float(part.norm()), abs=1e-9)
        assert node.logit == pytest.approx(float(part @ direction), abs=1e-9)
        edge = next(e for e in graph.out_of(name) if e.share is not None)
        assert edge.share == pytest.approx(float(part @ whole / (whole @ whole)), abs=1e-9)
        assert edge.logit == pytest.approx(node.logit, abs=1e-9)
        assert edge.norm == pytest.approx(node.norm, abs=1e-9)
        siblings = [e for e in graph.into(edge.target) if e.share is not None]
        if {e.source for e in siblings} <= own_parts(case, layer, i).keys():
            near = {
                e.source: max(float(w.abs().sum() - (w - p).abs().sum()), 0)
                for e in siblings
                for p, w in [own_parts(case, layer, i)[e.source]]
            }
            expected = near[name] / sum(near.values()) if sum(near.values()) else 0
            assert edge.proximity == pytest.approx(expected, abs=1e-9)
        checked += 1
    assert checked == 3 + case.trace.n_heads + case.trace.d_mlp


def test_rows_are_split_from_their_heads(case):
    graph = case.trace.flow(4, TARGET, layers=[1], keep=vw.Keep(heads=1, rows=6))
    parts, direction = own_parts(case, 1, 4), own_direction(case, 4, TARGET, None)
    rows = [n for n in graph.nodes if n.kind == "row"]
    assert len(rows) == 6
    kept = {n.id for n in graph.nodes if n.kind == "head"}
    left = {f"L1.H{h}": parts[f"L1.H{h}"][0] for h in range(case.trace.n_heads)}
    rest = sum(left[name] for name in left if name not in kept)
    left = {name: left[name] for name in kept} | {"L1.attn.rest": rest}
    for node in rows:
        vector = parts[node.id][0]
        assert node.activation == pytest.approx(float(case.seen.heads[1][4][node.neuron]), abs=1e-9)
        assert node.norm == pytest.approx(float(vector.norm()), abs=1e-9)
        owner = f"L1.H{node.head}" if f"L1.H{node.head}" in kept else "L1.attn.rest"
        assert [e.source for e in graph.into(node.id)] == [owner]
        left[owner] = left[owner] - vector
    for name, vector in left.items():
        edge = next(e for e in graph.out_of(name) if e.target == "L1.attn")
        assert edge.logit == pytest.approx(float(vector @ direction), abs=1e-9)
        assert edge.norm == pytest.approx(float(vector.norm()), abs=1e-9)


@pytest.mark.parametrize("measure", MEASURES)
def test_pruning_keeps_the_largest_by_the_measure(case, measure):
    graph = case.trace.flow(6, TARGET, layers=[2 if case.trace.n_layers > 2 else 1],
                            keep=vw.Keep(heads=2, neurons=5, rows=3), measure=measure)  # fmt: skip
    layer, direction = graph.layers[0], own_direction(case, 6, TARGET, None)
    parts = own_parts(case, layer, 6)
    slopes = own_slopes(case.model, PROMPT_IDS, 6, TARGET)

    def size(name: str) -> float:
        part, whole = parts[name]
        slope = slopes[f"L{layer}.{'mlp' if '.N' in name else 'attn'}"][6]
        sizes = {
            "effect": part @ slope,
            "share": part @ whole,
            "logit": part @ direction,
            "norm": part.norm(),
            "proximity": (whole.abs().sum() - (whole - part).abs().sum()).clamp_min(0),
        }
        return abs(float(sizes[measure]))

    for letter, kind, count in (("H", "head", 2), ("N", "neuron", 5), ("O", "row", 3)):
        every = [name for name in parts if name.startswith(f"L{layer}.{letter}")]
        largest = sorted(every, key=size)[-count:]
        kept = [n.id for n in graph.nodes if n.kind == kind]
        assert sorted(map(size, kept)) == pytest.approx(sorted(map(size, largest)), abs=1e-9)
        if min(map(size, largest)) > 0:
            assert set(kept) == set(largest)


def test_pairs_keep_the_most_positive_and_the_most_negative(case):
    keep = vw.Keep(neurons=(3, 4), heads=(99, 0))
    graph = case.trace.flow(6, TARGET, layers=[1], keep=keep, measure="logit")
    parts, direction = own_parts(case, 1, 6), own_direction(case, 6, TARGET, None)
    adds = {k: float(v @ direction) for k, (v, _) in parts.items()}
    neurons = sorted((n for n in adds if ".N" in n), key=adds.__getitem__)
    positive = [n for n in neurons if adds[n] > 0][-3:]
    negative = [n for n in neurons if adds[n] < 0][:4]
    assert {n.id for n in graph.nodes if n.kind == "neuron"} == {*positive, *negative}
    heads = {n for n in adds if ".H" in n and adds[n] > 0}
    assert {n.id for n in graph.nodes if n.kind == "head"} == heads


@pytest.mark.parametrize("mass", [0.3, 0.75, 1.0])
def test_mass_stops_as_soon_as_it_is_reached(case, mass):
    keep = vw.Keep(neurons=999, mass=mass)
    graph = case.trace.flow(6, TARGET, layers=[1], keep=keep, measure="norm")
    sizes = {k: float(v.norm()) for k, (v, _) in own_parts(case, 1, 6).items() if ".N" in k}
    order = sorted(sizes, key=lambda k: -sizes[k])
    enough, total = [], 0.0
    for name in order:
        enough.append(name)
        total += sizes[name]
        if total >= mass * sum(sizes.values()) * (1 - 1e-12):
            break
    assert {n.id for n in graph.nodes if n.kind == "neuron"} == set(enough)


def test_memories_carry_the_models_attention(case):
    graph = case.trace.flow(5, TARGET, layers=[1], keep=vw.Keep(heads=9, memories=9))
    weights = case.seen.attentions[1][:, 5]
    values = [n for n in graph.nodes if n.kind == "value"]
    assert {(n.head, n.source) for n in values} == {
        (h, j) for h, j in weights.nonzero().tolist()
    }  # fmt: skip
    for node in values:
        assert node.weight == pytest.approx(float(weights[node.head, node.source]), abs=1e-9)
    scores = {(n.head, n.source): n.score for n in graph.nodes if n.kind == "key"}
    cap = getattr(case.model.config, "attn_logit_softcapping", None)
    for (h, j), score in scores.items():
        first = min(source for head, source in scores if head == h)
        a, b = torch.tensor([score, scores[h, first]], dtype=torch.float64)
        a, b = (cap * torch.tanh(x / cap) for x in (a, b)) if cap else (a, b)
        expected = float(weights[h, j].log() - weights[h, first].log())
        assert float(a - b) == pytest.approx(expected, abs=1e-8)
    for node in graph.nodes:
        if node.kind == "query":
            assert node.source == int(weights[node.head].argmax())


def test_neurons_carry_their_activations(case):
    graph = case.trace.flow(5, TARGET, layers=[1], keep=vw.Keep(neurons=99))
    activations = case.seen.neurons[1][5]
    for node in graph.nodes:
        if node.kind in ("neuron", "neuron_key"):
            assert node.activation == pytest.approx(float(activations[node.neuron]), abs=1e-9)


# Labels.


def assert_reads(case: Case, node: Any, vector: Tensor) -> None:
    logits = own_logits(case, vector)
    chances = logits.softmax(-1)
    order = logits.argsort(descending=True).tolist()
    assert [t["id"] for t in node.top] == order[: len(node.top)]
    assert [t["id"] for t in node.bottom] == order[::-1][: len(node.bottom)]
    assert len(node.top) == 5
    whole = node.kind in ("embed", "residual", "norm", "logits")
    for token in node.top + node.bottom:
        assert token["score"] == pytest.approx(float(logits[token["id"]]), abs=1e-9)
        chance = pytest.approx(float(chances[token["id"]]), abs=1e-9) if whole else None
        assert token["probability"] == chance
        assert token["text"] == f"#{token['id']}"
    assert node.label == f"#{order[0]}"
    assert node.unit == "logit"
    assert node.target_rank == order.index(TARGET) + 1
    chance = pytest.approx(float(chances[TARGET]), abs=1e-9) if whole else None
    assert node.target_probability == chance, "probabilities are made for streams alone"


def test_labels_are_the_lens_of_what_a_node_writes(case):
    layer, i = 1, 3
    graph = case.trace.flow(i, TARGET, layers=[layer], keep=vw.Keep(9, 9, 99, 5), lens="logit")
    parts = own_parts(case, layer, i)
    for node in graph.nodes:
        if node.id in parts:
            assert_reads(case, node, parts[node.id][0])
    assert_reads(case, graph.node("embed"), case.seen.pre[0][i])
    assert_reads(case, graph.node("norm"), case.seen.post[-1][i])
    assert_reads(case, graph.node("logits"), case.seen.post[-1][i])
    block = blocks_of(case.model)[layer]
    for name, vector in (("ln1", case.seen.into_attention), ("ln2", case.seen.into_mlp)):
        assert_reads(case, graph.node(f"L{layer}.{name}"), vector[layer][i])
    if block.out.bias is not None and block.after_attention is None:
        assert_reads(case, graph.node(f"L{layer}.attn.bias"), block.out.bias.detach())


def test_memory_values_and_rests_are_labelled_by_what_they_write(case):
    """The parts of a head by source: from own values; the rest is what the kept ones leave."""
    layer, i = 1, 5
    graph = case.trace.flow(i, TARGET, layers=[layer], keep=vw.Keep(2, 1, 3, 0), lens="logit")
    parts = case.trace.head_parts(layer, i)  # checked in test_trace.py
    own = own_parts(case, layer, i)
    for head in [n for n in graph.nodes if n.kind == "head"]:
        kept = [n for n in graph.nodes if n.kind == "value" and n.head == head.head]
        for node in kept:
            assert_reads(case, node, parts[head.head, node.source])
        rest = parts[head.head].sum(0) - sum(parts[head.head, n.source] for n in kept)
        if f"{head.id}.rest" in graph:
            assert_reads(case, graph.node(f"{head.id}.rest"), rest)
    neurons = {n.id for n in graph.nodes if n.kind == "neuron"}
    rest = sum(v for k, (v, _) in own.items() if ".N" in k and k not in neurons)
    assert_reads(case, graph.node("L1.mlp.rest"), rest)


def in_stream(norm: torch.nn.Module, direction: Tensor) -> Tensor:
    """A direction of a normed input as a direction of the stream (its length does not matter)."""
    gain = norm.weight.detach()
    if isinstance(norm, torch.nn.LayerNorm):
        return gain * direction - (gain * direction).mean()
    return (1 + gain if type(norm).__name__.startswith("Gemma") else gain) * direction


def test_queries_and_keys_are_labelled_by_what_they_look_for(case):
    """Directions are checked in test_directions.py; here: which one is read, and in which space."""
    layer, i = 1, 4
    graph = case.trace.flow(i, TARGET, layers=[layer], keep=vw.Keep(9, 2, 4, 0), lens="logit")
    block = blocks_of(case.model)[layer]
    asked = case.trace.query_directions(layer, i)
    answered = case.trace.key_directions(layer, i)
    rows = case.trace.neuron_directions(layer, range(case.trace.d_mlp))
    for node in graph.nodes:
        if node.kind == "query":
            vector = in_stream(block.before_attention, asked[node.head, node.source])
        elif node.kind == "key":
            vector = in_stream(block.before_attention, answered[node.head, node.source])
        elif node.kind == "neuron_key":
            vector = in_stream(block.before_mlp, rows[node.neuron])
        else:
            continue
        assert node.logit is None, "it is no part of the stream"
        assert_reads(case, node, vector)


# The frame around it.


def test_the_target_is_the_models_first_choice_by_default(case):
    for i in (0, -1):
        graph = case.trace.flow(i)
        said = case.seen.logits[i]
        assert graph.target["id"] == int(said.argmax())
        assert graph.target["rank"] == 1
        assert graph.target["logit"] == pytest.approx(float(said.max()), abs=1e-9)
        assert graph.target["probability"] == pytest.approx(float(said.softmax(-1).max()), abs=1e-9)
        assert [t["id"] for t in graph.prediction] == said.topk(10).indices.tolist()
        chances = said.softmax(-1).topk(10).values.tolist()
        assert [t["probability"] for t in graph.prediction] == pytest.approx(chances, abs=1e-9)
        assert graph.foil is None


def test_target_and_foil_say_where_they_stand(case):
    graph = case.trace.flow(2, TARGET, FOIL)
    said = case.seen.logits[2]
    order = said.argsort(descending=True).tolist()
    for token, followed in ((TARGET, graph.target), (FOIL, graph.foil)):
        assert followed["id"] == token
        assert followed["rank"] == order.index(token) + 1
        assert followed["logit"] == pytest.approx(float(said[token]), abs=1e-9)


def test_the_frame_says_what_was_asked(case):
    graph = case.trace.flow(-2, TARGET, layers=[1, 0, 1], keep=KEEPS["pairs"], measure="norm")
    assert graph.version == 1
    assert graph.position == len(PROMPT_IDS) - 2
    assert graph.layers == [0, 1]
    assert graph.measure == "norm"
    assert graph.keep["heads"] == [1, 1]
    assert [t["id"] for t in graph.tokens] == PROMPT_IDS
    config = case.model.config
    assert graph.model["type"] == config.model_type
    assert graph.model["n_heads"] == config.num_attention_heads
    assert graph.model["d_model"] == config.hidden_size


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_visit_keeps_what_the_published_tool_keeps(family):
    assert vw.Keep.visit() == vw.Keep(10, 2, (18, 7), (18, 7), by="visit")
    changes = {"n_inner": 90} if family == "gpt2" else {"intermediate_size": 90}
    with float64_throughout():
        trace = vw.trace(make_model(family, **changes), None, PROMPT_IDS)
        graphs = [
            trace.flow(layers=[1], keep=vw.Keep.visit(), measure=m) for m in ("norm", "share")
        ]
        kinds = [n.kind for n in graphs[0].nodes]
        assert kinds.count("head") == trace.n_heads
        assert kinds.count("value") == kinds.count("key") == 2 * trace.n_heads
        assert kinds.count("neuron") == kinds.count("neuron_key") == 25
        # There are 24 rows, of one sign or the other.
        signs = [n.activation > 0 for n in graphs[0].nodes if n.kind == "row"]
        assert sum(signs) <= 18
        assert len(signs) - sum(signs) == 7
        # Its rule is its own: the measure that ribbons follow does not matter.
        assert {n.id for n in graphs[0].nodes} == {n.id for n in graphs[1].nodes}


def test_json_round_trip(case):
    graph = case.trace.flow(3, TARGET, FOIL, [0, 1], KEEPS["visit"])
    assert FlowGraph.from_json(graph.to_json()) == graph
    assert FlowGraph.from_json(graph.to_json(indent=2)).node("L1.attn") == graph.node("L1.attn")
    assert FlowGraph.from_dict(graph.to_dict()) == graph
    jsonschema.validate(json.loads(graph.to_json()), SCHEMA)


def test_the_schema_refuses_what_is_no_graph():
    with float64_throughout():
        data = json.loads(made("gpt2").trace.flow(layers=[0]).to_json())
    jsonschema.validate(data, SCHEMA)
    for spoil in (
        lambda d: d.pop("nodes"),
        lambda d: d.update(version=2),
        lambda d: d["nodes"][0].update(kind="river"),
        lambda d: d["nodes"][0].update(id="L0.H1.Z3"),
        lambda d: d["edges"][0].pop("share"),
        lambda d: d["edges"][0].update(share="much"),
    ):
        wrong = json.loads(json.dumps(data))
        spoil(wrong)
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, SCHEMA)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('{"version": 2}', "version 2; this package reads version 1"),
        ("{}", "version None"),
        ("[]", "version None"),
        ('{"version": 1}', "has no"),
        ("{", "no JSON"),
        ('{"version": 1, "nodes": 3}', "has no"),
    ],
)
def test_other_json_is_refused_in_a_sentence(text, sentence):
    with pytest.raises(vw.VisitError, match=sentence):
        FlowGraph.from_json(text)


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda d: d["nodes"][0].update(colour="red"), "colour"),
        (lambda d: d["edges"][0].pop("kind"), "kind"),
        (lambda d: d.update(nodes=3), "nodes"),
    ],
)
def test_a_graph_with_other_fields_is_refused_in_a_sentence(spoil, sentence):
    with float64_throughout():
        data = made("gpt2").trace.flow().to_dict()
    spoil(data)
    with pytest.raises(vw.VisitError, match=sentence):
        FlowGraph.from_dict(data)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"position": 7}, "has 7 tokens"),
        ({"target": N_VOCAB}, "vocabulary of 61"),
        ({"foil": -1}, "vocabulary of 61"),
        ({"layers": [3]}, "layers 0 to 2"),
        ({"layers": [-1]}, "layers 0 to 2"),
        ({"measure": "width"}, "'share', 'logit', 'norm', 'proximity'"),
        ({"keep": {"hands": 2}}, "no 'hands'"),
    ],
)
def test_a_graph_that_cannot_be_drawn_is_refused_in_a_sentence(options, sentence):
    with pytest.raises(vw.VisitError, match=sentence):
        made("gpt2").trace.flow(**options)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"heads": -1}, "Keep.heads"),
        ({"heads": 2.5}, "Keep.heads"),
        ({"heads": True}, "Keep.heads"),
        ({"memories": (1, 2, 3)}, "Keep.memories"),
        ({"neurons": (3,)}, "Keep.neurons"),
        ({"neurons": ()}, "Keep.neurons"),
        ({"rows": (1, -1)}, "Keep.rows"),
        ({"rows": "all"}, "Keep.rows"),
        ({"rows": None}, "Keep.rows"),
        ({"mass": 0}, "Keep.mass"),
        ({"mass": 1.01}, "Keep.mass"),
        ({"mass": float("nan")}, "Keep.mass"),
        ({"mass": "half"}, "Keep.mass"),
    ],
)
def test_a_keep_that_means_nothing_is_refused_in_a_sentence(options, sentence):
    with pytest.raises(vw.VisitError, match=sentence):
        vw.Keep(**options)


@pytest.mark.parametrize("value", [5, "much", [1, 2]])
def test_only_a_keep_or_its_fields_make_a_keep(value):
    with pytest.raises(vw.VisitError, match="Keep"):
        vw.Keep.of(value)


def test_a_keep_survives_json():
    for keep in KEEPS.values():
        assert vw.Keep.of(json.loads(json.dumps(keep.to_dict()))) == keep
    assert vw.Keep.of(None) == vw.Keep()
    assert replace(vw.Keep(), heads=3).heads == vw.Limit(3)


def test_a_node_that_is_not_there_is_named():
    graph = made("gpt2").trace.flow()
    assert "L0.H1" not in graph
    with pytest.raises(vw.VisitError, match="layers="):
        graph.node("L0.H1")


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_with_a_tokenizer_tokens_are_texts(family):
    trace = vw.trace(make_speaker(family), tokenizer(), "the cat sat")
    graph = trace.flow(target=" mat", foil=" dog", layers=[0])
    assert [t["text"] for t in graph.tokens] == ["the", "␣cat", "␣sat"]
    assert (graph.target["text"], graph.foil["text"]) == ("␣mat", "␣dog")
    assert graph.prompt == "the cat sat"
    jsonschema.validate(json.loads(graph.to_json()), SCHEMA)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("family", ["gpt2", "llama", "qwen3"])
def test_half_precision_graphs_are_whole_to_rounding(family, dtype):
    graph = vw.trace(make_model(family, dtype), None, PROMPT_IDS).flow(layers=[0, 1])
    for name, edges in flows_into(graph).items():
        shares = sum(e.share for e in edges if e.share is not None)
        assert shares == pytest.approx(1, abs=0.03), name
    jsonschema.validate(json.loads(graph.to_json()), SCHEMA)


def test_a_prompt_of_one_token_has_a_graph():
    with float64_throughout():
        model = make_model("llama")
        graph = vw.trace(model, None, [5]).flow(layers=[0], keep=KEEPS["everything"])
        assert {n.source for n in graph.nodes if n.kind == "value"} == {0}
        assert sum(e.share for e in graph.into("L0.attn") if e.share) == pytest.approx(1)


def test_layers_that_are_drawn_together_are_read_by_the_lens_at_once(monkeypatch):
    """The unembedding is read once for all of them, and says what it says of each on its own."""
    from visit_widget.flow import Painter

    trace = vw.trace(make_model("llama"), None, PROMPT_IDS)
    alone = Painter(trace, lens="logit")
    pieces = [alone.overview(), alone.block(0), alone.block(2)]
    asked = []
    project = vw.LogitLens.project
    monkeypatch.setattr(
        vw.LogitLens, "project", lambda *a, **k: asked.append(len(a[1])) or project(*a, **k)
    )
    graph = Painter(trace, lens="logit").graph([0, 2])
    assert len(asked) == 1
    apart = [[one for piece in pieces for one in piece[of]] for of in (0, 1)]
    for together, each in zip((graph.nodes, graph.edges), apart, strict=True):
        for ours, theirs in zip(together, each, strict=True):
            for name, value in vars(theirs).items():
                if isinstance(value, float):
                    assert getattr(ours, name) == pytest.approx(value, rel=1e-9, abs=1e-12)
                elif name in ("top", "bottom"):
                    told = [[t["id"] for t in getattr(side, name)] for side in (ours, theirs)]
                    assert told[0] == told[1]
                else:
                    assert getattr(ours, name) == value
    assert alone.graph([0, 2]).nodes == apart[0], "what was drawn before is taken"
    assert len(asked) == 1
