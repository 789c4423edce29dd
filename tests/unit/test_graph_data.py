"""The flow graph as data: paths, largest parts, sentences, tables; and docs/measures.md, run."""

from __future__ import annotations

import builtins
import json
import math
import random
import re
from collections.abc import Iterator
from dataclasses import fields, replace
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import jsonschema
import networkx as nx
import pandas as pd
import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st

import visit_widget as vw
from tests.conftest import DEMO_PROMPT
from tests.families.configs import build
from tests.tiny import PROMPT_IDS, float64_throughout, make_model, make_speaker, tokenizer
from visit_widget.flow import Edge, FlowGraph, Node
from visit_widget.flow.elements import FLOWS, MEASURES
from visit_widget.flow.words import number, percent, signed

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "measures.md").read_text("utf-8")
TINY = ("gpt2", "llama", "llama-head-bias", "gemma2", "phi", "olmo2")
# State spaces in attention's place, and beside it; a mixture of experts with sinks.
OTHERS = ("granitemoehybrid", "falcon_h1", "gpt_oss")
KEEPS = {
    "some": vw.Keep(heads=2, memories=1, neurons=3, rows=3),
    "all": vw.Keep(1000, 1000, 1000, 0),
    "none": vw.Keep(0, 0, 0, 0),
    "rows": vw.Keep(heads=1, memories=(1, 1), neurons=(1, 1), rows=(5, 5)),
}


@cache
def traced(family: str) -> vw.Trace:
    if family in OTHERS and not hasattr(transformers.PreTrainedModel, "set_experts_implementation"):
        pytest.skip(f"transformers {transformers.__version__} has no {family} of this config")
    model = build(family) if family in OTHERS else make_model(family)
    return vw.trace(model, None, PROMPT_IDS)


@cache
def graph_of(
    family: str, keep: str = "some", foil: int | None = None, measure: str = "share"
) -> FlowGraph:
    with float64_throughout():
        trace = traced(family)
        return trace.flow(
            foil=foil, layers=range(trace.n_layers), keep=KEEPS[keep], measure=measure
        )


@pytest.fixture(params=[*TINY, *OTHERS])
def graph(request: pytest.FixtureRequest) -> FlowGraph:
    return graph_of(request.param)


def by_hand(edges: list[Edge], nodes: list[Node] | None = None) -> FlowGraph:
    """A graph of these edges, whatever they mean."""
    names = dict.fromkeys(i for e in edges for i in (e.source, e.target))
    said = {"id": 3, "text": "␣cat", "logit": 2.0, "probability": 0.5, "rank": 1}
    return FlowGraph(
        model={"name": "m", "type": "t", "n_layers": 1, "n_heads": 1, "d_model": 2, "d_mlp": 2,
               "n_vocab": 9},
        prompt="a b a",
        tokens=[{"position": p, "id": p, "text": t} for p, t in enumerate(("a", "␣b", "a"))],
        position=2, target=said, foil=None, measure="share", keep=vw.Keep().to_dict(), layers=[],
        prediction=[], nodes=nodes or [Node(name, "head", 2) for name in names], edges=edges,
    )  # fmt: skip


# Paths.


def fraction(graph: FlowGraph, edge: Edge, measure: str) -> float:
    """What docs/measures.md says that an edge carries."""
    if measure in ("share", "proximity"):
        return abs(getattr(edge, measure) or 0)
    into = [abs(getattr(e, measure) or 0) for e in graph.into(edge.target) if e.kind in FLOWS]
    return abs(getattr(edge, measure) or 0) / (sum(into) or 1)


def every_path(graph: FlowGraph, start: str, end: str) -> Iterator[list[Edge]]:
    if start == end:
        yield []
        return
    for edge in graph.out_of(start):
        if edge.kind in FLOWS:
            for more in every_path(graph, edge.target, end):
                yield [edge, *more]


def best_by_hand(graph: FlowGraph, start: str, end: str, measure: str) -> list[Edge] | None:
    found = []
    for path in every_path(graph, start, end):
        strength = math.prod(fraction(graph, edge, measure) for edge in path)
        if strength > 0:
            ids = [edge.target for edge in path]
            found.append((-strength, len(path), ids, path))
    return min(found, key=lambda f: f[:3])[3] if found else None


