"""Routes of long prompts: nothing of T² · n_heads · d_model numbers is made on the way."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import visit_widget as vw
from tests.tiny import N_VOCAB, make_model
from visit_widget.flow import Painter

N_TOKENS = 48
EVERYTHING = vw.Keep(routes=vw.Limit(threshold=0))


class _Largest(TorchDispatchMode):
    """Notes the most numbers that an operation has made."""

    def __init__(self) -> None:
        super().__init__()
        self.numel = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for tensor in made if isinstance(made, (tuple, list)) else (made,):
            if isinstance(tensor, Tensor):
                # What is only looked at another way takes no memory.
                self.numel = max(self.numel, tensor.untyped_storage().nbytes() // 4)
        return made


@contextmanager
def largest() -> Iterator[_Largest]:
    with _Largest() as seen:
        yield seen


def traced(family: str) -> vw.Trace:
    changes = {"n_positions": N_TOKENS} if family == "gpt2" else {}
    changes = changes or {"max_position_embeddings": N_TOKENS}
    model = make_model(family, dtype=torch.float32, **changes)
    ids = torch.arange(N_TOKENS) * 7 % N_VOCAB
    return vw.trace(model, None, ids)


@pytest.mark.parametrize("measure", ["logit", "share", "norm", "proximity", "effect", "linear"])
@pytest.mark.parametrize("family", ["gpt2", "llama", "llama-head-bias", "gemma2"])
def test_all_routes_of_a_long_prompt_take_little_memory(family, measure, monkeypatch):
    trace = traced(family)
    too_much = N_TOKENS**2 * trace.n_heads * trace.d_model
    painter = Painter(trace, measure=measure, keep=EVERYTHING)
    monkeypatch.setattr("visit_widget.flow.walk.NUMBERS_AT_ONCE", too_much // 16)
    with largest() as seen:
        walk = painter._walk(measure)
        stages = sum(1 for _ in walk)
    assert stages >= trace.n_layers
    assert len(walk.embeddings) == N_TOKENS, "all of it was walked"
    assert 0 < seen.numel <= too_much // 4


def test_streams_are_looked_at_in_turns(monkeypatch):
    """However many streams are live, so many rows of attention at most are made at once."""
    whole = Painter(traced("llama"), measure="logit", keep=EVERYTHING).attribution()
    monkeypatch.setattr("visit_widget.flow.walk.WEIGHTS_AT_ONCE", 5 * 4 * N_TOKENS)
    monkeypatch.setattr("visit_widget.flow.walk.NUMBERS_AT_ONCE", 1000)
    trace = traced("llama")
    walk = Painter(trace, measure="logit", keep=EVERYTHING)._walk("logit")
    sizes = [len(stage.positions) for stage in walk]
    assert max(sizes) == 5
    turns = Painter(trace, measure="logit", keep=EVERYTHING).attribution()
    for name in ("bias", "rest", "total"):
        assert turns[name] == pytest.approx(whole[name], abs=1e-4)
    for mine, theirs in zip(turns["tokens"], whole["tokens"], strict=True):
        assert mine["value"] == pytest.approx(theirs["value"], abs=1e-4)
        assert mine["direct"] == pytest.approx(theirs["direct"], abs=1e-4)


def test_more_parts_than_can_be_drawn_are_refused_in_a_sentence(monkeypatch):
    monkeypatch.setattr("visit_widget.flow.routes.PARTS_LIMIT", 100)
    trace = traced("llama")
    with pytest.raises(vw.VisitError, match="more than 100 parts: raise the threshold"):
        trace.routes(keep=EVERYTHING)
    assert len(trace.routes(keep=vw.Keep(routes=vw.Limit(threshold=0.2))).nodes) < 100
