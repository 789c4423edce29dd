"""Lenses that a reader has fitted from the page: on a thread, with progress, and called off."""

from __future__ import annotations

import threading
from time import monotonic, sleep
from typing import Any

import pytest
import torch

import visit_widget as vw
from tests.tiny import make_speaker, tokenizer
from visit_widget.widget import requests

PROMPT = "the cat sat on the mat"


@pytest.fixture
def widget() -> Any:
    return vw.visit(make_speaker("llama"), tokenizer(), PROMPT)


@pytest.fixture
def told(widget, monkeypatch) -> list[dict[str, Any]]:
    """What the page is told."""
    messages: list[dict[str, Any]] = []
    widget._desk.send = messages.append
    monkeypatch.setattr(requests, "TELLS_EVERY", 0.0)
    return messages


def ask(widget: Any, lens: str, request_id: str = "f") -> None:
    message = {"kind": "visit-request", "id": request_id, "method": "fit_lens"}
    widget._desk.receive({**message, "params": {"lens": lens}})


def wait_until(holds: Any, seconds: float = 60) -> None:
    end = monotonic() + seconds
    while not holds():
        assert monotonic() < end, "it never came"
        sleep(0.01)


def answered(told: list[dict[str, Any]], request_id: str = "f") -> dict[str, Any]:
    def found() -> list[dict[str, Any]]:
        mine = [m for m in told if m["id"] == request_id]
        return [m for m in mine if m["kind"] == "visit-response"]

    wait_until(found)
    (answer,) = found()
    return answer


def before_each_passage(widget: Any, act: Any) -> Any:
    """Has something happen whenever a fit tells how far it is; gives what fits as it was."""
    fits = widget._desk.aside["fit_lens"]

    def acting(lens: str, progress: Any) -> Any:
        def tell(done: int, total: int) -> None:
            act()
            progress(done, total)

        return fits(lens, tell)

    widget._desk.aside["fit_lens"] = acting
    return fits


@pytest.mark.parametrize("name", ["jacobian", "calibrated", "tuned"])
def test_it_is_fitted_as_a_cell_would_and_can_be_read_with(widget, told, name):
    model = widget.trace.model
    ask(widget, name)
    answer = answered(told)
    assert answer["result"] == {"lenses": ["local", "logit", name]}
    assert widget.lenses == ["local", "logit", name]
    steps = [(m["done"], m["total"]) for m in told if m["kind"] == "visit-progress"]
    assert steps == sorted(steps)
    assert len(steps) > 3
    widget.set_state({"lens": name})
    assert widget.lens == widget.graph["lens"] == name
    kind = {"jacobian": vw.JacobianLens, "calibrated": vw.CalibratedLens, "tuned": vw.TunedLens}
    by_hand = kind[name].fit(model, tokenizer(), progress=False, cache=False)
    vectors = widget.trace.residual(0)
    ours = widget._session.lens(name).project(vectors, 3, layer=0)
    theirs = by_hand.project(vectors, 3, layer=0)
    assert torch.equal(ours.top_ids, theirs.top_ids)


def test_the_kernel_meets_other_requests_meanwhile_and_can_be_told_to_stop(widget, told):
    begun, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        begun.set()
        assert go_on.wait(30)

    fits = before_each_passage(widget, hold)
    ask(widget, "jacobian")
    assert begun.wait(30)
    widget._desk.receive(
        {"kind": "visit-request", "id": "e", "method": "expand", "params": {"layer": 0}}
    )
    assert answered(told, "e")["ok"]
    widget.focus = 2
    assert widget.graph["position"] == 2
    widget._desk.receive({"kind": "visit-cancel", "id": "f"})
    go_on.set()
    wait_until(lambda: not fits._one.locked())
    sleep(0.05)
    assert [m for m in told if m["id"] == "f" and m["kind"] == "visit-response"] == []
    assert widget.lenses == ["local", "logit"]
    widget._desk.aside["fit_lens"] = fits
    ask(widget, "jacobian", "again")
    assert answered(told, "again")["ok"], "what was called off can be asked for again"


def test_a_closed_widget_fits_nothing_more(widget, told):
    begun = threading.Event()

    def note() -> None:
        begun.set()
        sleep(0.01)

    fits = before_each_passage(widget, note)
    ask(widget, "jacobian")
    assert begun.wait(30)
    widget.close()
    wait_until(lambda: not fits._one.locked())
    assert [m for m in told if m["kind"] == "visit-response"] == []


def test_it_is_fitted_once_however_often_it_is_asked_for(widget, told, monkeypatch):
    passages: list[int] = []
    ask(widget, "calibrated")
    answered(told)
    monkeypatch.setattr(vw.CalibratedLens, "fit", lambda *_a, **_k: passages.append(1))
    ask(widget, "calibrated", "again")
    assert answered(told, "again")["ok"]
    assert passages == []


@pytest.mark.parametrize(
    ("lens", "sentence"), [("logit", "needs no fitting"), ("glass", "needs no fitting")]
)
def test_what_cannot_be_fitted_is_said(widget, told, lens, sentence):
    ask(widget, lens)
    answer = answered(told)
    assert not answer["ok"]
    assert sentence in answer["error"]["message"]


def test_a_model_without_derivatives_is_said(widget, told, monkeypatch):
    def none(*_: Any, **__: Any) -> Any:
        raise vw.VisitError("No derivative can be taken through this model.")

    monkeypatch.setattr(vw.JacobianLens, "fit", none)
    ask(widget, "jacobian")
    assert answered(told)["error"]["message"] == "No derivative can be taken through this model."
    assert widget.lenses == ["local", "logit"]


def test_a_prompt_without_a_tokenizer_says_how(told):
    ids = torch.tensor([[1, 2, 3, 4]])
    widget = vw.visit(make_speaker("gpt2"), None, ids)
    messages: list[dict[str, Any]] = []
    widget._desk.send = messages.append
    ask(widget, "jacobian")
    assert "takes token ids" in answered(messages)["error"]["message"]
