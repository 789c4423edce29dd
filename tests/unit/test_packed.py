"""Weights that are kept in buffers (GPTQ, AWQ and their kind): packed, scaled, and made into
numbers when the module runs.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

import visit_widget as vw
from tests.tiny import PROMPT_IDS, make_model
from visit_widget.model.linear import input_dtype, linear_map
from visit_widget.model.loaded import coarsest_dtype
from visit_widget.model.watch import device_of

IDS = torch.tensor([PROMPT_IDS])
SIZES: dict[str, Any] = {"hidden_size": 24, "intermediate_size": 32}


class PackedLinear(nn.Module):
    """Eight numbers of four bits in each int32, a scale for each output: buffers only."""

    qweight: Tensor
    scales: Tensor
    bias: Tensor | None

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        weight = linear.weight.detach().double()
        scales = weight.abs().amax(1) / 7
        numbers = (weight / scales[:, None]).round().clamp(-8, 7).to(torch.int64) + 8
        packed = (numbers.unflatten(1, (-1, 8)) << (4 * torch.arange(8))).sum(-1)
        self.register_buffer("qweight", packed.to(torch.int32).T.contiguous())
        self.register_buffer("scales", scales.to(linear.weight.dtype))
        bias = None if linear.bias is None else linear.bias.detach().clone()
        self.register_buffer("bias", bias)

    def matrix(self) -> Tensor:
        """(n_in, n_out)."""
        numbers = (self.qweight[:, None] >> (4 * torch.arange(8, dtype=torch.int32)[:, None])) & 15
        return (numbers.flatten(0, 1) - 8).to(self.scales.dtype) * self.scales

    def forward(self, x: Tensor) -> Tensor:
        said = x @ self.matrix().to(x.dtype)
        return said if self.bias is None else said + self.bias.to(x.dtype)


def packed(model: PreTrainedModel, *only: str) -> PreTrainedModel:
    """The model with its linear modules packed, but for the head."""
    for name, module in list(model.named_modules()):
        for child, inner in list(module.named_children()):
            path = f"{name}.{child}"
            wanted = type(inner) is nn.Linear and child != "lm_head"
            if wanted and (not only or path.endswith(only)):
                setattr(module, child, PackedLinear(inner))
    return model


def weights_to_buffers(module: nn.Module) -> None:
    for name, weight in list(module.named_parameters(recurse=False)):
        delattr(module, name)
        module.register_buffer(name, weight.detach())


def check(model: PreTrainedModel) -> vw.Trace:
    with torch.no_grad():
        says = model(IDS, use_cache=False).logits[0, -1].float()
    trace = vw.trace(model, None, PROMPT_IDS)
    audit = trace.audit()
    assert audit.exact, audit
    said, cap = trace.logits(), trace.anatomy.softcap
    capped = said if cap is None else torch.tanh(said / cap) * cap
    assert (capped - says).norm() <= audit.tolerance * says.norm()
    target = int(says.argmax())
    for by in ("component", "head", "neuron"):
        total = sum(trace.logit_parts(target, by=by).values())
        assert abs(total - float(said[target])) <= 20 * audit.tolerance * float(said.abs().max())
    assert trace.flow(target=target, layers=[0, 1]).nodes
    assert bool(trace.query_directions(1).isfinite().all())
    assert trace.neuron_directions(1, [0]).shape == (1, trace.d_model)
    return trace


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("family", ["llama", "gemma2"])
def test_a_packed_model_is_traced_exactly(family: str, dtype: torch.dtype) -> None:
    check(packed(make_model(family, torch.float32, "eager", **SIZES)).to(dtype))


@pytest.mark.parametrize(
    "only", [("o_proj",), ("down_proj",), ("gate_proj", "up_proj"), ("q_proj", "v_proj")]
)
def test_some_parts_packed(only: tuple[str, ...]) -> None:
    check(packed(make_model("llama", torch.float32, "sdpa", **SIZES), *only))


def test_scales_of_another_dtype_than_the_stream() -> None:
    model = packed(make_model("llama", torch.float32, "sdpa", **SIZES))
    for module in model.modules():
        if isinstance(module, PackedLinear):
            module.scales = module.scales.half()
    check(model)


@pytest.mark.parametrize("part", ["embed_tokens", "norm", "input_layernorm", "lm_head", "every"])
def test_a_weight_in_a_buffer_is_found(part: str) -> None:
    model = make_model("llama", torch.float32, "sdpa")
    for name, module in list(model.named_modules()):
        if part == "every" or name.rpartition(".")[2] == part:
            weights_to_buffers(module)
    check(model)


def test_a_model_all_of_whose_weights_are_in_buffers_in_half_precision() -> None:
    model = packed(make_model("llama", torch.float32, "sdpa", **SIZES)).to(torch.bfloat16)
    for module in list(model.modules()):
        weights_to_buffers(module)
    assert not list(model.parameters())
    check(model)


class PackedEmbedding(nn.Module):
    """A table of bytes, with a scale for each token."""

    numbers: Tensor
    scales: Tensor

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        scales = weight.abs().amax(1, keepdim=True) / 127
        self.register_buffer("scales", scales)
        self.register_buffer("numbers", (weight / scales).round().to(torch.int8))

    def forward(self, ids: Tensor) -> Tensor:
        return self.numbers[ids] * self.scales[ids]


def test_packed_tables_on_both_ends() -> None:
    model = make_model("llama", torch.float32, "sdpa", **SIZES)
    model.lm_head = PackedLinear(model.lm_head)
    model.model.embed_tokens = PackedEmbedding(model.model.embed_tokens.weight.detach())
    check(packed(model))
    with pytest.raises(vw.VisitError, match="outside the model's vocabulary of 61"):
        vw.trace(model, None, [3, 61])


def test_what_a_packed_module_computes_in_is_read_off_its_buffers() -> None:
    linear = nn.Linear(16, 5)
    module = PackedLinear(linear).to(torch.bfloat16)
    assert device_of(module) == torch.device("cpu")
    assert input_dtype(module, torch.float64) == torch.bfloat16
    assert coarsest_dtype(module, torch.float32) == torch.bfloat16
    matrix, bias = linear_map(PackedLinear(linear), 16, torch.float32)
    assert torch.allclose(matrix, PackedLinear(linear).matrix(), atol=1e-6)
    assert bias is not None
    assert torch.allclose(bias, linear.bias.detach(), atol=1e-6)
