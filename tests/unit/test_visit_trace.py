"""A widget over a trace that is there already, and what is said of arguments in the wrong place."""

from __future__ import annotations

import sys

import pytest
import torch

import visit_widget as vw
from tests.tiny import PROMPT_IDS, make_model, make_speaker, tokenizer
from visit_widget.trace import trace as make_trace
from visit_widget.trace.recording import record

PROMPT = "the cat sat on the"


def passes(model) -> list[int]:
    """Counts the model's passes from now on."""
    seen: list[int] = []
    model.register_forward_pre_hook(lambda *_: seen.append(1))
    return seen


def test_a_trace_is_shown_without_a_further_pass():
    model = make_speaker("llama")
    trace = vw.trace(model, tokenizer(), PROMPT)
    expected = trace.flow(2, " dog", " mat", measure="logit")
    seen = passes(model)
    widget = vw.visit(trace, focus=2, target=" dog", foil=" mat", layers=[1], view="routes")
    assert seen == []
    assert widget.trace is trace
    assert (widget.prompt, widget.focus, widget.expanded) == (PROMPT, 2, [1])
    assert widget.view == "routes"
    nodes = {node["id"]: node["logit"] for node in widget.graph["nodes"]}
    for node in expected.nodes:
        assert nodes[node.id] == pytest.approx(node.logit, rel=1e-5) or node.logit is None
    assert widget.target["text"] == "␣dog"


def test_the_prompt_of_a_trace_can_be_edited():
    model = make_speaker("llama")
    widget = vw.visit(vw.trace(model, tokenizer(), PROMPT))
    seen = passes(model)
    widget.prompt = "a dog ran"
    assert sum(seen) >= 1
    assert widget.trace.tokens == ["a", "␣dog", "␣ran"]


def test_a_trace_of_ids_is_shown_too():
    widget = vw.visit(vw.trace(make_model("gpt2"), None, PROMPT_IDS))
    assert len(widget.graph["tokens"]) == len(PROMPT_IDS)
    assert widget.target["text"].startswith("#")


def test_an_anatomy_passed_by_hand_is_used_for_other_prompts():
    model = make_speaker("gpt2")
    anatomy = vw.trace(model, tokenizer(), PROMPT).anatomy
    widget = vw.visit(vw.trace(model, tokenizer(), PROMPT, anatomy=anatomy))
    widget.prompt = "a dog ran"
    assert widget.trace.anatomy is anatomy


@pytest.mark.parametrize("of_trace", [False, True])
def test_where_tensors_are_kept_holds_for_other_prompts(of_trace, monkeypatch):
    kept: list[object] = []

    def tell(model, anatomy, input_ids, keep_on=None):
        kept.append(keep_on)
        return record(model, anatomy, input_ids, keep_on)

    monkeypatch.setattr(sys.modules["visit_widget.trace.tracing"], "record", tell)
    model = make_speaker("gpt2")
    if of_trace:
        widget = vw.visit(make_trace(model, tokenizer(), PROMPT, keep_on="cpu"))
    else:
        widget = vw.visit(model, tokenizer(), PROMPT, keep_on="cpu")
    widget.prompt = "a dog ran"
    assert kept == ["cpu", "cpu"]
    assert widget.trace.keep_on == "cpu"


def test_a_loaded_trace_is_shown_once_it_has_its_model(tmp_path):
    trace = vw.trace(make_speaker("llama"), tokenizer(), PROMPT)
    path = trace.save(tmp_path / "a.safetensors")
    widget = vw.visit(vw.load_trace(path, trace.model, tokenizer()))
    assert widget.prompt == PROMPT
    with pytest.raises(vw.VisitError, match="load_trace"):
        vw.visit(vw.load_trace(path))


def test_arguments_in_the_wrong_place_get_a_sentence():
    model, words = make_speaker("gpt2"), tokenizer()
    trace = vw.trace(model, words, PROMPT)
    anatomy = trace.anatomy
    for given, options, sentence in [
        ((trace, words, PROMPT), {}, r"vw\.visit\(trace\)"),
        ((trace, PROMPT), {}, r"vw\.visit\(trace\)"),
        ((trace,), {"anatomy": anatomy}, r"vw\.visit\(trace\)"),
        ((vw.visit(trace),), {}, r"widget\.trace"),
        ((words, model, PROMPT), {}, "model comes first"),
        ((model, PROMPT), {}, "tokenizer belongs"),
        ((model, PROMPT, words), {}, "tokenizer belongs"),
        ((model, words), {}, "no prompt"),
        ((model,), {}, "no prompt"),
        (("gpt2",), {}, "load it with"),
        (("gpt2", words, PROMPT), {}, "load it with"),
        ((torch.nn.Linear(2, 2), words, PROMPT), {}, "model of transformers"),
        ((None, words, PROMPT), {}, "model of transformers"),
    ]:
        with pytest.raises(vw.VisitError, match=sentence):
            vw.visit(*given, **options)