POWERS = [2.0**-k for k in range(4)]  # products of these are exact, so ties are ties


@st.composite
def dags(draw: st.DrawFn, values: st.SearchStrategy[float]) -> FlowGraph:
    size = draw(st.integers(2, 6))
    names = draw(st.permutations([f"n{i}" for i in range(size)]))
    edges = []
    for a in range(size):
        for b in range(a + 1, size):
            if draw(st.booleans()):
                kind = draw(st.sampled_from([*FLOWS, "read", "score"]))
                numbers = [draw(values) for _ in MEASURES]
                numbers[2:] = [abs(x) for x in numbers[2:]]
                flow = kind in FLOWS
                edges.append(Edge(names[a], names[b], kind, *(numbers if flow else [None] * 4)))
    edges = draw(st.permutations(edges))
    return by_hand(list(edges), [Node(name, "head", 2) for name in sorted(names)])


@settings(max_examples=150, deadline=None)
@given(graph=dags(st.sampled_from([*POWERS, *(-p for p in POWERS), 0.0])))
def test_the_strongest_path_is_the_one_that_enumeration_finds(graph):
    """Values are powers of two: ties are exact, and broken by length, then by ids."""
    for start in [n.id for n in graph.nodes][:3]:
        for end in [n.id for n in graph.nodes]:
            for measure in ("share", "proximity"):
                expected = best_by_hand(graph, start, end, measure)
                if expected is None:
                    with pytest.raises(vw.VisitError, match="Nothing flows"):
                        graph.path(start, end, measure)
                else:
                    assert graph.path(start, end, measure) == expected


@settings(max_examples=100, deadline=None)
@given(graph=dags(st.floats(-3, 3)), measure=st.sampled_from(MEASURES))
def test_no_path_is_stronger(graph, measure):
    start, end = graph.nodes[0].id, graph.nodes[-1].id
    expected = best_by_hand(graph, start, end, measure)
    strength = [
        sum(math.log(fraction(graph, e, measure)) for e in path)
        for path in ([] if expected is None else [expected, graph.path(start, end, measure)])
    ]
    assert not strength or strength[0] == pytest.approx(strength[1], abs=1e-9)


def test_the_strongest_path_does_not_depend_on_the_order_of_edges():
    edges = [Edge(a, b, "part", 0.5) for a, b in ("ab", "ac", "bd", "cd", "de", "ae")]
    for seed in range(20):
        random.Random(seed).shuffle(edges)
        graph = by_hand(edges)
        assert [e.target for e in graph.path("a", "d")] == ["b", "d"]
        assert [e.target for e in graph.path("a", "e")] == ["e"]


def test_a_path_through_a_real_graph_leads_from_part_to_whole(graph):
    attends = next(n for n in graph.nodes if n.kind == "head")
    path = graph.path(attends.id, "logits")
    assert path[0].source == attends.id
    assert path[-1].target == "logits"
    assert all(a.target == b.source for a, b in pairwise(path))
    assert {e.kind for e in path} <= set(FLOWS)
    assert graph.path("embed", "logits", "logit")[0].target == "L0.pre"
    assert graph.path("embed", "embed") == []


def test_a_row_split_off_its_head_is_a_way_of_its_own():
    graph = graph_of("llama", "rows")
    head = next(n for n in graph.nodes if n.kind == "head" and f"L{n.layer}.attn" in graph)
    for row in (e.target for e in graph.out_of(head.id) if e.kind == "split"):
        assert [e.kind for e in graph.path(head.id, row)] == ["split"]


@pytest.mark.parametrize(
    ("ask", "sentence"),
    [
        (("logits", "embed"), "Nothing flows from 'logits' to 'embed'. Flows lead"),
        (("L0.ln1", "logits"), "looked at, not added"),
        (("L9.H1", "logits"), "not in this graph"),
        (("embed", "logits", "width"), "'share', 'logit', 'norm', 'proximity'"),
    ],
)
def test_a_path_that_is_not_there_is_said_in_a_sentence(ask, sentence):
    with pytest.raises(vw.VisitError, match=re.escape(sentence)):
        graph_of("gpt2").path(*ask)


