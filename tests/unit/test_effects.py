"""Predicted effects: against plain autograd, against differences, and only when asked for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch

import visit_widget as vw
from tests.slopes import added_to, own_slopes, said, writers_of
from tests.tiny import (
    PROMPT_IDS,
    blocks_of,
    float64_throughout,
    look,
    make_model,
    make_speaker,
    tokenizer,
)
from tests.unit.test_flow import Case, made, own_parts
from visit_widget.flow import Painter
from visit_widget.lens import local as local_module
from visit_widget.trace import effect as effect_module
from visit_widget.trace.effect import Everywhere, effects_everywhere
from visit_widget.trace.target import followed

FAMILIES = ("gpt2", "llama", "llama-head-bias", "gemma2", "olmo2", "qwen3", "phi")
TARGET, FOIL = 11, 30
LAST = len(PROMPT_IDS) - 1
EVERYTHING = vw.Keep(9, 9, 99, 0, routes=vw.Limit())
SHRINK = 1e-4


@pytest.fixture(params=FAMILIES)
def case(request: pytest.FixtureRequest) -> Iterator[Case]:
    with float64_throughout():
        yield made(request.param)


def everywhere(
    trace: vw.Trace, position: int, foil: int | None, frugal: bool | None = None
) -> Everywhere:
    target, other = followed(trace, TARGET), None if foil is None else followed(trace, foil)
    return effects_everywhere(trace, target, other, position, frugal)


# The block graph.


@pytest.mark.parametrize(("position", "foil"), [(LAST, None), (LAST, FOIL), (3, FOIL)])
def test_every_part_carries_what_plain_autograd_says(case, position, foil):
    slopes = own_slopes(case.model, PROMPT_IDS, position, TARGET, foil)
    layers = range(case.trace.n_layers)
    graph = case.trace.flow(position, TARGET, foil, layers, EVERYTHING, "effect")
    checked = 0
    for layer in layers:
        for name, (part, _) in own_parts(case, layer, position).items():
            if name not in graph or name.endswith(".pre"):
                continue
            sublayer = "mlp" if ".N" in name or name.endswith("mlp") else "attn"
            expected = float(part @ slopes[f"L{layer}.{sublayer}"][position])
            assert graph.node(name).effect == pytest.approx(expected, abs=1e-8), name
            edge = next(e for e in graph.out_of(name) if e.share is not None)
            assert edge.effect == pytest.approx(expected, abs=1e-8), name
            checked += 1
    assert checked >= case.trace.n_layers * (2 + case.trace.n_heads + 20)


def test_a_memory_carries_its_part_of_the_heads_effect(case):
    graph = case.trace.flow(LAST, TARGET, layers=[1], keep=EVERYTHING, measure="effect")
    slope = own_slopes(case.model, PROMPT_IDS, LAST, TARGET)["L1.attn"][LAST]
    for node in graph.nodes:
        if node.kind == "value":
            vector = case.trace.head_parts(1)[node.head, node.source]
            assert node.effect == pytest.approx(float(vector @ slope), abs=1e-8)


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("family", ["gpt2", "llama", "gemma2", "phi"])
def test_a_little_less_of_a_head_lowers_the_logit_by_its_effect(family, seed):
    """The model itself, run without 1e-4 of what a head writes."""
    with float64_throughout(), torch.no_grad():
        model = make_model(family, seed=seed)
        trace = vw.trace(model, None, PROMPT_IDS)
        graph = trace.flow(LAST, TARGET, FOIL, [0, 1], EVERYTHING, "effect")
        clean, sizes = said(model, PROMPT_IDS, LAST, TARGET, FOIL), []
        for layer in (0, 1):
            heads = trace.head_outputs(layer)
            for head, vector in enumerate(heads):
                less = torch.zeros(len(PROMPT_IDS), trace.d_model, dtype=torch.float64)
                less[LAST] = -SHRINK * vector
                with added_to(writers_of(model), {f"L{layer}.attn": less}):
                    without = said(model, PROMPT_IDS, LAST, TARGET, FOIL)
                effect = graph.node(f"L{layer}.H{head}").effect
                fallen = float(clean - without) / SHRINK
                sizes.append(abs(fallen))
                # A difference is off by about the step, times what bends.
                assert fallen == pytest.approx(effect, abs=2e-3 * max(1, abs(effect)))
        assert max(sizes) > 0.1


def test_an_effect_is_not_the_logit(case):
    graph = case.trace.flow(LAST, TARGET, measure="effect")
    both = [(n.logit, n.effect) for n in graph.nodes if n.kind in ("attention", "mlp")]
    logits, effects = torch.tensor(both[:-1], dtype=torch.float64).T
    assert float((logits - effects).abs().max()) > 0.1


def test_the_graph_is_ranked_by_it(case):
    keep = vw.Keep(heads=2, memories=1, neurons=3)
    some = case.trace.flow(LAST, TARGET, layers=[1], keep=keep, measure="effect")
    every = case.trace.flow(LAST, TARGET, layers=[1], keep=EVERYTHING, measure="effect")
    for kind, count in (("head", 2), ("neuron", 3)):
        sizes = {n.id: abs(n.effect) for n in every.nodes if n.kind == kind}
        largest = sorted(sizes, key=lambda i: -sizes[i])[:count]
        assert {n.id for n in some.nodes if n.kind == kind} == set(largest)
    assert some.top(3, kind="head", measure="effect")[0][0].kind == "head"
    nodes, edges = some.to_pandas()
    assert nodes.effect.notna().sum() == sum(n.effect is not None for n in some.nodes) > 10
    assert str(edges.effect.dtype) == "float64"
    assert "to first order" in some.explain(some.top(1, "head", "effect")[0][0].id)


@pytest.mark.parametrize(
    "target", [vw.Target([11, 30, 4], weights=[1, 2, 1]), vw.Target([11, 30], combine="logsumexp")]
)
def test_other_targets(case, target):
    if case.model.config.model_type not in ("gpt2", "llama"):
        return
    by_token = {t: own_slopes(case.model, PROMPT_IDS, LAST, t) for t in target.tokens}
    weights = target.weights
    if weights is None:
        weights = case.logits[LAST, list(target.tokens)].softmax(-1).tolist()
    total = sum(weights)
    graph = case.trace.flow(LAST, target, measure="effect")
    for layer in range(case.trace.n_layers):
        part = case.trace.mlp_output(layer)
        expected = sum(
            w / total * float(part @ by_token[t][f"L{layer}.mlp"][LAST])
            for t, w in zip(target.tokens, weights, strict=True)
        )
        assert graph.node(f"L{layer}.mlp").effect == pytest.approx(expected, abs=1e-8)


# Every position.


def test_every_position_carries_what_plain_autograd_says(case):
    for position, foil in ((LAST, FOIL), (4, None)):
        slopes = own_slopes(case.model, PROMPT_IDS, position, TARGET, foil)
        ours = everywhere(case.trace, position, foil)
        for name, theirs in slopes.items():
            layer, sublayer = int(name[1 : name.index(".")]), name.rpartition(".")[2]
            found = ours.at(layer, "mid" if sublayer == "attn" else "post", range(position + 1))
            assert torch.allclose(found, theirs[: position + 1], atol=1e-8), name
            assert not bool(theirs[position + 1 :].any()), "what comes later changes nothing"


@pytest.mark.parametrize(
    ("family", "implementation"),
    [*((f, "eager") for f in FAMILIES), ("llama", "sdpa"), ("gpt2", "sdpa"), ("phi", "sdpa")],
)
def test_a_frugal_pass_gives_the_same(family, implementation):
    trace = vw.trace(make_model(family, implementation=implementation), None, PROMPT_IDS)
    ours, theirs = (everywhere(trace, LAST, FOIL, frugal).streams for frugal in (True, False))
    assert ours.keys() == theirs.keys()
    for place, found in ours.items():
        assert torch.allclose(found, theirs[place], atol=1e-9), place
    assert not any("forward" in vars(part.block) for part in trace.anatomy.blocks)


def test_routes_carry_the_effect_of_every_part(case):
    slopes = own_slopes(case.model, PROMPT_IDS, LAST, TARGET, FOIL)
    graph = case.trace.routes(LAST, TARGET, FOIL, "effect", EVERYTHING)
    checked = 0
    for node in graph.nodes:
        if node.kind == "value":
            vector = case.trace.head_parts(node.layer, node.position)[node.head, node.source]
            slope = slopes[f"L{node.layer}.attn"]
        elif node.kind == "mlp":
            vector = case.trace.mlp_output(node.layer, node.position)
            slope = slopes[f"L{node.layer}.mlp"]
        else:
            continue
        expected = float(vector @ slope[node.position])
        assert node.influence == pytest.approx(expected, abs=1e-8), node.id
        assert node.effect == pytest.approx(expected, abs=1e-8), node.id
        checked += 1
    assert checked > 50


def test_pruning_changes_no_effect_and_hides_none_at_a_position_it_reached(case):
    threshold = 0.02
    every = case.trace.routes(LAST, TARGET, None, "effect", EVERYTHING)
    some = case.trace.routes(LAST, TARGET, None, "effect", vw.Keep(routes={"threshold": threshold}))
    least = threshold * max(1.0, abs(some.attribution["total"]))
    for mine, own in zip(some.attribution["tokens"], every.attribution["tokens"], strict=True):
        assert mine["value"] == pytest.approx(own["value"], abs=1e-9)
    reached: dict[int, int] = {}
    for node in some.nodes:
        if node.kind == "residual":
            reached[node.position] = max(reached.get(node.position, -1), node.layer)
        if node.kind != "rest" and node.id in every:
            assert node.influence == pytest.approx(every.node(node.id).influence, abs=1e-9)
    found = 0
    for node in every.nodes:
        if node.kind in ("value", "mlp") and node.layer < reached.get(node.position, -1):
            wanted = abs(node.influence) >= least
            assert (node.id in some) == wanted, node.id
            found += wanted
    assert found > 3


def test_the_effects_of_a_token_are_those_of_its_embedding(case):
    """The logit, as the model says it with a little less of one token's embedding."""
    graph = case.trace.routes(LAST, TARGET, FOIL, "effect")
    block = blocks_of(case.model)[0].block
    embeddings = look(case.model, PROMPT_IDS).pre[0]
    for position in (0, 3, LAST):
        less = torch.zeros_like(embeddings)
        less[position] = SHRINK * embeddings[position]

        def change(_m: Any, args: Any, kwargs: Any, less: Any = less) -> Any:
            if args:
                return (args[0] - less, *args[1:]), kwargs
            return args, {**kwargs, "hidden_states": kwargs["hidden_states"] - less}

        with torch.no_grad():
            clean = said(case.model, PROMPT_IDS, LAST, TARGET, FOIL)
            handle = block.register_forward_pre_hook(change, with_kwargs=True)
            without = said(case.model, PROMPT_IDS, LAST, TARGET, FOIL)
            handle.remove()
        effect = graph.attribution["tokens"][position]["value"]
        fallen = float(clean - without) / SHRINK
        assert fallen == pytest.approx(effect, abs=5e-3 * max(1, abs(effect)))


