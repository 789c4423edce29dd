"""What pruning keeps: limits by themselves and together, of each kind, and opened rest nodes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import visit_widget as vw
from tests.tiny import (
    PROMPT_IDS,
    Seen,
    blocks_of,
    float64_throughout,
    look,
    make_model,
    matrix_of,
)
from visit_widget.flow import Edge, FlowGraph

TARGET, LAYER = 11, 1
MEASURES = ("share", "logit", "norm", "proximity", "effect")
EVERYTHING, NOTHING = vw.Keep.everything(), vw.Keep(heads=0, memories=0, neurons=0, rows=0)
# {kind of a limit: (the whole that it prunes, kind of node, id of its rest)}.
WHOLES = {
    "heads": ("L1.attn", "head", "L1.attn.rest"),
    "memories": ("L1.H2", "value", "L1.H2.rest"),
    "neurons": ("L1.mlp", "neuron", "L1.mlp.rest"),
    "rows": ("L1.attn", "row", None),
}
OPENED = {name: whole for name, whole in WHOLES.items() if whole[2] is not None}


@cache
def trace_of(family: str) -> vw.Trace:
    with float64_throughout():
        return vw.trace(make_model(family), None, PROMPT_IDS)


@cache
def seen_of(family: str) -> Seen:
    with float64_throughout():
        return look(make_model(family), PROMPT_IDS)


def graph_of(keep: Any, measure: str = "share", family: str = "llama-head-bias") -> FlowGraph:
    with float64_throughout():
        return trace_of(family).flow(target=TARGET, layers=[LAYER], keep=keep, measure=measure)


def parts_of(graph: FlowGraph, kind: str) -> dict[str, Edge]:
    """The edges of the drawn parts of one kind, by the part's id."""
    whole, node_kind, _ = WHOLES[kind]
    return {e.source: e for e in graph.into(whole) if graph.node(e.source).kind == node_kind}


@cache
def every_part(kind: str, measure: str) -> dict[str, float]:
    """{id: measure} of all parts of a kind, none pruned."""
    keep = vw.Keep(*[vw.Limit()] * 3, vw.Limit() if kind == "rows" else 0)
    edges = parts_of(graph_of(keep, measure), kind)
    values = {name: getattr(edge, measure) for name, edge in edges.items()}
    if kind != "rows" or measure != "proximity":
        return values
    # Rows are chosen among all rows; drawn, the heads' remains are parts beside them.
    return {name: value / sum(values.values()) for name, value in values.items()}


def chosen(values: Sequence[float], count: Any, threshold: Any, mass: Any) -> list[int]:
    """The rule in docs/measures.md, spelled out: what to keep, the largest first."""
    ranked = sorted(range(len(values)), key=lambda i: (-abs(values[i]), i))
    kept = ranked
    if isinstance(count, int):
        kept = ranked[:count]
    elif count is not None:
        positive = [i for i in ranked if values[i] > 0][: count[0]]
        negative = [i for i in ranked if values[i] < 0][: count[1]]
        kept = [i for i in ranked if i in positive + negative]
    if threshold is not None:
        kept = [i for i in kept if abs(values[i]) >= threshold]
    if mass is not None:
        enough, reached, total = [], 0.0, sum(map(abs, values))
        for i in kept:
            if enough and reached >= mass * total:
                break
            enough.append(i)
            reached += abs(values[i])
        kept = enough
    return kept


# A limit by itself.

counts = st.none() | st.integers(0, 9) | st.tuples(st.integers(0, 5), st.integers(0, 5))


@given(
    values=st.lists(st.integers(-8, 8), max_size=12),
    count=counts,
    threshold=st.none() | st.integers(0, 9),
    mass=st.none() | st.sampled_from((0.125, 0.25, 0.5, 0.75, 0.875, 1.0)),
    more=st.integers(0, 5),
)
def test_all_limits_of_one_hold_together(values, count, threshold, mass, more):
    limit = vw.Limit(count, threshold, mass)
    tensor = torch.tensor(values, dtype=torch.float64)
    kept = chosen(values, count, threshold, mass)
    assert limit.select(tensor) == kept
    left = [i for i in chosen(values, None, None, None) if i not in kept]
    assert limit.select(tensor, more) == kept + left[:more]
    among = limit.among(torch.stack([tensor, -tensor]))
    assert among[0].nonzero()[:, 0].tolist() == sorted(kept)
    mirrored = chosen([-v for v in values], count, threshold, mass)
    assert among[1].nonzero()[:, 0].tolist() == sorted(mirrored)