def test_a_way_that_carries_nothing_and_a_circle_are_said_in_a_sentence():
    graph = by_hand([Edge("a", "b", "part", 0.0, 1.0)])
    with pytest.raises(vw.VisitError, match="carries 0"):
        graph.path("a", "b")
    assert graph.path("a", "b", "logit") == graph.edges
    graph = by_hand([Edge("a", "b", "part", 0.5), Edge("b", "a", "part", 0.5)])
    with pytest.raises(vw.VisitError, match="circle"):
        graph.path("a", "b")


# The largest.


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("keep", KEEPS)
def test_top_is_what_sorting_gives(measure, keep):
    for family in ("llama", "falcon_h1"):
        graph = graph_of(family, keep, None, "effect" if measure == "effect" else "share")
        for kind in ("head", "neuron", "attention", "mlp", "bias", "rest", "residual", "row"):
            own = {}
            for node in graph.nodes:
                edges = [
                    e for e in graph.out_of(node.id) if e.kind in ("part", "write", "residual")
                ]
                if node.kind != kind or not edges or getattr(edges[0], measure) is None:
                    continue
                own[node.id] = getattr(edges[0], measure)
                rows = [e.target for e in graph.out_of(node.id) if e.kind == "split"]
                for row in rows:  # each flows into the attention that its head flows into
                    if measure in ("share", "logit", "effect"):
                        (edge,) = (e for e in graph.out_of(row))
                        own[node.id] += getattr(edge, measure)
                if rows and measure == "norm":
                    own[node.id] = node.norm
            ranked = sorted(own, key=lambda i: -abs(own[i]))
            found = graph.top(10_000, kind, measure)
            assert [n.id for n, _ in found] == ranked
            assert {n.id: v for n, v in found} == pytest.approx(own, abs=1e-12)
            for sign in (1, -1):
                signed_only = [i for i in ranked if own[i] * sign > 0]
                assert [n.id for n, _ in graph.top(2, kind, measure, sign)] == signed_only[:2]


def test_a_head_counts_in_full_whether_its_rows_are_shown_or_not():
    plain, rows = graph_of("gpt2", "all"), graph_of("gpt2", "rows")
    for measure in ("share", "logit", "norm"):
        full = {n.id: v for n, v in plain.top(99, "head", measure)}
        split = {n.id: v for n, v in rows.top(99, "head", measure)}
        assert split
        assert split == pytest.approx({i: full[i] for i in split}, abs=1e-9)
        assert any(e.kind == "split" for i in split for e in rows.out_of(i))


def test_by_default_neither_the_stream_nor_rests_are_ranked(graph):
    found = graph.top(10_000)
    kinds = {n.kind for n, _ in found}
    assert kinds.isdisjoint({"residual", "norm", "rest", "query", "key", "logits"})
    assert {"embed", "mlp", "head", "value", "neuron"} <= kinds
    assert all(isinstance(n, Node) for n, _ in found)
    assert graph.top(3) == found[:3]
    assert graph.top(0) == []
    several = graph.top(10_000, ["rest", "mlp"])
    assert {n.kind for n, _ in several} == {"rest", "mlp"}


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"n": -1}, "n=-1"),
        ({"n": 2.5}, "n=2.5"),
        ({"kind": "hands"}, "kind='hands' is not known: use 'embed'"),
        ({"kind": ("head", "key")}, "'key' flow into no whole"),
        ({"measure": "width"}, "'proximity'"),
        ({"sign": "+"}, "sign='+'"),
        ({"sign": 0}, "sign=0"),
    ],
)
def test_a_top_that_means_nothing_is_refused_in_a_sentence(options, sentence):
    with pytest.raises(vw.VisitError, match=re.escape(sentence)):
        graph_of("gpt2").top(**{"n": 3, **options})


# Sentences.


@pytest.mark.parametrize(
    ("keep", "foil"), [("some", None), ("some", 30), ("all", None), ("none", None), ("rows", 30)]
)
def test_every_node_of_every_graph_is_explained(keep, foil):
    for family in (*TINY, *OTHERS):
        graph = graph_of(family, keep, foil)
        followed = f"“{graph.target['text']}”"
        for node in graph.nodes:
            text = graph.explain(node.id)
            assert 1 <= len(re.findall(r"[.!?](?= [A-Z“]|$)", text)) <= 2, text
            assert text[0].isupper()
            assert text.endswith(".")
            assert not re.search(r"None|nan|inf\b| ,|  |-", text), text
            if node.label is not None and node.kind != "logits":
                assert f"“{node.label}”" in text
            if node.logit is not None:
                assert followed in text
                assert signed(node.logit) in text
                if foil is not None and node.kind != "logits":
                    assert f"minus that of “#{foil}”" in text
            else:
                assert "no logit itself" in text
            if node.layer is not None:
                assert f"layer {node.layer}" in text


