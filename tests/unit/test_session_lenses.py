"""The lens of a widget: chosen from either side, put back if it cannot be, kept with the view."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import visit_widget as vw
from tests.tiny import make_speaker, tokenizer

PROMPT = "the cat sat on the mat"


@pytest.fixture(params=["gpt2", "llama"])
def model(request: pytest.FixtureRequest) -> Any:
    return make_speaker(request.param)


def node_of(widget: vw.VisitWidget, node_id: str) -> dict[str, Any]:
    return next(n for n in widget.graph["nodes"] if n["id"] == node_id)


def test_the_default_lens_reads_what_is_written_by_its_effect(model):
    widget = vw.visit(model, tokenizer(), PROMPT)
    assert widget.lens == widget.graph["lens"] == "local"
    assert widget.lenses == ["local", "logit"]
    assert node_of(widget, "L0.attn")["unit"] == "nats"
    stream = node_of(widget, "L0.post")
    assert stream["unit"] == "logit"
    assert stream["target_probability"] is not None


def test_another_lens_is_another_graph_without_a_pass(model, monkeypatch):
    widget = vw.visit(model, tokenizer(), PROMPT)
    revision, trace = widget.graph["revision"], widget.trace
    widget.lens = "logit"
    assert widget.graph["revision"] == revision + 1
    assert widget.trace is trace
    assert node_of(widget, "L0.attn")["unit"] == "logit"
    vector = trace.attention_output(0)
    said = vw.LogitLens(model).project(vector[None], 1)
    assert node_of(widget, "L0.attn")["top"][0]["id"] == int(said.top_ids)
    widget.lens = None
    assert widget.lens == "local"


def test_what_has_to_be_fitted_is_said_and_not_set(model):
    widget = vw.visit(model, tokenizer(), PROMPT)
    with pytest.raises(vw.VisitError, match=r"vw\.JacobianLens\.fit"):
        widget.lens = "jacobian"
    assert widget.lens == "local"
    widget.set_state({"lens": "tuned"})
    assert widget.lens == "local"
    assert widget.status["state"] == "error"
    assert "vw.TunedLens.fit(model, tokenizer)" in widget.status["message"]


def test_a_lens_as_an_object_is_known_by_its_name_from_then_on(model):
    widget = vw.visit(model, tokenizer(), PROMPT)
    lens = vw.JacobianLens.fit(model, tokenizer(), progress=False, n_passages=2, cache=False)
    widget.lens = lens
    assert widget.lens == "jacobian"
    assert widget.lenses == ["local", "logit", "jacobian"]
    widget.set_state({"lens": "logit"})
    widget.set_state({"lens": "jacobian"})
    assert (widget.lens, widget.graph["lens"]) == ("jacobian", "jacobian")
    said = lens.project(widget.trace.mlp_output(0)[None], 1, layer=0, site="mlp")
    assert node_of(widget, "L0.mlp")["top"][0]["id"] == int(said.top_ids)


def test_visit_fits_a_lens_that_is_asked_for_by_name(model, capsys):
    widget = vw.visit(model, tokenizer(), PROMPT, lens="calibrated")
    assert widget.lens == "calibrated"
    assert node_of(widget, "L0.mlp")["unit"] == "sd"
    assert "Calibrating" in capsys.readouterr().err
    again = vw.visit(model, tokenizer(), PROMPT, lens="calibrated")
    assert again.lens == "calibrated"
    assert "Calibrating" not in capsys.readouterr().err, "it is kept"


def test_the_panel_hears_what_the_other_lenses_make_of_a_node(model):
    widget = vw.visit(model, tokenizer(), PROMPT)
    answers: list[dict[str, Any]] = []
    widget._desk.send = answers.append
    widget._desk.receive(
        {"kind": "visit-request", "id": "a", "method": "project", "params": {"nodes": ["L1.mlp"]}}
    )
    detail = answers[-1]["result"]["nodes"]["L1.mlp"]
    assert detail["unit"] == "nats"
    assert detail["target"] is None
    (reading,) = detail["readings"]
    assert (reading["lens"], reading["unit"]) == ("logit", "logit")
    said = vw.LogitLens(model).project(widget.trace.mlp_output(1)[None], 5, 5)
    assert [t["id"] for t in reading["top"]] == said.top_ids[0].tolist()
    assert [t["id"] for t in reading["bottom"]] == said.bottom_ids[0].tolist()


def test_the_lens_is_part_of_the_view(model):
    widget = vw.visit(model, tokenizer(), PROMPT, lens="logit")
    state = widget.view_state
    assert state["lens"] == "logit"
    assert vw.visit(model, tokenizer(), view_state=state).lens == "logit"
    del state["lens"]
    assert vw.visit(model, tokenizer(), view_state=state).lens == "local", "an older state"
    with pytest.raises(vw.VisitError, match="'lens' is a name"):
        vw.visit(model, tokenizer(), view_state={**state, "lens": 3})


def test_a_model_without_derivatives_is_read_by_the_logit_lens(model, monkeypatch):
    def refuse(*_: Any) -> None:
        raise vw.VisitError("No derivative can be taken.")

    monkeypatch.setattr("visit_widget.lens.local.gradients", refuse)
    trace = vw.trace(model, tokenizer(), PROMPT)
    assert trace.flow().lens == "logit"
    with pytest.raises(vw.VisitError, match="No derivative"):
        trace.flow(lens="local")


def test_routes_are_read_by_a_lens_that_knows_every_position(model):
    trace = vw.trace(model, tokenizer(), PROMPT)
    graph = trace.routes(measure="logit")
    assert graph.lens == "logit"
    assert {n.unit for n in graph.nodes if n.label is not None} == {"logit"}


def test_half_precision_reads_alike():
    """Effects by token, of the same part in both."""
    wide, half = (make_speaker("llama").to(d) for d in (torch.float32, torch.bfloat16))
    part = vw.trace(wide, tokenizer(), PROMPT).mlp_output(0)
    found = []
    for model in (wide, half):
        lens = vw.LocalLens(model, likely=10).at(vw.trace(model, tokenizer(), PROMPT), -1)
        said = lens.project(part[None], 10, layer=0, site="mlp")
        found.append(dict(zip(said.top_ids[0].tolist(), said.top_logits[0].tolist(), strict=True)))
    common = [t for t in found[0] if t in found[1]]
    assert len(common) >= 7
    ours, theirs = (torch.tensor([f[t] for t in common]) for f in found)
    assert float((ours - theirs).norm() / ours.norm()) < 0.1
