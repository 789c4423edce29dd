"""On a device that has no float64, as Apple's GPU, nothing is computed in it."""

from __future__ import annotations

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import visit_widget as vw
from tests.families.configs import PROMPT, build
from tests.families.sweep import quiet
from visit_widget.model import blocks


class WithoutFloat64(TorchDispatchMode):
    """Refuses whatever gives numbers of float64."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, torch.Tensor) and leaf.dtype in (torch.float64, torch.complex128):
                raise TypeError(
                    f"Cannot convert a tensor to float64: the device has none ({func})."
                )
        return result


@pytest.mark.parametrize(
    ("family", "dtype"),
    [
        ("llama", torch.float32), ("llama", torch.float16), ("gpt_neox", torch.bfloat16),
        ("gemma2", torch.bfloat16), ("mixtral", torch.float32), ("gptj", torch.float16),
    ],
    ids=str,
)  # fmt: skip
def test_everything_works_without_float64(family, dtype, monkeypatch):
    monkeypatch.setattr(blocks, "_plans", type(blocks._plans)())
    with quiet():
        model = build(family, dtype)
        expected = vw.trace(model, None, PROMPT).logit_parts(5, foil=9, by="head")
        monkeypatch.setattr(blocks, "_plans", type(blocks._plans)())
        again = build(family, dtype)
        with WithoutFloat64():
            trace = vw.trace(again, None, PROMPT)
            assert trace.audit().exact
            found = trace.logit_parts(5, foil=9, by="head")
            assert trace.attention(1).sum() > 0
            assert trace.head_parts(1).isfinite().all()
            assert trace.neurons(1).isfinite().all()
            assert trace.query_directions(1).isfinite().all()
            assert trace.key_directions(1, 3).isfinite().all()
            assert trace.logit_parts([5, 7], by="neuron")
            assert trace.flow(layers=[0, 1], measure="proximity").nodes
            assert trace.routes(measure="logit").attribution
            assert vw.LogitLens(again).project(trace.residual(1), 3)
            widget = vw.visit(again, None, PROMPT)
            widget.focus = 3
            session = widget._session
            assert session.expand(1)["nodes"]
            assert session.project(["L1.attn"])["nodes"]
            assert session.audit()["exact"]
            assert session.predictions()["positions"]
    assert found == pytest.approx(expected, rel=1e-3, abs=1e-4)