def test_a_sentence_has_the_numbers_of_the_graph(graph):
    for node in graph.nodes:
        text = graph.explain(node.id)
        for value in (node.activation, node.score):
            assert value is None or number(value) in text
        if node.weight is not None:
            assert percent(node.weight) in text
        if node.kind == "head":
            kept = [n for n in graph.nodes if n.kind == "value" and n.id.startswith(f"{node.id}.")]
            strongest = max(kept, key=lambda n: n.weight)
            assert percent(strongest.weight) in text
            assert f"“{graph.tokens[strongest.source]['text']}”" in text
            assert ("among others" in text) == (strongest.weight < 0.5 and len(kept) < 7)
        if node.kind == "rest":
            assert str(node.rest["count"]) in text or "The one" in text
        if node.expert is not None:
            assert f"expert {node.expert}" in text
        parts = graph.top(10_000, node.kind, "share") if node.kind in ("head", "neuron") else []
        for part, share in parts:
            said = graph.explain(part.id)
            assert percent(share) in said
            assert ("points against" in said) == (share < 0)
        whole = [e.target for e in graph.out_of(node.id) if e.kind == "part"]
        if whole and graph.node(whole[0]).kind in ("attention", "mlp", "head"):
            total = graph.node(whole[0]).logit
            if node.logit / total < 0:
                assert f"against the {signed(total)}" in text
            elif node.logit / total <= 1:
                assert f"{percent(node.logit / total)} of the {signed(total)}" in text
            else:
                assert "oppose" in text or percent(node.logit / total) in text


def test_the_kinds_of_nodes_are_all_there():
    """So that the tests above have seen each."""
    seen = {n.kind for f in (*TINY, *OTHERS) for n in graph_of(f).nodes}
    halved = vw.trace(make_model("gpt2", torch.bfloat16), None, PROMPT_IDS)
    seen |= {n.kind for n in halved.flow(layers=range(halved.n_layers)).nodes}
    declared = set(FlowGraph.schema()["$defs"]["node"]["properties"]["kind"]["enum"])
    assert declared - seen == {"expert", "edit"}, "which nothing draws yet, and reruns alone"


