"""Weights that are packed into buffers, as GPTQ and AWQ keep them."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import visit_widget as vw
from tests.families.configs import PROMPT, build
from tests.families.sweep import quiet


class Packed(nn.Module):
    """A linear map of 4 bits in 32, with a scale and a zero for each row; no parameter at all."""

    def __init__(self, linear, dtype):
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        weight = linear.weight.detach().float()
        low, high = weight.amin(1, keepdim=True), weight.amax(1, keepdim=True)
        scales = (high - low) / 15
        levels = ((weight - low) / scales).round().clamp(0, 15).to(torch.int32)
        shifts = torch.arange(0, 32, 4, dtype=torch.int32)
        self.register_buffer("qweight", (levels.unflatten(1, (-1, 8)) << shifts).sum(-1).int())
        self.register_buffer("scales", scales.to(dtype))
        self.register_buffer("zeros", low.to(dtype))
        self.register_buffer("shifts", shifts)
        self.register_buffer("bias", None if linear.bias is None else linear.bias.detach())

    def forward(self, x):
        levels = (self.qweight[..., None] >> self.shifts & 15).flatten(1)
        weight = levels.to(x.dtype) * self.scales.to(x.dtype) + self.zeros.to(x.dtype)
        return nn.functional.linear(x, weight, self.bias)


def packed(model, dtype, only=""):
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.Linear) and only in name and name != "lm_head":
                setattr(module, name, Packed(child, dtype))
    return model


@pytest.mark.parametrize("only", ["", "down_proj"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
def test_a_packed_model_is_traced_exactly(dtype, only):
    with quiet():
        model = packed(build("llama", dtype), dtype, only)
    assert any(isinstance(m, Packed) for m in model.modules())
    trace = vw.trace(model, None, PROMPT)
    audit = trace.audit()
    assert audit.exact, str(audit)
    with torch.no_grad():
        said = model(torch.tensor([PROMPT])).logits[0, -1].float()
    for by in ("head", "neuron"):
        parts = trace.logit_parts(5, by=by)
        assert sum(parts.values()) == pytest.approx(float(said[5]), rel=1e-4, abs=1e-4)
    assert trace.flow(layers=[0, 1]).nodes
    assert trace.query_directions(1).isfinite().all()


def test_a_norm_and_an_embedding_without_parameters():
    with quiet():
        model = build("llama", torch.float32)
    whole = vw.trace(model, None, PROMPT).logit_parts(5, by="head")
    for module in model.modules():
        for name, weight in list(module._parameters.items()):
            if weight is not None and (weight.ndim == 1 or isinstance(module, nn.Embedding)):
                del module._parameters[name]
                module.register_buffer(name, weight.detach())
    assert vw.trace(model, None, PROMPT).logit_parts(5, by="head") == pytest.approx(whole)