# Only when asked for, and once.


@pytest.fixture
def counted(monkeypatch) -> list[int]:
    """How many directions were pulled back, by each call."""
    calls: list[int] = []
    own = effect_module.gradients

    def gradients(trace: Any, directions: Any, position: int) -> Any:
        calls.append(len(directions))
        return own(trace, directions, position)

    monkeypatch.setattr(effect_module, "gradients", gradients)
    monkeypatch.setattr(local_module, "gradients", gradients)
    return calls


@pytest.mark.parametrize("measure", ["share", "logit", "norm", "proximity"])
def test_other_measures_take_no_gradient(measure, counted):
    trace = vw.trace(make_model("llama"), None, PROMPT_IDS)
    graph = trace.flow(measure=measure, lens="logit", layers=[0])
    assert not counted
    assert {n.effect for n in graph.nodes} == {e.effect for e in graph.edges} == {None}
    with pytest.raises(vw.VisitError, match='measure="effect"'):
        graph.top(3, measure="effect")
    with pytest.raises(vw.VisitError, match='measure="effect"'):
        graph.path("L0.attn", "logits", "effect")


def test_it_is_taken_once_for_a_target_and_stays(counted):
    trace = vw.trace(make_model("llama"), None, PROMPT_IDS)
    painter = Painter(trace, target=TARGET, measure="logit", lens="logit")
    painter.graph([0])
    for measure in ("effect", "share", "effect", "logit"):
        painter = Painter(trace, target=TARGET, measure=measure, lens=painter.lens, before=painter)
        graph = painter.graph([0, 1])
        carrying = [e for e in graph.edges if e.share is not None]
        assert carrying
        assert all(e.effect is not None for e in carrying)
    assert counted == [1]
    other = Painter(trace, target=FOIL, measure="effect", lens=painter.lens, before=painter)
    other.graph()
    assert counted == [1, 1]
    Painter(trace, target=4, measure="logit", lens=painter.lens, before=other).graph()
    assert counted == [1, 1], "of another target nobody asked for it"