VALUES = torch.tensor([3.0, -5.0, 0.0, 1.0, -1.0, 2.0])


@pytest.mark.parametrize(
    ("limit", "kept"),
    [
        (vw.Limit(), [1, 0, 5, 3, 4, 2]),
        (vw.Limit(2), [1, 0]),
        (vw.Limit(0), []),
        (vw.Limit((1, 2)), [1, 0, 4]),
        (vw.Limit((9, 0)), [0, 5, 3]),
        (vw.Limit(threshold=2), [1, 0, 5]),
        (vw.Limit(threshold=99), []),
        (vw.Limit(threshold=0), [1, 0, 5, 3, 4, 2]),
        (vw.Limit(mass=0.4), [1]),
        (vw.Limit(mass=0.5), [1, 0]),
        (vw.Limit(mass=1), [1, 0, 5, 3, 4]),
        (vw.Limit(3, 2.5), [1, 0]),
        (vw.Limit(1, 2.5, 1), [1]),
        (vw.Limit((3, 1), 1, 0.7), [1, 0, 5]),
    ],
)
def test_examples(limit, kept):
    """Sizes 5, 3, 2, 1, 1, 0: 12 in all."""
    assert limit.select(VALUES) == kept


def test_no_parts_at_all():
    for limit in (vw.Limit(), vw.Limit(3), vw.Limit((1, 1)), vw.Limit(3, 0.1, 0.5)):
        assert limit.select(torch.zeros(0), 4) == []
        assert limit.among(torch.zeros(2, 0)).shape == (2, 0)


# A limit of one kind.

LIMITS = {
    "a count": vw.Limit(3),
    "a pair": vw.Limit((2, 1)),
    "a threshold": vw.Limit(threshold=0.1),
    "a mass": vw.Limit(mass=0.6),
    "all": vw.Limit((3, 3), 0.02, 0.8),
    "nothing": vw.Limit(0),
}


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("limit", LIMITS.values(), ids=LIMITS)
@pytest.mark.parametrize("kind", WHOLES)
def test_a_kind_is_pruned_by_its_own_limit(kind, limit, measure):
    owner = {"heads": vw.Limit()} if kind == "memories" else {}
    graph = graph_of(vw.Keep.of({**NOTHING.to_dict(), **owner, kind: limit}), measure)
    values = every_part(kind, measure)
    names = list(values)
    kept = chosen(list(values.values()), limit.count, limit.threshold, limit.mass)
    assert list(parts_of(graph, kind)) == [names[i] for i in kept]
    others = {"heads", "neurons", "rows"} - {kind, *owner}
    assert not any(parts_of(graph, other) for other in others)


@pytest.mark.parametrize(
    ("general", "own"),
    [({"threshold": 0.15}, vw.Limit(threshold=0)), ({"mass": 0.5}, vw.Limit(mass=1))],
    ids=["threshold", "mass"],
)
def test_what_holds_for_all_holds_for_each_that_has_none_of_its_own(general, own):
    every = {kind: vw.Limit() for kind in ("heads", "memories", "neurons")}
    graph = graph_of(vw.Keep(**every, **general))
    limit = vw.Limit(**general)
    for kind in every:
        values = every_part(kind, "share")
        names = list(values)
        kept = chosen(list(values.values()), None, limit.threshold, limit.mass)
        assert 0 < len(kept) < len(values)
        assert list(parts_of(graph, kind)) == [names[i] for i in kept]
        freed = graph_of(vw.Keep(**{**every, kind: own}, **general))
        assert len(parts_of(freed, kind)) == len(values)


def test_what_holds_for_all_kinds_of_a_block_holds_not_for_routes():
    keep = vw.Keep(threshold=0.5, mass=0.1)
    assert keep.routes == vw.Keep().routes
    with float64_throughout():
        graphs = [trace_of("llama").routes(keep=k) for k in (keep, vw.Keep())]
    assert graphs[0].nodes == graphs[1].nodes