def test_sentences_word_for_word():
    nodes = [
        Node("L0.attn", "attention", 2, layer=0, label="␣x", logit=2.0, norm=2.0),
        Node("L0.H1", "head", 2, layer=0, head=1, label="␣dog", logit=-0.5, norm=1.0),
        Node("L0.H2", "head", 2, layer=0, head=2, label="␣cat", logit=2.5, norm=1.0),
        Node("L0.H1.V0", "value", 2, layer=0, head=1, source=0, weight=0.2, label="a", logit=0.0),
        Node("L0.H1.V1", "value", 2, layer=0, head=1, source=1, weight=0.3, label="b", logit=-0.5),
        Node("L0.H1.V2", "value", 2, layer=0, head=1, source=2, weight=0.1, label="b", logit=0.0),
        Node("L0.H2.V1", "value", 2, layer=0, head=2, source=1, weight=1.0, label="b", logit=2.5),
        Node("L0.mid", "residual", 2, layer=0, label="␣x", logit=2.5, norm=2.0,
             target_rank=2, target_probability=0.251),
        Node("L0.pre", "residual", 2, layer=0, label="␣y", logit=0.5, norm=2.0),
        Node("L0.E1", "expert", 2, layer=0, expert=1, label="␣x", logit=0.001),
    ]  # fmt: skip
    edges = [
        Edge("L0.H1", "L0.attn", "part", -0.3, -0.5, 1.0, 0.0),
        Edge("L0.H2", "L0.attn", "part", 1.3, 2.5, 1.0, 1.0),
        *(
            Edge(f"L0.H1.V{j}", "L0.H1", "part", 0.3, x, 1.0)
            for j, x in enumerate((0.0, -0.5, 0.0))
        ),
        Edge("L0.H2.V1", "L0.H2", "part", 1.0, 2.5, 1.0, 1.0),
        Edge("L0.pre", "L0.mid", "residual", 1.1, 0.5, 2.0, 1.0),
        Edge("L0.attn", "L0.mid", "write", -0.1, 2.0, 2.0, 0.0),
    ]
    graph = by_hand(edges, nodes)
    assert graph.explain("L0.H1") == (
        "Head 1 of layer 0 attends, among others, to “␣b” (30 %) and “a” at position 0 (20 %), and "
        "writes “␣dog”; it adds −0.50 to the logit of “␣cat”, against the +2.00 that the layer's "
        "attention adds in all. It points against the attention's output: its share of it is −30 %."
    )
    assert graph.explain("L0.H2") == (
        "Head 2 of layer 0 attends to “␣b” (100 %) and writes “␣cat”; it adds +2.50 to the logit "
        "of “␣cat”, more than the +2.00 that the layer's attention adds in all: other parts oppose "
        "it. Its share of the attention's output is 130 %, for other parts point against it."
    )
    assert graph.explain("L0.H1.V0") == (
        "The memory that “a” at position 0 left for head 1 of layer 0, at 20 % of its attention, "
        "writes “a”; it adds nothing to the logit of “␣cat”. Its share of the head's output is "
        "30 %."
    )
    assert graph.explain("L0.attn") == (
        "The attention of layer 0 writes “␣x”; it adds +2.00 to the logit of “␣cat”. It points "
        "against the stream that it flows into: its share of it is −10 %; of the heads shown, head "
        "2 moves that logit most, by +2.50."
    )
    assert graph.explain("L0.mid") == (
        "The stream inside layer 0, before its MLP, reads “␣x”, with “␣cat” at rank 2 of 9 "
        "(probability 25 %); what it holds adds +2.50 to the logit of “␣cat”. It is the sum of the "
        "stream before (+0.50, share 110 %) and attention (+2.00, share −10 %, against it)."
    )
    assert graph.explain("L0.E1") == (
        "Expert 1 of layer 0 writes “␣x”; it adds +0.001 to the logit of “␣cat”."
    )
    with pytest.raises(vw.VisitError, match="layers="):
        graph.explain("L7.H7")


@pytest.mark.parametrize(
    ("lens", "unit", "told"),
    [
        ("logit", "logit", "writes “␣a”; it adds"),
        ("local", "nats", "raises “␣a” most; it adds"),
        ("local", "logit", "writes “␣a”; it adds"),
        ("calibrated", "sd", "writes “␣a”; it adds"),
        ("jacobian", "logit", "leads to “␣a”; it adds"),
        ("tuned", "logit", "writes “␣a”; it adds"),
    ],
)
def test_what_a_part_does_is_said_as_its_lens_reads_it(lens, unit, told):
    part = Node("L0.mlp", "mlp", 0, layer=0, label="␣a", unit=unit, logit=1.0)
    rest = Node(
        "L0.mlp.rest", "rest", 0, layer=0, label="␣a", unit=unit, logit=1.0,
        rest={"of": "neuron", "count": 3},
    )  # fmt: skip
    graph = replace(by_hand([], [part, rest]), lens=lens)
    assert told in graph.explain("L0.mlp")
    many = told.replace("writes", "write").replace("raises", "raise").replace("leads", "lead")
    assert many.replace("it adds", "they add") in graph.explain("L0.mlp.rest")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0 %"), (0.67, "67 %"), (1.0, "100 %"), (0.996, "99.6 %"), (1.3, "130 %"),
        (0.0052, "0.52 %"), (-0.0052, "−0.52 %"), (-0.3, "−30 %"), (1e-6, "less than 0.01 %"),
        (-1e-6, "less than 0.01 % in size"),
    ],
)  # fmt: skip
def test_percents_are_never_rounded_to_what_they_are_not(value, text):
    assert percent(value) == text


# Tables.


def plain(value: Any) -> Any:
    return None if not isinstance(value, (list, dict)) and pd.isna(value) else value


