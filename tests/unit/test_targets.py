"""Targets of several tokens, and directions: their values by the model's own logits, their parts'
sums, and what graph and widget say of them.
"""

from __future__ import annotations

import jsonschema
import numpy as np
import pytest
import torch

import visit_widget as vw
from tests.tiny import PROMPT_IDS, make_model, make_speaker, tokenizer

FAMILIES = ["gpt2", "llama", "llama-head-bias", "gemma2"]
SOME = [5, 17, 42]


@pytest.fixture(scope="module", params=FAMILIES)
def traced(request):
    """A float64 trace, and the model's own logits at the last position, before any softcap."""
    model = make_model(request.param)
    with torch.no_grad():
        logits = model(torch.tensor([PROMPT_IDS])).logits[0, -1]
    cap = getattr(model.config, "final_logit_softcapping", None)
    logits = logits if cap is None else torch.atanh(logits / cap) * cap
    return vw.trace(model, None, PROMPT_IDS), logits


def test_a_list_is_followed_by_the_mean_of_its_logits(traced):
    trace, logits = traced
    for target in (SOME, tuple(SOME), torch.tensor(SOME), np.array(SOME), vw.Target(SOME)):
        parts = trace.logit_parts(target)
        assert sum(parts.values()) == pytest.approx(float(logits[SOME].mean()), abs=1e-6)
        assert "logits.entropy" not in parts


@pytest.mark.parametrize("by", ["component", "head", "neuron"])
def test_the_parts_of_a_mean_are_the_means_of_the_parts(traced, by):
    trace, _ = traced
    own = [trace.logit_parts(token, by=by) for token in SOME]
    weights = [0.5, 0.3, 0.2]
    for name, value in trace.logit_parts(vw.Target(SOME, weights=[5, 3, 2]), by=by).items():
        expected = sum(w * parts.get(name, 0.0) for w, parts in zip(weights, own, strict=True))
        assert value == pytest.approx(expected, abs=1e-9), name


def test_a_log_sum_exp_is_that_of_the_logits_and_its_rest_is_their_entropy(traced):
    trace, logits = traced
    parts = trace.logit_parts(vw.Target(SOME, "logsumexp"))
    assert sum(parts.values()) == pytest.approx(float(logits[SOME].logsumexp(-1)), abs=1e-6)
    p = logits[SOME].softmax(-1)
    assert parts["logits.entropy"] == pytest.approx(float(-(p * p.log()).sum()), abs=1e-6)


def test_a_log_sum_exp_is_split_by_its_gradient():
    model = make_model("llama")
    trace = vw.trace(model, None, PROMPT_IDS)
    stream = trace.residual(trace.n_layers - 1)[-1].clone().requires_grad_()
    head, norm = model.lm_head.weight, model.model.norm
    # The norm held at its observed scale, as everywhere.
    scale = norm(stream).detach() / (norm.weight * stream).detach()
    (head[SOME] @ (norm.weight * stream * scale)).logsumexp(-1).backward()
    parts = trace.logit_parts(vw.Target(SOME, "logsumexp"), by="head")
    for head_number, written in enumerate(trace.head_outputs(2)):
        assert parts[f"L2.H{head_number}"] == pytest.approx(float(written @ stream.grad), abs=1e-6)


def test_a_row_of_the_unembedding_is_followed_as_its_token(traced):
    trace, logits = traced
    head = trace.model.get_output_embeddings()
    bias = 0.0 if head.bias is None else float(head.bias.detach()[5])
    for target in (vw.Target.direction(head.weight[5]), head.weight[5].detach()):
        parts = trace.logit_parts(target)
        assert sum(parts.values()) == pytest.approx(float(logits[5]) - bias, abs=1e-6)


def test_targets_of_all_kinds_stand_against_each_other(traced):
    trace, logits = traced
    foil = vw.Target([3, 60], "logsumexp")
    total = sum(trace.logit_parts(SOME, foil).values())
    expected = logits[SOME].mean() - logits[[3, 60]].logsumexp(-1)
    assert total == pytest.approx(float(expected), abs=1e-6)


@pytest.mark.parametrize("target", [SOME, vw.Target(SOME, "logsumexp"), "direction"])
@pytest.mark.parametrize("foil", [None, [3, 60]])
def test_a_graph_says_what_is_followed(traced, target, foil):
    trace, _ = traced
    if target == "direction":
        target = vw.Target.direction(torch.linspace(-1, 1, trace.d_model), name="truth")
    graph = trace.flow(target=target, foil=foil, layers=[1])
    jsonschema.validate(graph.to_dict(), graph.schema())
    own = trace.logit_parts(target, foil)
    # transformers computes norms in float32, whatever the model's dtype.
    total = pytest.approx(sum(own.values()), abs=1e-6)
    assert graph.node("logits").logit == total
    assert sum(e.logit for e in graph.into("logits")) == total
    sentences = " ".join(graph.explain(node.id) for node in graph.nodes)
    assert graph.target["text"] in sentences
    assert vw.FlowGraph.from_json(graph.to_json()) == graph
    routes = trace.routes(target=target, foil=foil, measure="logit")
    jsonschema.validate(routes.to_dict(), routes.schema())
    assert routes.attribution["total"] == total