@pytest.mark.parametrize("limit", LIMITS.values(), ids=LIMITS)
def test_routes_are_pruned_stream_by_stream(limit):
    """The last stream of a parallel block, which every kind of part flows into."""
    last = f"P{len(PROMPT_IDS) - 1}.L2.post"
    with float64_throughout():
        every, some = (
            trace_of("phi").routes(target=TARGET, keep=vw.Keep(routes=routes))
            for routes in (vw.Limit(), limit)
        )
    edges = every.into(last)
    kept = chosen([e.influence for e in edges], limit.count, limit.threshold, limit.mass)
    names = {edges[i].source for i in kept}
    rest = {f"{last}.rest"} if len(names) < len(edges) else set()
    assert {e.source for e in some.into(last)} == names | rest


# Opened rest nodes.


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("n_more", [1, 2, 99])
@pytest.mark.parametrize("kind", OPENED)
def test_an_opened_rest_shrinks_by_the_next_largest(kind, n_more, measure):
    whole, node_kind, rest = WHOLES[kind]
    limits = {"heads": 1 if kind == "heads" else 3, "memories": 2, "neurons": (2, 1), "rows": 0}
    before = graph_of(vw.Keep(**limits), measure)
    after = graph_of(vw.Keep(**limits, more={rest: n_more}), measure)
    assert whole in before
    values = every_part(kind, measure)
    drawn = parts_of(before, kind)
    left = sorted((i for i in values if i not in drawn), key=lambda i: -abs(values[i]))
    come = left[:n_more]
    assert come
    found = list(parts_of(after, kind))
    if n_more < len(left):
        assert found == [*drawn, *come]
    else:  # proximities of 0 are in no order
        assert set(found) == set(values)

    assert before.node(rest).rest == {"of": node_kind, "count": len(left)}
    edges = {e.source: e for e in before.into(whole)}
    opened = {e.source: e for e in after.into(whole)}
    for field in ("share", "logit"):
        was = getattr(edges[rest], field)
        brought = sum(getattr(opened[name], field) for name in come)
        stays = getattr(opened[rest], field) if rest in opened else 0.0
        assert stays + brought == pytest.approx(was, abs=1e-9)
        total = 1 if field == "share" else after.node(whole).logit
        assert sum(getattr(e, field) for e in opened.values()) == pytest.approx(total, abs=1e-9)
    if len(left) > n_more:
        assert after.node(rest).rest == {"of": node_kind, "count": len(left) - n_more}
    else:
        assert rest not in after

    # Whatever is no part of this whole stays as it was.
    new = {n.id for n in after.nodes} - {n.id for n in before.nodes}
    own = tuple(f"{name}." for name in come)
    assert all(i in come or i.startswith(own) or ".K" in i for i in new), new
    same = [e for e in before.edges if e.target != whole]
    assert [e for e in after.edges if e in same] == same


def test_more_of_a_rest_that_is_not_there_changes_nothing():
    keep = vw.Keep(heads=99, neurons=999, more={"L1.attn.rest": 3, "L1.mlp.rest": 2, "cat": 1})
    assert graph_of(keep).nodes == graph_of(vw.Keep(heads=99, neurons=999)).nodes


def test_more_comes_after_every_limit():
    keep = vw.Keep(neurons=vw.Limit(5, 0.05, 0.5), more={"L1.mlp.rest": 4})
    values = every_part("neurons", "share")
    names, sizes = list(values), list(values.values())
    kept = chosen(sizes, 5, 0.05, 0.5)
    ranked = [names[i] for i in kept]
    ranked += [names[i] for i in chosen(sizes, None, None, None) if i not in kept][:4]
    assert list(parts_of(graph_of(keep), "neurons")) == ranked


# The published tool's rule.