def test_tables_hold_every_field(graph):
    schema = FlowGraph.schema()["$defs"]
    tables = graph.to_pandas()
    for table, rows, cls in zip(tables, (graph.nodes, graph.edges), (Node, Edge), strict=True):
        assert list(table.columns) == schema[cls.__name__.lower()]["required"]
        assert len(table) == len(rows)
        back = [cls(**{k: plain(v) for k, v in row.items()}) for row in table.to_dict("records")]
        assert back == rows
    nodes, edges = tables
    assert {str(nodes[c].dtype) for c in ("layer", "head", "source", "neuron", "target_rank")} == {
        "Int64"
    }
    assert (str(nodes.position.dtype), str(nodes.norm.dtype), str(edges.share.dtype)) == (
        "int64", "float64", "float64",
    )  # fmt: skip
    assert all(isinstance(top, list) for top in nodes.top)
    sums = edges[edges.kind.isin(FLOWS)].dropna(subset=["share"]).groupby("target").share.sum()
    assert sums.to_numpy() == pytest.approx(1, abs=1e-9)
    logits = edges[edges.kind.isin(FLOWS)].groupby("target").logit.sum()
    assert logits.to_numpy() == pytest.approx(
        nodes.set_index("id").logit[logits.index].to_numpy(), abs=1e-9
    )


def test_networkx_holds_every_field(graph):
    made = graph.to_networkx()
    assert type(made) is nx.DiGraph
    assert [Node(**made.nodes[i]) for i in made] == graph.nodes
    assert made.number_of_edges() == len(graph.edges), "no two edges join the same nodes"
    for edge in graph.edges:
        assert Edge(**made.edges[edge.source, edge.target]) == edge
    frame = {f.name for f in fields(FlowGraph)} - {"nodes", "edges"}
    assert made.graph == {name: getattr(graph, name) for name in frame}
    assert nx.is_directed_acyclic_graph(made)
    again = nx.node_link_graph(json.loads(json.dumps(nx.node_link_data(made))))
    assert {"id": "embed", **again.nodes["embed"]} == made.nodes["embed"]


def test_networkx_gets_a_copy():
    graph = graph_of("gpt2")
    made = graph.to_networkx()
    made.nodes["embed"]["top"].clear()
    made.graph["keep"]["heads"] = 99
    assert graph.node("embed").top
    assert graph.keep["heads"] == 2


def test_two_edges_between_two_nodes_are_no_digraph():
    graph = by_hand([Edge("a", "b", "part", 0.5), Edge("a", "b", "score", value=1.0)])
    with pytest.raises(vw.VisitError, match="Two edges lead from 'a' to 'b'"):
        graph.to_networkx()
    assert len(graph.to_pandas()[1]) == 2


def test_a_graph_without_edges_has_tables():
    nodes, edges = by_hand([], [Node("a", "head", 0)]).to_pandas()
    assert (len(nodes), len(edges), str(edges.share.dtype)) == (1, 0, "float64")


