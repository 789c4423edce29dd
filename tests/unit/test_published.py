"""Against the flow graphs that the authors of VISIT published: what is drawn, and by which rule.

`tests/fixtures/published-visit.json` holds counts and numbers read off their graphs of GPT-2 small
and medium (its "source" says how). Ours of a GPT-2 of that shape is held against them node kind by
node kind and edge kind by edge kind, and its choice of parts against their rule, computed here from
what hooks on the model show.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import visit_widget as vw
from tests.tiny import Seen, blocks_of, float64_throughout, look, make_model, matrix_of
from visit_widget.flow import FlowGraph, Node

FIXTURE = Path(__file__).parents[1] / "fixtures" / "published-visit.json"
PUBLISHED: dict[str, Any] = json.loads(FIXTURE.read_text("utf-8"))
N_HEADS = {"GPT2-small": 12, "GPT2-medium": 16}
N_LAYERS = {"GPT2-small": 12, "GPT2-medium": 24}
# Memories a head; rows and neurons, of positive and of negative sign.
N_MEMORIES, N_POSITIVE, N_NEGATIVE = 2, 20, 10
N_ROWS = N_NEURONS = N_POSITIVE + N_NEGATIVE
HUBS = (
    "q,k,v (before splitting into heads): q (for current calc)",
    ("concated_heads (without projection)"),
)


@pytest.fixture(params=N_HEADS)
def published(request: pytest.FixtureRequest) -> tuple[int, dict[str, Any]]:
    return N_HEADS[request.param], PUBLISHED["graphs"][request.param]


def n_nodes(heads: int) -> int:
    return 9 + heads * (2 + 2 * N_MEMORIES) + N_ROWS + 1 + 2 * N_NEURONS + 2


def n_edges(heads: int) -> int:
    return 7 + heads * (2 + 3 * N_MEMORIES) + 2 * N_ROWS + 2 + 3 * N_NEURONS + 3


# What was published.


def test_every_layer_was_published():
    assert {name: len(g["nodes"]) for name, g in PUBLISHED["graphs"].items()} == N_LAYERS


def test_the_published_graphs_have_as_many_nodes_and_edges_as_their_sizes_say(published):
    heads, graphs = published
    assert (n_nodes(12), n_edges(12), n_nodes(16), n_edges(16)) == (174, 258, 198, 290)
    assert set(graphs["nodes"]) == {n_nodes(heads)}
    assert set(graphs["edges"]) == {n_edges(heads)}
    for what in ("node", "edge"):
        by_layer = zip(*graphs[f"{what}_kinds"].values(), strict=True)
        assert [sum(counts) for counts in by_layer] == graphs[f"{what}s"]


def published_kinds(heads: int) -> tuple[Counter[str], Counter[str]]:
    """How many nodes and edges of each kind a published graph has."""
    q, head, key = "head #: qi (for current calc)", "head #: output", "head #: key #"
    value, hub, concat = "head #: value #", *HUBS
    row = "value index:# (from head #), activision "
    memories = heads * N_MEMORIES
    nodes = {
        "attn_residual": 1, "attn_input": 1, hub: 1, q: heads, key: memories, value: memories,
        head: heads, concat: 1, f"{row}positive": N_POSITIVE, f"{row}negative": N_NEGATIVE,
        "attn_out": 1, "attn_out+residual": 1, "mlp_input": 1, "key#": N_NEURONS,
        "value#": N_NEURONS, "c_fc_bias": 1, "c_proj_bias": 2, "mlp_out": 1, "residual+mlp_out": 1,
    }  # fmt: skip
    edges = {
        "attn_residual → attn_input": 1,
        f"attn_input → {hub}": 1,
        f"{hub} → {q}": heads,
        f"{q} → {key}": memories,
        f"{key} → {value}": memories,
        f"{value} → {head}": memories,
        f"{head} → {concat}": heads,
        f"{concat} → {row}positive": N_POSITIVE,
        f"{concat} → {row}negative": N_NEGATIVE,
        f"{row}positive → attn_out": N_POSITIVE,
        f"{row}negative → attn_out": N_NEGATIVE,
        f"{concat} → c_proj_bias": 1,
        "c_proj_bias → attn_out": 1,
        "attn_out → attn_out+residual": 1,
        "attn_residual → attn_out+residual": 1,
        "attn_out+residual → mlp_input": 1,
        "mlp_input → key#": N_NEURONS,
        "key# → value#": N_NEURONS,
        "value# → mlp_out": N_NEURONS,
        "mlp_input → c_fc_bias": 1,
        "c_fc_bias → c_proj_bias": 1,
        "c_proj_bias → mlp_out": 1,
        "mlp_out → residual+mlp_out": 1,
        "attn_out+residual → residual+mlp_out": 1,
    }
    return Counter(nodes), Counter(edges)


def test_the_published_graphs_have_these_kinds_of_nodes_and_edges(published):
    heads, graphs = published
    nodes, edges = published_kinds(heads)
    assert (nodes.total(), edges.total()) == (n_nodes(heads), n_edges(heads))
    assert {k: set(counts) for k, counts in graphs["node_kinds"].items()} == {
        k: {count} for k, count in nodes.items()
    }
    assert {k: set(counts) for k, counts in graphs["edge_kinds"].items()} == {
        k: {count} for k, count in edges.items()
    }


def test_the_published_memories_are_those_of_the_largest_attention_weights(published):
    heads, graphs = published
    n_tokens, by_length = 8, 0
    for layer in graphs["memories"]:
        assert len(layer) == heads
        for memories in layer:
            (_, first, length), (_, second, other) = memories
            assert first >= second
            # None of the others can have more than the second: there is no room for less.
            left = 1 - first - second
            assert second >= left / (n_tokens - N_MEMORIES) - 0.001
            by_length += second * other > first * length
    # By what they write, weight × length of the value, a third would stand the other way round.
    assert by_length > heads * len(graphs["memories"]) / 4


@pytest.mark.parametrize("kind", ["rows", "neurons"])
def test_the_published_rows_and_neurons_are_ranked_by_activation_times_length(published, kind):
    _, graphs = published
    for layer in graphs[kind]:
        assert len({index for index, _, _ in layer}) == N_ROWS == len(layer)
        signs = [activation > 0 for _, activation, _ in layer]
        assert signs == [True] * N_POSITIVE + [False] * N_NEGATIVE
        sizes = [abs(size) for _, _, size in layer]
        for part in (sizes[:N_POSITIVE], sizes[N_POSITIVE:]):
            assert part == sorted(part, reverse=True)
        activations = [abs(activation) for _, activation, _ in layer]
        assert activations[:N_POSITIVE] != sorted(activations[:N_POSITIVE], reverse=True)
        # A row's has its activation's sign, a neuron's none.
        assert all((size > 0) == (sign or kind == "neurons")
                   for (_, _, size), sign in zip(layer, signs, strict=True))  # fmt: skip


# What we draw.

IDS = [3, 17, 42, 5, 17, 60, 0, 21, 33]
TARGET, LAYER = 11, 1
PRESET = {"heads": 12, "memories": N_MEMORIES, "neurons": (20, 10), "rows": (20, 10)}


@cache
def drawn() -> tuple[FlowGraph, Seen, torch.nn.Module]:
    """Ours, of a GPT-2 that has as many heads as the small one."""
    with float64_throughout():
        model = make_model("gpt2", n_head=12, n_embd=60, n_inner=80)
        keep = vw.Keep(**PRESET, by="visit")
        graph = vw.trace(model, None, IDS).flow(-1, TARGET, layers=[LAYER], keep=keep)
        return graph, look(model, IDS), model


def published_kind(node: Node) -> str:
    """What a node of ours is called in the published graphs; what they lack is "ours: …"."""
    names = {
        "pre": "attn_residual", "ln1": "attn_input", "attn": "attn_out", "mid": "attn_out+residual",
        "ln2": "mlp_input", "mlp": "mlp_out", "post": "residual+mlp_out",
        "attn.bias": "c_proj_bias", "mlp.bias": "c_proj_bias",
        r"H\d+\.Q": "head #: qi (for current calc)", r"H\d+\.K\d+": "head #: key #",
        r"H\d+\.V\d+": "head #: value #", r"H\d+": "head #: output",
        r"N\d+\.key": "key#", r"N\d+": "value#",
        r"H\d+\.rest": "ours: rest of a head", "mlp.rest": "ours: rest of the MLP",
    }  # fmt: skip
    name = node.id.partition(".")[2]
    if node.kind == "row":
        sign = "positive" if node.activation > 0 else "negative"
        return f"value index:# (from head #), activision {sign}"
    found = [kind for pattern, kind in names.items() if re.fullmatch(pattern, name)]
    assert len(found) == 1, node.id
    return found[0]


def test_our_nodes_are_the_published_ones_but_for_these():
    graph, _, _ = drawn()
    expected, _ = published_kinds(12)
    for hub in HUBS:
        del expected[hub]  # not drawn: the query reads the norm, the heads flow into attention
    del expected["c_fc_bias"]  # part of what neurons' activations are
    expected |= {"ours: rest of a head": 12, "ours: rest of the MLP": 1}
    ours = Counter(published_kind(n) for n in graph.nodes if n.layer == LAYER)
    assert ours == expected
    assert ours.total() == n_nodes(12) - 2 - 1 + 12 + 1


def test_our_edges_are_the_published_ones_but_for_these():
    graph, _, _ = drawn()
    _, expected = published_kinds(12)
    hub, concat = HUBS
    head, row = "head #: output", "value index:# (from head #), activision "
    for gone in (f"attn_input → {hub}", f"{concat} → c_proj_bias"):
        assert expected.pop(gone) == 1
    for gone in ("mlp_input → c_fc_bias", "c_fc_bias → c_proj_bias"):
        assert expected.pop(gone) == 1
    # Through a hub there, straight on here.
    past_hubs = {
        f"{hub} → head #: qi (for current calc)": "attn_input → head #: qi (for current calc)",
        f"{head} → {concat}": f"{head} → attn_out",
        f"{concat} → {row}positive": f"{head} → {row}positive",
        f"{concat} → {row}negative": f"{head} → {row}negative",
    }
    for theirs, ours in past_hubs.items():
        expected[ours] = expected.pop(theirs)
    expected |= {
        f"ours: rest of a head → {head}": 12,
        "ours: rest of the MLP → mlp_out": 1,
    }
    ours = Counter()
    for edge in graph.edges:
        source, target = graph.node(edge.source), graph.node(edge.target)
        if source.layer == target.layer == LAYER:
            ours[f"{published_kind(source)} → {published_kind(target)}"] += 1
    assert ours == expected
    assert ours.total() == n_edges(12) - 4 + 12 + 1


def chosen(values: Tensor, positive: int, negative: int) -> set[int]:
    """The published rule: so many of positive and of negative sign, the largest of each."""
    order = sorted(range(len(values)), key=lambda n: -abs(float(values[n])))
    first = [n for n in order if values[n] > 0][:positive]
    last = [n for n in order if values[n] < 0][:negative]
    assert (len(first), len(last)) == (positive, negative)
    return {*first, *last}


def numbers(graph: FlowGraph, kind: str) -> list[int]:
    return [n.neuron for n in graph.nodes if n.kind == kind]


def test_our_memories_are_those_of_the_largest_attention_weights():
    graph, seen, model = drawn()
    width = matrix_of(blocks_of(model)[LAYER].out).shape[0] // 12
    values = matrix_of(blocks_of(model)[LAYER].attention.c_attn)[:, -12 * width :]
    bias = blocks_of(model)[LAYER].attention.c_attn.bias.detach()[-12 * width :]
    left = (seen.into_attention[LAYER] @ values + bias).view(len(IDS), 12, width)
    otherwise = 0
    for head in range(12):
        weights = seen.attentions[LAYER][head, -1]
        expected = weights.argsort(descending=True)[:N_MEMORIES].tolist()
        for kind in ("value", "key"):
            assert [n.source for n in graph.nodes if (n.kind, n.head) == (kind, head)] == expected
        written = weights * left[:, head].norm(dim=-1)
        otherwise += set(expected) != set(written.argsort(descending=True)[:2].tolist())
    assert otherwise, "ranking by length would choose the same"


def test_our_neurons_are_chosen_by_activation_times_length():
    graph, seen, model = drawn()
    activations, lengths = (
        seen.neurons[LAYER][-1],
        matrix_of(blocks_of(model)[LAYER].down).norm(dim=-1),
    )
    assert set(numbers(graph, "neuron")) == chosen(activations * lengths, 20, 10)
    assert chosen(activations * lengths, 20, 10) != chosen(activations, 20, 10)
    assert set(numbers(graph, "neuron_key")) == set(numbers(graph, "neuron"))


def test_our_rows_are_chosen_by_activation_times_length():
    graph, seen, model = drawn()
    activations = seen.heads[LAYER][-1]
    lengths = matrix_of(blocks_of(model)[LAYER].out).norm(dim=-1)
    assert set(numbers(graph, "row")) == chosen(activations * lengths, 20, 10)
    assert chosen(activations * lengths, 20, 10) != chosen(activations, 20, 10)


@pytest.mark.parametrize("measure", ["share", "logit", "norm", "proximity"])
def test_the_rule_ranks_whatever_the_measure(measure):
    _, seen, model = drawn()
    with float64_throughout():
        keep = vw.Keep(5, 1, (3, 4), (2, 6), by="visit")
        graph = vw.trace(model, None, IDS).flow(3, TARGET, None, [LAYER], keep, measure)
    block = blocks_of(model)[LAYER]
    rows = seen.heads[LAYER][3][:, None] * matrix_of(block.out)
    lengths = rows.view(12, -1, rows.shape[1]).sum(1).norm(dim=-1)
    heads = {n.head for n in graph.nodes if n.kind == "head"}
    assert heads == set(lengths.argsort(descending=True)[:5].tolist())
    weights = seen.attentions[LAYER][:, 3]
    assert {(n.head, n.source) for n in graph.nodes if n.kind == "value"} == {
        (head, int(weights[head].argmax())) for head in heads
    }
    signed = seen.neurons[LAYER][3] * matrix_of(block.down).norm(dim=-1)
    assert set(numbers(graph, "neuron")) == chosen(signed, 3, 4)
    signed = seen.heads[LAYER][3] * matrix_of(block.out).norm(dim=-1)
    assert set(numbers(graph, "row")) == chosen(signed, 2, 6)


def test_the_preset_is_the_published_rule():
    preset = vw.Keep.visit()
    assert preset == vw.Keep(10, 2, (18, 7), (18, 7), by="visit")
    assert preset.by == "visit"
    assert vw.Keep().by == "measure"
