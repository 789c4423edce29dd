"""A study over processes that torchrun starts is the study of one process."""

from __future__ import annotations

import pytest
import torch
from torch import distributed
from transformers import AutoModelForCausalLM

import visit_widget as vw
from tests.tiny import make_model
from tests.two_processes import in_two, needs_sharding
from tests.unit.test_study import PROMPTS, close, lengths

pytestmark = pytest.mark.slow


def heads(trace):
    """A finding of parts that lie on several processes where a model is sharded."""
    return [
        {"layer": n, "head": h, "norm": float(x)}
        for n in range(trace.n_layers)
        for h, x in enumerate(trace.head_outputs(n).norm(dim=-1))
    ]


def studied(folder, started):
    """One process's share: (what the study holds in the end, the prompts it ran itself)."""
    if started:
        distributed.init_process_group("gloo")
    own = []

    def counts(trace):
        own.append(len(trace))
        return lengths(trace)

    counts.__name__ = "lengths"
    model = make_model("llama", implementation="sdpa")
    found = vw.study(model, None, PROMPTS, [counts], batch_size=2, folder=folder, progress=False)
    still = distributed.is_initialized()
    if started:
        distributed.destroy_process_group()
    return found["lengths"], found.prompts, own, still


def failing():
    """The second process meets a prompt that its finding cannot take."""
    import os

    def fails(trace):
        if os.environ["RANK"] == "1":
            raise ValueError("no such luck")
        return lengths(trace)

    model = make_model("llama", implementation="sdpa")
    try:
        vw.study(model, None, PROMPTS, {"x": fails}, batch_size=2, progress=False)
    except (ValueError, vw.VisitError) as error:
        return type(error).__name__, str(error)
    return None


def of_a_sharded_model(path):
    """Both processes hold one model: they take the same prompts, and the first writes."""
    model = AutoModelForCausalLM.from_pretrained(path, tp_plan="auto", dtype=torch.float64).eval()
    found = vw.study(model, None, PROMPTS, [heads], batch_size=3, progress=False)
    distributed.destroy_process_group()
    return found["heads"], found.prompts, found.notes


@pytest.mark.parametrize(("started", "keeps"), [(False, True), (True, False)])
def test_two_processes_share_a_study(tmp_path, started, keeps):
    model = make_model("llama", implementation="sdpa")
    expected = vw.study(model, None, PROMPTS, [lengths], progress=False)
    folder = tmp_path / "study" if keeps else None
    ran = []
    for rows, prompts, own, still in in_two(studied, tmp_path, folder, started):
        close(rows, expected["lengths"])
        close(prompts, expected.prompts)
        ran.append(own)
        assert still == started
    # Batches in turn: neither ran what the other did.
    assert sorted(ran[0] + ran[1]) == sorted(map(len, PROMPTS))
    assert [len(own) for own in ran] == [4, 2]
    if keeps:
        # One process goes on with what two have begun.
        again = vw.study(model, None, PROMPTS, [lengths], folder=folder, progress=False)
        close(again["lengths"], expected["lengths"])


def test_a_failure_is_told_to_all(tmp_path):
    first, second = in_two(failing, tmp_path)
    assert second == ("ValueError", "no such luck")
    assert first[0] == "VisitError"
    assert "Process 1 of 2" in first[1]
    assert "no such luck" in first[1]


@needs_sharding
def test_processes_that_share_a_model_study_the_same_prompts(tmp_path):
    make_model("llama").save_pretrained(tmp_path / "model")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "model", dtype=torch.float64).eval()
    expected = vw.study(model, None, PROMPTS, [heads], progress=False)
    for rows, prompts, notes in in_two(of_a_sharded_model, tmp_path, str(tmp_path / "model")):
        close(rows, expected["heads"])
        close(prompts, expected.prompts)
        assert notes == []