@pytest.mark.parametrize("package", ["networkx", "pandas"])
def test_a_missing_package_is_named_with_the_way_to_get_it(package, monkeypatch):
    usual = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.split(".", maxsplit=1)[0] == package:
            raise ModuleNotFoundError(f"No module named {name!r}")
        return usual(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(vw.VisitError, match=rf"pip install {package}, or .*visit-widget\[data\]"):
        getattr(graph_of("gpt2"), f"to_{package}")()


# The schema.


def test_the_schema_is_the_one_in_the_docs(graph):
    shipped = ROOT / "visit_widget" / "flow" / "schema.json"
    assert shipped.read_bytes() == (ROOT / "docs" / "schema.json").read_bytes()
    assert FlowGraph.schema() == json.loads(shipped.read_text("utf-8"))
    jsonschema.Draft202012Validator.check_schema(FlowGraph.schema())
    jsonschema.validate(json.loads(graph.to_json()), FlowGraph.schema())
    for name, cls in (("node", Node), ("edge", Edge)):
        assert FlowGraph.schema()["$defs"][name]["required"] == [f.name for f in fields(cls)]


# The page.


def test_the_examples_of_the_page_run(capsys):
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert len(blocks) >= 7
    model = make_speaker(
        "llama", num_hidden_layers=24, num_attention_heads=6, max_position_embeddings=64
    )
    names: dict[str, Any] = {"vw": vw, "model": model, "tokenizer": tokenizer()}
    # A random model spreads its influence thin, and not where the trained one does.
    more = 'trace.routes(measure="logit", keep=vw.Keep(routes=vw.Limit(threshold=1e-3)))'
    for block in blocks:
        block = block.replace('trace.routes(measure="logit")', more)
        if "P7.L23.H4.V3" in block:
            routes = eval(more, names)
            memory = next(n.id for n in routes.nodes if n.kind == "value")
            block = block.replace("P7.L23.H4.V3", memory)
        exec(compile(block, "docs/measures.md", "exec"), names)
    said = capsys.readouterr().out
    assert "Head 4 of layer 23 attends" in said
    assert "L23.attn → L23.mid" in said


@pytest.mark.demo
def test_the_routes_of_the_page_are_the_demo_models(demo):
    trace = vw.trace(*demo, DEMO_PROMPT)
    routes = trace.routes(measure="logit")
    brought = routes.node("P7.L23.H4.V3").influence
    assert f"# {brought:.2f}: what head 4 of layer 23 brings" in PAGE
    japan = {k: round(v, 2) for k, v in routes.attribution["tokens"][3].items()}
    assert f"# {japan}".replace("-0.0}", "0.0}") in PAGE
    total, rests = routes.attribution["total"], []
    for threshold in (0.01, 0.001, 0):
        found = trace.routes(measure="logit", keep=vw.Keep(routes=vw.Limit(threshold=threshold)))
        rests.append(found.attribution["rest"])
    text = " ".join(PAGE.split())
    said = (
        f"1 % leaves {rests[0]:.1f} of {total:.1f} logits to the rest, 0.1 % leaves {rests[1]:.1f}"
    )
    assert f"{said}, and 0 nothing" in text
    assert abs(rests[2]) < 1e-3
    values = [t["value"] for t in found.attribution["tokens"]]
    assert f"“␣Japan” adds +{values[3]:.1f} and “The”" in text
    assert f"their attention, +{values[0]:.1f}." in text


@pytest.mark.demo
def test_the_numbers_of_the_page_are_the_demo_models(demo):
    graph = vw.trace(*demo, DEMO_PROMPT).flow(layers=[23], measure="logit", lens="logit")
    wanted = [f"> {graph.explain('L23.H4')}\n", f"logit {number(graph.target['logit'])}."]
    rows = re.findall(r"^\| `L23.H(\d)` \|(.*?)\|(.*?)\|(.*?)\|(.*?)\|$", PAGE, re.MULTILINE)
    assert [f"L23.H{head}" for head, *_ in rows] == [e.source for e in graph.into("L23.attn")]
    for (_, *cells), edge in zip(rows, graph.into("L23.attn"), strict=True):
        said = [float(cell.replace("−", "-")) for cell in cells]
        own = (edge.share, edge.logit, edge.norm, edge.proximity)
        digits = (1e-3, 1e-2, 1e-1, 1e-3)
        assert all(abs(a - b) < 0.6 * d for a, b, d in zip(said, own, digits, strict=True)), edge
    length = sum(e.norm for e in graph.into("L23.attn"))
    wanted.append(
        f"| all | 1.000 | {signed(graph.node('L23.attn').logit)} | {length:.1f} | 1.000 |"
    )
    wanted.append(f"attention is {graph.node('L23.attn').norm:.1f} long")
    wanted.append(
        f"Head 4 puts {percent(graph.node('L23.H4.V3').weight)} of its weight on “␣Japan”"
    )
    wanted.append(f"that memory adds {signed(graph.node('L23.H4.V3').logit)} of its +2.68")
    wanted.append(f"Head 8 puts {percent(graph.node('L23.H8.V0').weight)} on “The”")
    pre, attention = graph.into("L23.mid")
    wanted.append(f"the {signed(pre.logit)} that the stream before it holds")
    wanted.append(f"shares of {attention.share:.3f} and {pre.share:.3f}")
    wanted.append(f"`L23.mid` stands at {signed(graph.node('L23.mid').logit)}")
    top = ", ".join(f"{n.id} {number(v)}" for n, v in graph.top(3))
    wanted.append(f"# {top}, …")
    (worst, value), *_ = graph.top(3, kind="head", sign=-1)
    wanted.append(f"{worst.id} {signed(value)}, …")
    assert [text for text in wanted if text not in PAGE] == []