@pytest.mark.parametrize("foil", [None, "second"])
@pytest.mark.parametrize("family", ["llama", "gpt2", "qwen3"])
def test_the_local_lens_has_it_at_hand(family, foil, counted):
    with float64_throughout():
        trace = vw.trace(make_model(family), None, PROMPT_IDS)
        first, second, third = trace.logits().topk(3).indices.tolist()
        lens = vw.LocalLens(trace.model, trace.anatomy, likely=5)
        foil = None if foil is None else second
        before = Painter(trace, LAST, first, foil, measure="effect", lens=lens)
        ours = before.graph([1])
        assert counted == ([5] if foil else [5, 1])
        Painter(trace, LAST, third, foil, None, "effect", lens, before).graph([1])
        assert counted == ([5] if foil else [5, 1])
        theirs = trace.flow(LAST, first, foil, [1], measure="effect", lens="logit")
    for mine, own in zip(ours.edges, theirs.edges, strict=True):
        assert mine.effect == pytest.approx(own.effect, abs=1e-8)


def test_tokens_that_the_local_lens_does_not_tell_apart(counted):
    trace = vw.trace(make_model("llama"), None, PROMPT_IDS)
    least = int(trace.logits().argmin())
    lens = vw.LocalLens(trace.model, trace.anatomy, likely=5)
    trace.flow(target=least, measure="effect", lens=lens)
    assert counted == [5, 1]


