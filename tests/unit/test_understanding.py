"""Blocks are understood kind by kind, on copies, and held against the running model."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
import transformers
from torch import nn

import visit_widget as vw
from visit_widget.model import UnsupportedModelError, anatomy_of, blocks, replica
from visit_widget.model.kinds import kinds_of
from visit_widget.model.plan import Plan
from visit_widget.model.verify import verify
from visit_widget.model.watch import watch

SIZES = {
    "vocab_size": 61, "hidden_size": 32, "intermediate_size": 40, "num_hidden_layers": 4,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64,
    "pad_token_id": None,
}  # fmt: skip
IDS = torch.tensor([[3, 17, 42, 5, 60, 1]])


def llama(dtype=torch.float32, seed=0, cls=transformers.LlamaForCausalLM, **changes):
    torch.manual_seed(seed)
    model = cls(cls.config_class(**{**SIZES, **changes})).eval()
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim == 1:
                weight.add_(0.2 * torch.randn_like(weight))
    return model.to(dtype)


@pytest.fixture
def nothing_known(monkeypatch):
    monkeypatch.setattr(blocks, "_plans", type(blocks._plans)())


@pytest.fixture
def copies(monkeypatch, nothing_known):
    """The classes of the blocks that are copied."""
    made = []

    def deepcopy(value, memo=None):
        made.append(type(value).__name__)
        return copy.deepcopy(value, memo)

    monkeypatch.setattr(replica, "copy", type("Copy", (), {"deepcopy": staticmethod(deepcopy)}))
    return made


def test_blocks_that_differ_only_in_their_number_are_of_one_kind():
    kinds = kinds_of(llama().model.layers)
    assert len(set(kinds)) == 1


def test_blocks_with_another_setting_are_of_another_kind():
    model = llama(
        cls=transformers.Qwen2ForCausalLM, use_sliding_window=True, sliding_window=4,
        max_window_layers=2,
    )  # fmt: skip
    kinds = kinds_of(model.model.layers)
    assert kinds[0] == kinds[1] != kinds[2] == kinds[3]
    wide = kinds_of([*model.model.layers, llama(hidden_size=64).model.layers[0]])
    assert wide[4] not in wide[:4]


def test_a_shape_is_copied_once_in_a_process(copies):
    assert anatomy_of(llama(torch.bfloat16)).notes == ()
    assert copies == ["LlamaDecoderLayer"]
    anatomy_of(llama(torch.bfloat16, seed=1))
    assert copies == ["LlamaDecoderLayer"]
    anatomy_of(llama(torch.bfloat16, hidden_size=64))
    assert copies == ["LlamaDecoderLayer"] * 2


def test_the_model_is_left_as_it_was(nothing_known):
    model = llama(torch.bfloat16)
    before = {name: t.clone() for name, t in model.state_dict().items()}
    config = model.config.to_dict()
    anatomy_of(model)
    assert model.config.to_dict() == config
    assert all(torch.equal(before[name], t) for name, t in model.state_dict().items())
    assert {t.dtype for t in model.state_dict().values()} == {torch.bfloat16}
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_a_plan_of_one_block_names_the_parts_of_another():
    model = llama()
    one, two = anatomy_of(model).blocks[:2]
    found = Plan(one).of(two.block)
    assert found == two
    assert found.mlp is model.model.layers[1].mlp


def test_a_factor_that_a_block_keeps_is_read_from_each_block(nothing_known):
    granite = llama(cls=transformers.GraniteForCausalLM, residual_multiplier=0.22)
    for n, layer in enumerate(granite.model.layers):
        layer.residual_multiplier = 0.2 + n / 100
    scales = [part.mlp_join.scale for part in anatomy_of(granite).blocks]
    assert scales == [layer.residual_multiplier for layer in granite.model.layers]


WRONG = {
    "a missing scale": lambda part: replace(part, mlp_join=replace(part.mlp_join, scale=1.0)),
    "a scale that is 2 % off": lambda part: replace(
        part, mlp_join=replace(part.mlp_join, scale=part.mlp_join.scale * 1.02)
    ),
    "no MLP": lambda part: replace(part, mlp=None, mlp_norm=None),
    "norms swapped": lambda part: replace(
        part, attention_norm=part.mlp_norm, mlp_norm=part.attention_norm
    ),
    "parallel": lambda part: replace(part, parallel=True),
    "another attention": lambda part: replace(part, output_projection=part.down_projection),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("width", [32, 256])
def test_what_is_wrong_in_a_block_shows_in_its_own_dtype(wrong, dtype, width):
    model = llama(
        dtype, cls=transformers.GraniteForCausalLM, residual_multiplier=0.8, hidden_size=width,
        initializer_range=0.3,
    )  # fmt: skip
    part = anatomy_of(model).blocks[1]
    seen = watch(model, IDS)
    found = verify(part, seen)
    assert found.wrong == ""
    assert found.certain
    assert verify(WRONG[wrong](part), seen).wrong


def test_the_power_of_the_check_falls_with_the_size_of_a_part():
    loud, low = (llama(torch.bfloat16, initializer_range=s) for s in (0.3, 0.002))
    with torch.no_grad():
        low.model.embed_tokens.weight.mul_(1000)
    powers = [verify(anatomy_of(m).blocks[1], watch(m, IDS)).power for m in (loud, low)]
    assert powers[0] > 4 > powers[1]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("size", [1e-3, 1.0])
def test_a_softcap_shows_however_small_the_logits_are(dtype, size):
    model = llama(
        dtype, cls=transformers.Gemma2ForCausalLM, head_dim=8, final_logit_softcapping=30.0
    )
    with torch.no_grad():
        model.model.norm.weight.fill_(size - 1)
    assert anatomy_of(model).softcap == 30.0
    assert anatomy_of(llama(dtype)).softcap is None


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_scales_around_the_unembedding_are_those_of_the_config(dtype):
    anatomy = anatomy_of(llama(dtype, cls=transformers.GraniteForCausalLM, logits_scaling=7.0))
    assert anatomy.logit_scale == pytest.approx(1 / 7, rel=1e-12)


def test_a_block_that_cannot_be_copied_is_understood_on_its_own(monkeypatch, nothing_known):
    class Uncopyable(nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def forward(self, x):
            return self.inner(x)

        def __deepcopy__(self, memo):
            raise RuntimeError("no copies of this")

    model = llama()
    plain = vw.trace(model, None, IDS).logit_parts(5)
    for layer in model.model.layers:
        layer.mlp = Uncopyable(layer.mlp)
    wrapped = vw.trace(model, None, IDS)
    assert "4 of 4 layers could not be copied" in wrapped.anatomy.notes[0]
    assert wrapped.logit_parts(5) == pytest.approx(plain, rel=1e-4, abs=1e-6)


def test_a_block_that_is_no_sum_is_refused_with_a_sentence():
    model = llama()

    def crooked(_module, _args, output):
        return output + 0.1 * output.square()

    model.model.layers[2].register_forward_hook(crooked)
    with pytest.raises(UnsupportedModelError, match=r"[Bb]lock 2"):
        vw.trace(model, None, IDS)
