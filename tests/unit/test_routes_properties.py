"""Routes graphs of any family, prediction, measure and pruning: every sum holds in each."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import visit_widget as vw
from tests.tiny import (
    FAMILIES,
    N_VOCAB,
    PROMPT_IDS,
    blocks_of,
    final_norm_of,
    float64_throughout,
    look,
    make_model,
)
from tests.whole import assert_data, assert_routes_whole, unread
from visit_widget.flow import FlowGraph

MEASURES = ("share", "logit", "norm", "proximity", "effect", "linear")
POSITIONS = (-len(PROMPT_IDS), len(PROMPT_IDS) - 1)
THRESHOLDS = (0.0, 1e-4, 0.003, 0.01, 0.03, 0.1, 0.3, 1.5)


@cache
def made(family: str) -> tuple[vw.Trace, Tensor]:
    """A trace, and the logits (T, n_vocab) before any softcap."""
    model = make_model(family)
    seen = look(model, PROMPT_IDS)
    final, head = final_norm_of(model)(seen.post[-1]), model.get_output_embeddings()
    logits = torch.nn.functional.linear(final, head.weight, head.bias).detach()
    return vw.trace(model, None, PROMPT_IDS), logits


def total_of(graph: FlowGraph, logits: Tensor) -> float:
    """What the influences of a graph should come to."""
    if graph.measure not in ("logit", "effect", "linear"):
        return 1.0
    said = logits[graph.position]
    return float(said[graph.target["id"]] - (0 if graph.foil is None else said[graph.foil["id"]]))


counts = st.integers(0, 8)
limits = st.fixed_dictionaries(
    {
        "count": st.none() | counts | st.tuples(counts, counts),
        "threshold": st.none() | st.sampled_from(THRESHOLDS),
        "mass": st.none() | st.floats(0.05, 1),
    }
)
by = st.sampled_from(("influence", "edge"))
families, positions = st.sampled_from(FAMILIES), st.integers(*POSITIONS)
measures, tokens = st.sampled_from(MEASURES), st.integers(0, N_VOCAB - 1)


@settings(max_examples=80, deadline=None)
@given(
    family=families,
    position=positions,
    target=tokens,
    foil=st.none() | tokens,
    measure=measures,
    routes=limits,
    routes_by=by,
)
def test_any_routes_are_whole_and_valid(family, position, target, foil, measure, routes, routes_by):
    with float64_throughout():
        trace, logits = made(family)
        keep = vw.Keep(routes=routes, routes_by=routes_by)
        graph = trace.routes(position, target, foil, measure, keep)
        assert_routes_whole(graph, total_of(graph, logits))
        assert unread(graph) == []
        assert_data(graph)


@settings(max_examples=30, deadline=None)
@given(
    family=families,
    position=positions,
    target=tokens,
    foil=st.none() | tokens,
    measure=measures,
)
def test_with_threshold_0_nothing_is_left_out(family, position, target, foil, measure):
    with float64_throughout():
        keep = vw.Keep(routes={"threshold": 0})
        graph = made(family)[0].routes(position, target, foil, measure, keep)
    assert [n.id for n in graph.nodes if n.kind == "rest"] == []
    assert graph.attribution["rest"] == graph.attribution["opaque"] == 0


def drawn(graph: FlowGraph) -> set[str]:
    """The ids of what is kept."""
    return {n.id for n in graph.nodes if n.kind != "rest"}


# Where influences are signed, ways that cancel may leave less with more of them kept, so that
# "influence" promises this of fractions that are no less than 0 alone.
NESTED = [("edge", m) for m in MEASURES] + [
    ("influence", m) for m in ("norm", "proximity", "effect")
]


@settings(max_examples=40, deadline=None)
@given(
    family=families,
    position=positions,
    target=tokens,
    foil=st.none() | tokens,
    how=st.sampled_from(NESTED),
    thresholds=st.lists(st.sampled_from(THRESHOLDS), min_size=2, max_size=2, unique=True),
)
def test_what_a_higher_threshold_keeps_a_lower_one_keeps(
    family, position, target, foil, how, thresholds
):
    routes_by, measure = how
    few, many = (
        drawn(
            made(family)[0].routes(
                position, target, foil, measure,
                vw.Keep(routes={"threshold": threshold}, routes_by=routes_by),
            )
        )
        for threshold in sorted(thresholds, reverse=True)
    )  # fmt: skip
    assert few <= many


@pytest.mark.parametrize("measure", MEASURES)
def test_what_is_counted_out_is_the_smallest(measure):
    """Of each stream the parts of largest |influence| are kept, and `rest` counts the others."""
    with float64_throughout():
        trace, _ = made("llama")
        every, some = (
            trace.routes(-1, 11, 30, measure, vw.Keep(routes={"count": count}))
            for count in (999, 4)
        )
    last = f"P{len(PROMPT_IDS) - 1}.L2.mid"
    parts = sorted(every.into(last), key=lambda e: -abs(e.influence))
    # By effects, the stream before is kept as well, where anything of it counts.
    kept = [
        n for n, e in enumerate(parts) if n < 4 or (measure == "effect" and e.kind == "residual")
    ]
    expected = {parts[n].source: parts[n].influence for n in kept}
    expected[f"{last}.rest"] = sum(e.influence for n, e in enumerate(parts) if n not in kept)
    found = {e.source: e.influence for e in some.into(last)}
    assert found == pytest.approx(expected, abs=1e-9)
    assert some.node(f"{last}.rest").rest == {"of": "part", "count": len(parts) - len(kept)}


@pytest.mark.parametrize("measure", MEASURES)
def test_of_parts_that_nearly_cancel_nothing_is_lost(measure):
    """Neither the last stream nor what the MLP adds to it is nearer to their sum than nothing."""
    with float64_throughout(), torch.no_grad():
        model = make_model("llama")
        seen, block = look(model, PROMPT_IDS), blocks_of(model)[-1]
        block.down.weight.zero_()
        block.down.bias.copy_(-0.9 * (seen.pre[-1] + seen.attention[-1])[-1])
        graph = vw.trace(model, None, PROMPT_IDS).routes(measure=measure)
        logits = look(model, PROMPT_IDS).logits
        assert_routes_whole(graph, total_of(graph, logits))