@pytest.mark.parametrize("family", ["llama", "gpt2"])
@pytest.mark.parametrize("measure", ["share", "logit"])
def test_by_visit_parts_are_ranked_as_published(family, measure):
    """Heads by length, memories by weight, neurons and rows by activation × length, with sign."""
    seen, block = seen_of(family), blocks_of(make_model(family))[LAYER]
    out, down = matrix_of(block.out), matrix_of(block.down)
    n_heads, at = len(seen.attentions[LAYER]), len(PROMPT_IDS) - 1
    mixed, neurons = seen.heads[LAYER][at], seen.neurons[LAYER][at]
    heads = torch.einsum(
        "hv,hvd->hd", mixed.view(n_heads, -1), out.view(n_heads, -1, out.shape[-1])
    )
    keep = vw.Keep(heads=2, memories=(3, 1), neurons=(4, 3), rows=(2, 3), by="visit")
    graph = graph_of(keep, measure, family)

    def drawn(kind: str, number: str, whole: str) -> list[int]:
        nodes = [graph.node(e.source) for e in graph.into(whole)]
        return [getattr(n, number) for n in nodes if n.kind == kind]

    kept = chosen(heads.norm(dim=-1).tolist(), 2, None, None)
    assert drawn("head", "head", "L1.attn") == kept
    for head in kept:
        weights = seen.attentions[LAYER][head, at].tolist()
        assert drawn("value", "source", f"L1.H{head}") == chosen(weights, (3, 1), None, None)
    for kind, whole, numbers, matrix, count in (
        ("neuron", "L1.mlp", neurons, down, (4, 3)),
        ("row", "L1.attn", mixed, out, (2, 3)),
    ):
        signed = (numbers * matrix.norm(dim=-1)).tolist()
        assert drawn(kind, "neuron", whole) == chosen(signed, count, None, None)


def test_the_published_graph():
    keep = vw.Keep.visit()
    assert keep == vw.Keep(10, 2, (18, 7), (18, 7), by="visit")
    assert (keep.mass, keep.threshold, keep.more) == (None, None, {})


def test_everything_has_no_rest():
    for measure in MEASURES:
        graph = graph_of(EVERYTHING, measure)
        assert not [n for n in graph.nodes if n.kind in ("rest", "row")]
        with float64_throughout():
            routes = trace_of("llama").routes(measure=measure, keep=EVERYTHING)
        assert not [n for n in routes.nodes if n.kind == "rest"]


# As JSON.


@pytest.mark.parametrize(
    ("given", "plain"),
    [
        (3, 3),
        ((18, 7), [18, 7]),
        ([18, 7], [18, 7]),
        (vw.Limit(3), 3),
        (vw.Limit((1, 0)), [1, 0]),
        ({"count": 3}, 3),
        ({"count": [2, 1], "threshold": None, "mass": None}, [2, 1]),
        (vw.Limit(), {"count": None, "threshold": None, "mass": None}),
        ({}, {"count": None, "threshold": None, "mass": None}),
        ({"threshold": 0.05}, {"count": None, "threshold": 0.05, "mass": None}),
        (vw.Limit((2, 1), mass=0.9), {"count": [2, 1], "threshold": None, "mass": 0.9}),
        (vw.Limit(0, 0, 1), {"count": 0, "threshold": 0, "mass": 1}),
    ],
)
@pytest.mark.parametrize("kind", ["heads", "memories", "neurons", "rows", "routes"])
def test_a_limit_travels_in_its_short_form(kind, given, plain):
    keep = vw.Keep(**{kind: given})
    assert keep.to_dict()[kind] == plain
    assert vw.Keep.of(json.loads(json.dumps(keep.to_dict()))) == keep
    assert vw.Limit.of(given) == vw.Limit.of(plain) == getattr(keep, kind)


def test_the_default_travels_whole():
    routes = {"count": None, "threshold": 0.01, "mass": None}
    assert vw.Keep().to_dict() == {
        "heads": 10, "memories": 2, "neurons": 12, "rows": 0, "mass": None, "threshold": None,
        "by": "measure", "more": {}, "routes": routes, "routes_by": "influence",
    }  # fmt: skip