def test_a_model_without_derivatives_says_so(monkeypatch):
    def refuse(*_: Any) -> None:
        raise vw.VisitError("No derivative can be taken.")

    monkeypatch.setattr("visit_widget.trace.effect.gradients", refuse)
    monkeypatch.setattr("visit_widget.lens.local.gradients", refuse)
    model = make_speaker("llama")
    trace = vw.trace(model, tokenizer(), "the cat sat on the mat")
    with pytest.raises(vw.VisitError, match="No derivative"):
        trace.flow(measure="effect")
    widget = vw.visit(model, tokenizer(), "the cat sat on the mat")
    widget.set_state({"measure": "effect"})
    assert widget.measure == widget.graph["measure"] == "logit"
    assert widget.status["state"] == "error"
    assert "No derivative" in widget.status["message"]


# The widget.


def test_a_widget_takes_it_up(monkeypatch):
    model = make_speaker("llama")
    widget = vw.visit(model, tokenizer(), "the cat sat on the mat", lens="logit")
    assert "effect" in vw.MEASURES
    widget.set_state({"measure": "effect"})
    graph = widget.graph
    assert graph["measure"] == "effect"
    assert all(n["effect"] is not None for n in graph["nodes"])
    session = widget._session
    detail = session.project(["L1.H0"])["nodes"]["L1.H0"]
    total = sum(s["effect"] for s in detail["sources"])
    assert total == pytest.approx(detail["effect"], abs=1e-4)
    routes = session.routes()
    assert routes["measure"] == "effect"
    assert routes["total"] == pytest.approx(graph["target"]["logit"], abs=1e-4)
    tokens = session.attribution()["tokens"]
    own = widget.trace.routes(target=graph["target"]["id"], measure="logit").attribution["tokens"]
    # The effects of embeddings foretell nothing (docs/measures.md).
    assert [t["value"] for t in tokens] == pytest.approx([t["value"] for t in own], abs=1e-5)
    assert widget.view_state["measure"] == "effect"


# How exact.


def test_half_precision_is_near():
    wide, half = (make_model("llama").to(d) for d in (torch.float32, torch.bfloat16))
    found = []
    for model in (wide, half):
        graph = vw.trace(model, None, PROMPT_IDS).flow(LAST, TARGET, measure="effect")
        found.append([n.effect for n in graph.nodes if n.kind in ("attention", "mlp")])
    ours, theirs = torch.tensor(found)
    assert float((ours - theirs).norm() / ours.norm()) < 0.1


def test_where_the_caller_stands_does_not_matter():
    model = make_model("llama", torch.float32)
    expected = vw.trace(model, None, PROMPT_IDS).flow(LAST, TARGET, measure="effect")
    with torch.inference_mode():
        trace = vw.trace(model, None, PROMPT_IDS)
        inside = trace.flow(LAST, TARGET, measure="effect")
        routes = trace.routes(LAST, TARGET, measure="effect")
    for mine, own in zip(inside.nodes, expected.nodes, strict=True):
        assert mine.effect == pytest.approx(own.effect, abs=1e-4)
    assert routes.node("logits").effect is not None
