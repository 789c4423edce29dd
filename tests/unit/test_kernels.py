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


def test_layers_are_told_apart_though_they_are_given_the_same():
    def attend(module, query, key, value, mask, **options):
        window = WINDOW if module.layer_idx else len(IDS)
        options["sliding_window"] = window
        return transformers.AttentionInterface()["own_window"](
            module, query, key, value, mask, **options
        )

    register("own_window", lambda d, w: (d >= 0) & (d < w))
    AttentionInterface.register("by_layer", attend)
    AttentionMaskInterface.register("by_layer", lambda *_, **__: None)
    model = mistral("by_layer")
    for block in model.model.layers:
        block.self_attn.sliding_window = None
    trace = vw.trace(model, None, IDS)
    assert bool((trace.attention(0) > 0).all())
    with_window = trace.attention(1)
    assert not with_window[:, :-WINDOW].any()
    assert bool((with_window[:, -WINDOW:] > 0).all())


def test_a_window_that_only_the_module_knows_of():
    def attend(module, query, key, value, mask, **options):
        options["sliding_window"] = module.window_size
        return transformers.AttentionInterface()["own_window"](
            module, query, key, value, mask, **options
        )

    register("own_window", lambda d, w: (d >= 0) & (d < w))
    AttentionInterface.register("from_module", attend)
    AttentionMaskInterface.register("from_module", lambda *_, **__: None)
    model = mistral("from_module")
    for block in model.model.layers:
        block.self_attn.sliding_window, block.self_attn.window_size = None, 4
    weights = vw.trace(model, None, IDS).attention(0)
    assert not weights[:, :-4].any()
    assert bool((weights[:, -4:] > 0).all())


@pytest.mark.skipif(
    int(transformers.__version__.partition(".")[0]) < 5, reason="windows are kept elsewhere there"
)
def test_a_function_put_in_the_place_of_sdpa_is_no_longer_taken_at_its_word(monkeypatch):
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    register("backwards", lambda d, w: (d >= 0) & (d < w))
    table = ALL_ATTENTION_FUNCTIONS._global_mapping
    monkeypatch.setitem(table, "sdpa", ALL_ATTENTION_FUNCTIONS["backwards"])
    with quiet():
        model = transformers.LlamaForCausalLM(
            transformers.LlamaConfig(
                vocab_size=61, hidden_size=32, intermediate_size=40, num_hidden_layers=2,
                num_attention_heads=4, num_key_value_heads=2, initializer_range=0.3,
            )
        ).eval()  # fmt: skip
    model.set_attn_implementation("sdpa")
    model.config.sliding_window = None
    for block in model.model.layers:
        block.self_attn.forward = with_window(block.self_attn.forward)
    weights = vw.trace(model, None, IDS).attention(0)
    assert not weights[:, :-WINDOW].any()


def with_window(forward):
    return lambda *args, **more: forward(*args, **{**more, "sliding_window": WINDOW})


def test_a_function_that_changes_its_ways_on_long_prompts_is_refused_there():
    def sees(distance, window):
        seen = (distance >= 0) & (distance < window)
        return seen if len(distance) <= 8 else seen | (distance == 9)

    model = mistral(register("two_ways", sees))
    assert vw.trace(model, None, IDS[:8]).audit().exact
    with pytest.raises(UnsupportedModelError, match="on 24 tokens"):
        vw.trace(model, None, IDS)


def test_a_function_that_leaves_out_the_softcap_is_refused():
    config = transformers.Gemma2Config(
        vocab_size=61, hidden_size=32, intermediate_size=40, num_hidden_layers=2, head_dim=8,
        num_attention_heads=4, num_key_value_heads=2, sliding_window=64, initializer_range=2.0,
        attn_logit_softcapping=3.0,
    )  # fmt: skip
    torch.manual_seed(0)
    model = transformers.Gemma2ForCausalLM(config).eval()
    with quiet():
        model.set_attn_implementation(register("uncapped", lambda d, w: d >= 0))
    with pytest.raises(UnsupportedModelError, match='set_attn_implementation\\("eager"\\)'):
        vw.trace(model, None, IDS)


def test_a_function_that_looks_at_later_tokens_is_refused():
    model = mistral(register("both_ways", lambda d, w: d == d))
    with pytest.raises(UnsupportedModelError, match="looks at later tokens"):
        vw.trace(model, None, IDS)


def test_flex_attention_shows_its_window_on_a_long_prompt():
    model = mistral("flex_attention")
    eager = vw.trace(mistral("eager"), None, IDS)
    trace = vw.trace(model, None, IDS)
    for position in (-1, 9):
        torch.testing.assert_close(
            trace.attention(0, position), eager.attention(0, position), rtol=1e-4, atol=1e-5
        )