@pytest.mark.parametrize(
    "keep",
    [
        vw.Keep(),
        vw.Keep.visit(),
        vw.Keep.everything(),
        vw.Keep(1, (2, 3), vw.Limit(4, 0.1, 0.5), 5, 0.9, 0.01, "visit", {"L1.mlp.rest": 6}),
        vw.Keep(routes=9, routes_by="edge"),
    ],
)
def test_a_keep_comes_back_from_its_json_and_is_in_its_graph(keep):
    assert vw.Keep.of(json.loads(json.dumps(keep.to_dict()))) == keep
    assert vw.Keep.of(keep) is keep
    graph = FlowGraph.from_json(graph_of(keep).to_json())
    assert graph.keep == keep.to_dict()
    assert graph.nodes == graph_of(graph.keep).nodes


def test_none_is_the_default_and_an_unopened_rest_is_left_away():
    assert vw.Keep.of(None) == vw.Keep()
    assert vw.Keep(more={"L1.mlp.rest": 0, "L2.mlp.rest": 3}).more == {"L2.mlp.rest": 3}


# What is refused.

A_LIMIT = "A limit is a count, or a pair of counts (most positive, most negative), not"
A_THRESHOLD = "The threshold of a limit is 0 or more, not"
A_MASS = "The mass of a limit is above 0 and at most 1, not"
A_MORE = "Keep.more says of rest nodes how many parts more to draw, as in {'L23.mlp.rest': 12}, not"
REFUSED: list[tuple[dict[str, Any], str]] = [
    *(
        ({kind: value}, f"Keep.{kind}: {A_LIMIT} {value!r}.")
        for kind in ("heads", "memories", "neurons", "rows", "routes")
        for value in (-1, 1.5, "3", True, (1, -1), (1, 2, 3), (1,), (True, 1))
    ),
    ({"heads": None}, f"Keep.heads: {A_LIMIT} None; vw.Limit() keeps all."),
    ({"heads": {"count": -2}}, f"Keep.heads: {A_LIMIT} -2."),
    ({"heads": {"size": 2}},
     "Keep.heads: A limit has no 'size'; it has count, threshold and mass."),
    ({"rows": {"threshold": -1}}, f"Keep.rows: {A_THRESHOLD} -1."),
    ({"rows": {"threshold": "1"}}, f"Keep.rows: {A_THRESHOLD} '1'."),
    ({"routes": {"threshold": float("nan")}}, f"Keep.routes: {A_THRESHOLD} nan."),
    ({"neurons": {"mass": 0}}, f"Keep.neurons: {A_MASS} 0."),
    ({"neurons": {"mass": 1.1}}, f"Keep.neurons: {A_MASS} 1.1."),
    ({"neurons": {"mass": True}}, f"Keep.neurons: {A_MASS} True."),
    ({"mass": 2}, f"Keep.mass: {A_MASS} 2."),
    ({"threshold": float("inf")}, f"Keep.threshold: {A_THRESHOLD} inf."),
    ({"threshold": -0.1}, f"Keep.threshold: {A_THRESHOLD} -0.1."),
    ({"by": "size"}, "Keep.by is 'measure' or 'visit', not 'size'."),
    ({"by": None}, "Keep.by is 'measure' or 'visit', not None."),
    ({"routes_by": "node"}, "Keep.routes_by is 'influence' or 'edge', not 'node'."),
    *(
        ({"more": value}, f"{A_MORE} {value!r}.")
        for value in ({"L1.mlp.rest": -1}, {"L1.mlp.rest": 1.5}, {"L1.mlp.rest": True}, None, 3, [])
    ),
]  # fmt: skip


@pytest.mark.parametrize(("options", "sentence"), REFUSED, ids=[str(o) for o, _ in REFUSED])
def test_what_means_nothing_is_refused_in_a_sentence(options, sentence):
    for make in (lambda: vw.Keep(**options), lambda: vw.Keep.of(options)):
        with pytest.raises(vw.VisitError) as error:
            make()
        assert str(error.value) == sentence


def test_what_is_no_keep_is_refused():
    with pytest.raises(
        vw.VisitError, match=r"^keep is a Keep or a mapping of its fields, not 3\.$"
    ):
        vw.Keep.of(3)
    with pytest.raises(vw.VisitError) as error:
        vw.Keep.of({"head": 3})
    assert str(error.value) == (
        "Keep has no 'head'; it has by, heads, mass, memories, more, neurons, routes, routes_by, "
        "rows, threshold."
    )