def test_several_tokens_have_the_probability_of_any_of_them_and_the_best_rank():
    model = make_model("llama")
    trace = vw.trace(model, None, PROMPT_IDS)
    chances = trace.logits().softmax(-1)
    graph = trace.flow(target=SOME)
    assert graph.target["probability"] == pytest.approx(float(chances[SOME].sum()))
    assert graph.target["rank"] == 1 + int((chances > chances[SOME].max()).sum())
    lens = vw.LogitLens(model).logits(trace.residual(0)[-1]).softmax(-1)
    node = graph.node("L0.post")
    assert node.target_probability == pytest.approx(float(lens[SOME].sum()))
    assert node.target_rank == 1 + int((lens > lens[SOME].max()).sum())


def test_a_direction_has_neither_probability_nor_rank():
    trace = vw.trace(make_model("llama"), None, PROMPT_IDS)
    graph = trace.flow(target=torch.ones(trace.d_model))
    assert graph.target["probability"] is graph.target["rank"] is None
    assert all(node.target_rank is None for node in graph.nodes)
    assert "rank" not in graph.explain("L0.post")


def test_one_token_in_a_list_is_that_token():
    trace = vw.trace(make_model("gpt2"), None, PROMPT_IDS)
    assert trace.logit_parts([5]) == trace.logit_parts(5)
    assert trace.flow(target=[5]).target == trace.flow(target=5).target
    assert trace.logit_parts([5, 5, 5]) == trace.logit_parts(5)


@pytest.mark.parametrize(("target", "sentence"), [
    ([], "at least one token"),
    ([1.5, 2.5], "Target.direction"),
    (True, "token id"),
    ([3, None], "token id"),
    ({"id": 3}, "token id"),
    (b"cat", "token id"),
    (10**6, "vocabulary"),
    ([3, 10**6], "vocabulary"),
    (torch.ones(3), "24 numbers"),
    (torch.ones(2, 24), "one vector"),
    (torch.full((24,), torch.nan), "finite"),
    (torch.zeros(24), "not zero"),
    (torch.ones(24, dtype=torch.bool), "whole numbers"),
])  # fmt: skip
def test_what_is_no_target_gets_a_sentence(target, sentence):
    trace = vw.trace(make_model("llama"), None, PROMPT_IDS)
    with pytest.raises(vw.VisitError, match=sentence):
        trace.logit_parts(target)


@pytest.mark.parametrize(("options", "sentence"), [
    ({"combine": "max"}, "'mean' or"),
    ({"weights": [1]}, "one each"),
    ({"weights": [1, -1]}, "foil"),
    ({"weights": [0, 0]}, "not all"),
    ({"weights": "ab"}, "numbers"),
    ({"combine": "logsumexp", "weights": [1, 1]}, "mean"),
])  # fmt: skip
def test_a_target_that_means_nothing_gets_a_sentence(options, sentence):
    with pytest.raises(vw.VisitError, match=sentence):
        vw.Target([3, 4], **options)


# The widget.


@pytest.fixture
def widget():
    made = vw.visit(make_speaker("llama"), tokenizer(), "the cat sat on the")
    yield made
    made.close()


def test_a_widget_follows_several_tokens_and_directions(widget):
    before = widget.target
    widget.target = [" dog", " cat"]
    assert widget.graph["target"]["text"] == widget.target["text"] == "mean of ␣dog, ␣cat"
    several = dict(widget.target)
    widget.foil = vw.Target.direction(torch.ones(widget.trace.d_model), name="up")
    assert widget.graph["foil"]["text"] == "up"
    widget.target = None
    assert widget.target == before
    # As the browser does to undo: by what it was told.
    widget.set_state({"target": several})
    assert widget.target == several
    assert widget.graph["target"]["combine"] == "mean"
    assert widget.status["state"] == "ready"


def test_of_a_word_that_is_several_tokens_the_first_is_followed_and_status_says_so(widget):
    widget.target = " dog ran"
    assert widget.target["text"] == "␣dog"
    assert widget.status["state"] == "ready"
    assert "2: ␣dog ␣ran" in widget.status["message"]
    assert "␣dog, is followed" in widget.status["message"]
    widget.focus = 1
    assert widget.status["message"] == ""
    with pytest.raises(vw.VisitError, match="not one token"):
        widget.trace.logit_parts(" dog ran")


def test_a_new_widget_says_so_too():
    made = vw.visit(
        make_speaker("llama"), tokenizer(), "the cat", target=" dog ran", foil=[" cat", " mat"]
    )
    assert made.target["text"] == "␣dog"
    assert made.foil["text"] == "mean of ␣cat, ␣mat"
    assert "is followed" in made.status["message"]
