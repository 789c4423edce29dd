"""Attention functions that apply windows of their own accord: right rows, or refused."""

from __future__ import annotations

import pytest
import torch
import transformers
from transformers import AttentionInterface, AttentionMaskInterface

import visit_widget as vw
from tests.families.sweep import quiet
from visit_widget.model import UnsupportedModelError

IDS = [(7 * n) % 60 for n in range(24)]
WINDOW = 6


def mistral(implementation, dtype=torch.float32):
    torch.manual_seed(0)
    config = transformers.MistralConfig(
        vocab_size=61, hidden_size=32, intermediate_size=40, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, sliding_window=WINDOW, initializer_range=0.3,
    )  # fmt: skip
    model = transformers.MistralForCausalLM(config).eval().to(dtype)
    with quiet():
        model.set_attn_implementation(implementation)
    return model


def register(name, sees, scale=1.0):
    """An attention function that gets no mask: a query i sees what `sees` says of i − j."""

    def attend(module, query, key, value, mask, scaling=None, sliding_window=None, **_):
        n = query.shape[1] // key.shape[1]
        key, value = (t.repeat_interleave(n, 1) for t in (key, value))
        at = torch.arange(query.shape[2])
        seen = sees(at[:, None] - at, sliding_window)
        mixed = torch.nn.functional.scaled_dot_product_attention(
            query, key, value, attn_mask=seen, scale=scaling * scale
        )
        return mixed.transpose(1, 2).contiguous(), None

    AttentionInterface.register(name, attend)
    AttentionMaskInterface.register(name, lambda *_, **__: None)
    return name


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("more", [0, 1])
def test_rows_are_those_of_the_window_that_the_kernel_applies(dtype, more):
    name = register(f"window_{more}", lambda d, w: (d >= 0) & (d < w + more))
    trace = vw.trace(mistral(name, dtype), None, IDS)
    for position in (-1, 12):
        at = position % len(IDS)
        weights = trace.attention(1, position)
        assert not weights[:, : at + 1 - WINDOW - more].any()
        assert bool((weights[:, at + 1 - WINDOW - more : at + 1] > 0).all())
    if more == 0:
        eager = vw.trace(mistral("eager", dtype), None, IDS)
        near = {torch.float32: 1e-5, torch.bfloat16: 2e-2}[dtype]
        torch.testing.assert_close(trace.attention(1), eager.attention(1), rtol=near, atol=near)


def test_a_kernel_without_a_window_sees_everything():
    trace = vw.trace(mistral(register("no_window", lambda d, w: d >= 0)), None, IDS)
    assert bool((trace.attention(1) > 0).all())


@pytest.mark.parametrize(
    ("sees", "scale"),
    [(lambda d, w: (d >= 0) & (d % 2 == 0), 1.0), (lambda d, w: (d >= 0) & (d < w), 2.0)],
    ids=["every other token", "another scaling"],
)
def test_a_kernel_that_does_something_else_is_refused(sees, scale):
    name = register(f"odd_{scale}", sees, scale)
    with pytest.raises(UnsupportedModelError, match='set_attn_implementation\\("eager"\\)'):
        vw.trace(mistral(name), None, IDS)
