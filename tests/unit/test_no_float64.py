"""Devices without float64 (Apple's GPU): emulated here by refusing every operation that gives a
float64 tensor.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import visit_widget as vw
from tests.tiny import PROMPT_IDS, make_model, make_speaker, tokenizer
from visit_widget.lens.lens import LogitLens
from visit_widget.model.discover import discover

DTYPES = [torch.float32, torch.float16, torch.bfloat16]
FAMILIES = ["llama", "gpt2", "gemma2"]


class NoFloat64(TorchDispatchMode):
    """As such a device does it."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(given):
            if isinstance(leaf, Tensor) and leaf.dtype in (torch.float64, torch.complex128):
                raise TypeError(f"Cannot convert a tensor to float64: {func} on such a device.")
        return given


def tiny(family: str, dtype: torch.dtype) -> Any:
    return make_model(family, torch.float32, "eager" if family == "gemma2" else "sdpa").to(dtype)


def test_the_emulated_device_refuses_float64() -> None:
    with NoFloat64():
        assert torch.ones(2).sum() == 2
        for make in (lambda: torch.ones(2).double(), lambda: torch.zeros(1, dtype=torch.float64)):
            with pytest.raises(TypeError, match="float64"):
                make()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("family", FAMILIES)
def test_everything_of_a_trace(family: str, dtype: torch.dtype) -> None:
    model = tiny(family, dtype)
    anatomy = discover(model)
    with NoFloat64():
        trace = vw.trace(model, None, PROMPT_IDS, anatomy=anatomy)
        weights = trace.attention(1)
        parts = trace.head_parts(1)
        assert trace.neurons(1).shape == (trace.d_mlp,)
        assert trace.neuron_values(1).isfinite().all()
        assert trace.neuron_directions(1, [0, 1]).isfinite().all()
        assert trace.query_directions(1).isfinite().all()
        assert trace.key_directions(1).isfinite().all()
        target, foil = (int(i) for i in trace.logits().topk(2).indices)
        sums = {
            by: trace.logit_parts(target, foil, by=by) for by in ("component", "head", "neuron")
        }
        assert trace.flow(target=target, foil=foil, layers=[0, 1, 2]).nodes
        assert trace.routes(target=target).nodes
        audit = trace.audit()
        lens = LogitLens(model)
        top = lens.project(trace.residual(1), k=3)
    assert audit.exact, audit
    assert top is not None
    torch.testing.assert_close(weights.sum(-1), torch.ones(len(weights)), rtol=1e-3, atol=1e-3)
    assert parts.dtype == torch.float32
    usual = vw.trace(model, None, PROMPT_IDS, anatomy=anatomy)
    torch.testing.assert_close(parts, usual.head_parts(1), rtol=1e-4, atol=1e-4)
    gap = float(usual.logits()[target] - usual.logits()[foil])
    for found in sums.values():
        assert sum(found.values()) == pytest.approx(gap, rel=audit.tolerance, abs=0.05)


REQUESTS: dict[str, dict[str, Any]] = {
    "expand": {"layer": 1},
    "project": {"nodes": ["L1.H0", "L1.mlp"]},
    "routes": {},
    "attribution": {},
    "predictions": {},
    "audit": {},
    "vocabulary": {"query": "cat"},
}


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_the_widget_and_its_requests(dtype: torch.dtype) -> None:
    model = make_speaker("llama").to(dtype)
    anatomy = discover(model)
    answers: list[dict[str, Any]] = []
    with NoFloat64():
        widget = vw.visit(model, tokenizer(), "the cat", anatomy=anatomy, layers=[1])
        widget.prompt = "the dog ran"
        widget.measure = "proximity"
        widget._desk.send = answers.append
        for method, params in REQUESTS.items():
            asked = {"kind": "visit-request", "id": method, "method": method, "params": params}
            widget._desk.receive(asked)
    assert widget.status["state"] == "ready", widget.status
    assert [answer["id"] for answer in answers] == list(REQUESTS)
    assert all(answer["ok"] for answer in answers), answers


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("family", FAMILIES)
def test_discovery_too(family: str, dtype: torch.dtype) -> None:
    model = tiny(family, dtype)
    with NoFloat64():
        found = discover(model)
        assert vw.trace(model, None, PROMPT_IDS, anatomy=found).audit().exact
    usual = discover(model)
    assert found.d_mlp == usual.d_mlp
    assert len(found.blocks) == len(usual.blocks)
