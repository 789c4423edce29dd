"""Attention that is overheard: its parts against the model's own weights, values and logits."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor, nn
from torch.nn import functional

from tests.tiny import N_VOCAB, float64_throughout, make_model
from visit_widget.model.attention import listening
from visit_widget.model.attention_call import AttentionCall
from visit_widget.model.errors import UnsupportedModelError
from visit_widget.model.operations import overhearing, plain_attention

PROMPT_IDS = [3, 17, 42, 5, 17, 60, 1]  # no 0, which some of these families take for padding
_USUAL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
_GPT = {"n_positions": 32, "n_embd": 32, "n_layer": 2, "n_head": 4}
_BERT = {
    **_USUAL, "intermediate_size": 20, "max_position_embeddings": 32, "is_decoder": True,
    "sep_token_id": None,
}  # fmt: skip
_BART = {
    "d_model": 32, "decoder_layers": 2, "decoder_attention_heads": 4, "decoder_ffn_dim": 20,
    "max_position_embeddings": 32, "is_decoder": True,
}  # fmt: skip
# Configs, and the module that the heads' mixed values go to in each attention module.
_FAMILIES: dict[str, tuple[str, dict[str, Any], str]] = {
    "gptj": ("GPTJ", {**_GPT, "rotary_dim": 4}, "out_proj"),
    "codegen": ("CodeGen", {**_GPT, "rotary_dim": 4}, "out_proj"),
    "gpt-neo": (
        "GPTNeo",
        {
            "max_position_embeddings": 32, "hidden_size": 32, "num_layers": 2, "num_heads": 4,
            "attention_types": [[["global", "local"], 1]], "window_size": 3,
        },
        "out_proj",
    ),
    "gpt-neox-japanese": (
        "GPTNeoXJapanese",
        {**_USUAL, "max_position_embeddings": 32, "intermediate_multiple_size": 1},
        "dense",
    ),
    "bloom": ("Bloom", {"hidden_size": 32, "n_layer": 2, "n_head": 4}, "dense"),
    "falcon-multi-query": ("Falcon", {**_USUAL, "alibi": False, "bias": True}, "dense"),
    "falcon-grouped": (
        "Falcon",
        {**_USUAL, "new_decoder_architecture": True, "num_kv_heads": 2, "alibi": False},
        "dense",
    ),
    "falcon-alibi": ("Falcon", {**_USUAL, "multi_query": False, "alibi": True}, "dense"),
    "mpt": ("Mpt", {"d_model": 32, "n_layers": 2, "n_heads": 4, "max_seq_len": 32}, "out_proj"),
    "openai-gpt": ("OpenAIGPT", _GPT, "c_proj"),
    "xglm": (
        "XGLM",
        {
            "max_position_embeddings": 32, "d_model": 32, "num_layers": 2, "attention_heads": 4,
            "ffn_dim": 20, "pad_token_id": 0,
        },
        "out_proj",
    ),
    "cpmant": (
        "CpmAnt",
        {
            **_USUAL, "dim_head": 8, "dim_ff": 20, "prompt_length": 2, "prompt_types": 4,
            "max_distance": 32, "position_bias_num_buckets": 8,
        },
        "attention_out",
    ),
    "xlm": (
        "XLM",
        {
            "emb_dim": 32, "n_layers": 2, "n_heads": 4, "causal": True, "n_langs": 1,
            "max_position_embeddings": 32, "pad_token_id": 0,
        },
        "out_lin",
    ),
    "megatron-bert": ("MegatronBert", _BERT, ""),
    "rembert": ("RemBert", {**_BERT, "input_embedding_size": 32}, ""),
    "roformer": ("RoFormer", {**_BERT, "embedding_size": 32, "pad_token_id": 0}, ""),
    "big-bird": ("BigBird", {**_BERT, "attention_type": "original_full", "pad_token_id": 0}, ""),
    "mvp": ("Mvp", {**_BART, "pad_token_id": 0}, "out_proj"),
    "trocr": ("TrOCR", {**_BART, "pad_token_id": 0}, "out_proj"),
}  # fmt: skip
_CAUSAL = ("gptj", "openai-gpt", "xglm", "falcon-multi-query", "gpt-neox-japanese")


def _model(family: str, dtype: torch.dtype, implementation: str = "eager") -> Any:
    name, options, _ = _FAMILIES[family]
    usual = {
        "vocab_size": N_VOCAB, "bos_token_id": None, "eos_token_id": None, "pad_token_id": None,
    }  # fmt: skip
    config = getattr(transformers, f"{name}Config")(**{**usual, **options})
    model = transformers.AutoModelForCausalLM.from_config(
        config, attn_implementation=implementation
    )
    model = model.to(dtype).eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            flat = parameter.ndim == 1
            scale = 0.4 if flat else 1.3 / parameter.shape[-1] ** 0.5
            parameter.copy_(noise * scale + (parameter.double() if flat else 0))
    return model


def _run(model: nn.Module, **options: Any) -> Any:
    try:
        with torch.no_grad():
            return model(torch.tensor([PROMPT_IDS]), use_cache=False, **options)
    except RuntimeError as error:
        if "without overflow" not in str(error):
            raise
        pytest.skip(f"transformers {transformers.__version__} makes this mask in float32 only")


def _hear(model: nn.Module, **options: Any) -> tuple[list[AttentionCall], Tensor]:
    calls: list[AttentionCall] = []
    with overhearing(model, calls.append):
        logits = _run(model, **options).logits
    return calls, logits


def _mask(call: AttentionCall) -> Tensor:
    """(1, 1 or n_heads, T, T) of zeros and numbers that hide, also for plain causal attention."""
    n = call.query.shape[2]
    lowest = torch.finfo(call.query.dtype).min
    causal = torch.full((1, 1, n, n), lowest, dtype=call.query.dtype).triu(1)
    return causal if call.mask is None else call.mask


def _weights(call: AttentionCall) -> Tensor:
    keys = call.key.repeat_interleave(call.query.shape[1] // call.key.shape[1], 1)
    scores = call.scaling * torch.einsum("bhid,bhjd->bhij", call.query, keys) + _mask(call)
    return torch.softmax(scores.double(), -1)


_CASES = [
    *((family, "eager") for family in _FAMILIES),
    *((family, "sdpa") for family in _FAMILIES if family.startswith("falcon")),
]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
@pytest.mark.parametrize(("family", "implementation"), _CASES)
def test_what_is_overheard_gives_the_models_own_weights_and_values(
    family: str, implementation: str, dtype: torch.dtype
) -> None:
    if family == "xglm" and dtype == torch.float64:
        pytest.skip("the family's own code does not run in float64")
    model = _model(family, dtype, implementation)
    plain = _run(model).logits
    calls, logits = _hear(model)
    assert torch.equal(plain, logits)
    assert not logits.requires_grad
    assert len(calls) == 2

    reached: list[Tensor] = []
    output = _FAMILIES[family][2]
    handles = [
        getattr(call.module, output).register_forward_pre_hook(lambda _, a: reached.append(a[0]))
        for call in calls
        if output
    ]
    theirs = _run(model, output_attentions=implementation == "eager").attentions
    for handle in handles:
        handle.remove()
    # Asked in float64, most of these families round to float32 somewhere on the way.
    for n, call in enumerate(calls):
        assert any(True for _ in call.module.parameters())
        assert call.options == {}
        assert call.query.shape[1] % call.key.shape[1] == 0
        if theirs is not None:
            seen = theirs[n].shape[-1]  # CPM-Ant does not show the tokens that it puts in front
            ours = _weights(call)[..., -seen:, -seen:]
            torch.testing.assert_close(ours, theirs[n].double(), rtol=0, atol=2e-6)
        if call.weights is not None:
            torch.testing.assert_close(_weights(call), call.weights.double(), rtol=0, atol=2e-6)
        if output:
            torch.testing.assert_close(reached[n], call.output.flatten(2), rtol=0, atol=0)


@pytest.mark.parametrize("family", _FAMILIES)
def test_one_row_is_run_again_exactly(family: str) -> None:
    precise = family != "xglm"
    with float64_throughout() if precise else nullcontext():
        calls, _ = _hear(_model(family, torch.float64 if precise else torch.float32))
        for call in calls:
            for row in (0, 3, 6):
                at = slice(row, row + 1)
                mixed, weights = call.attend(
                    call.module, call.query[:, :, at], call.key, call.value,
                    _mask(call)[:, :, at], scaling=call.scaling, dropout=0.0, **call.options,
                )  # fmt: skip
                close = partial(torch.testing.assert_close, rtol=0, atol=1e-9 if precise else 2e-6)
                assert call.weights is not None
                assert weights is not None
                close(mixed, call.output[:, at])
                close(weights, call.weights[:, :, at])


@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
def test_falcons_fused_attention_is_run_again_exactly(implementation: str) -> None:
    for family in ("falcon-multi-query", "falcon-grouped", "falcon-alibi"):
        for call in _hear(_model(family, torch.float64, implementation))[0]:
            mixed, _ = plain_attention(
                call.module, call.query, call.key, call.value, _mask(call), scaling=call.scaling
            )
            torch.testing.assert_close(mixed, call.output, rtol=0, atol=1e-9)


@pytest.mark.parametrize("family", _FAMILIES)
def test_queries_and_keys_are_told_before_they_attend_with_their_derivatives(family: str) -> None:
    model = _model(family, torch.float32)
    calls, _ = _hear(model)
    module = calls[1].module
    given: dict[str, Any] = {}

    def keep(_: nn.Module, args: Any, kwargs: Any) -> None:
        given.update(args=args, kwargs=kwargs)

    handle = module.register_forward_pre_hook(keep, with_kwargs=True)
    _run(model)
    handle.remove()

    class StopError(Exception):
        pass

    told: list[tuple[nn.Module, Tensor, Tensor]] = []

    def before(*args: Any) -> None:
        told.append(args)
        raise StopError

    hidden = given["args"][0] if given["args"] else given["kwargs"]["hidden_states"]
    x = hidden.detach().clone().requires_grad_()

    def put(value: Any) -> Any:
        # XLM makes a cache even if told not to, and a second run would go on from the first.
        keep_out = isinstance(value, (transformers.Cache, transformers.EncoderDecoderCache))
        return x if value is hidden else None if keep_out else value

    args = [put(a) for a in given["args"]]
    kwargs = {k: put(v) for k, v in given["kwargs"].items()}
    heard: list[AttentionCall] = []
    with (
        listening(model, heard.append, within=module, before=before),
        torch.enable_grad(),
        pytest.raises(StopError),
    ):
        module(*args, **kwargs)
    ((who, query, key),) = told
    assert who is module
    assert not heard
    torch.testing.assert_close(query, calls[1].query, rtol=0, atol=1e-6)
    torch.testing.assert_close(key, calls[1].key, rtol=0, atol=1e-6)
    for tensor in (query, key):
        (slope,) = torch.autograd.grad(tensor.square().sum(), x, retain_graph=True)
        assert slope.abs().sum() > 0


@pytest.mark.parametrize("family", _CAUSAL)
def test_plain_causal_attention_has_no_mask(family: str) -> None:
    assert [c.mask for c in _hear(_model(family, torch.float32))[0]] == [None, None]


def test_a_window_is_the_same_for_all_heads_and_hides_with_the_lowest_number() -> None:
    whole, local = _hear(_model("gpt-neo", torch.float32))[0]
    assert whole.mask is None
    assert local.mask is not None
    assert local.mask.shape == (1, 1, 7, 7)
    distance = torch.arange(7)[:, None] - torch.arange(7)
    seen = (distance >= 0) & (distance < 3)
    assert torch.equal(local.mask[0, 0] == 0, seen)
    assert torch.equal(local.mask[0, 0] == torch.finfo(torch.float32).min, ~seen)


@pytest.mark.parametrize("family", ["bloom", "mpt", "falcon-alibi"])
def test_a_bias_by_distance_is_one_mask_for_all_layers(family: str) -> None:
    first, second = _hear(_model(family, torch.float32))[0]
    assert first.mask is second.mask
    assert first.mask is not None
    assert first.mask.shape == (1, 4, 7, 7)


class _Attention(nn.Module):
    """One head's worth of attention, with a step of one's own between product and softmax."""

    def __init__(self, step: Callable[[Tensor], Tensor], after: Any = None) -> None:
        super().__init__()
        self.step, self.after = step, after
        self.qkv = nn.Linear(6, 24)
        self.softmax = nn.Softmax(dim=-1)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).view(1, -1, 2, 12).split([4, 4, 4], -1)
        scores = torch.einsum("bqhd,bkhd->bhqk", q, k)
        n = x.shape[1]
        hidden = torch.ones(n, n, dtype=torch.bool).triu(1)
        weights = self.softmax(self.step(scores * 0.3).masked_fill(hidden, -1e4))
        weights = weights if self.after is None else self.after(weights)
        return torch.einsum("bkhd,bhqk->bqhd", v, weights).flatten(2)


def _attend(module: nn.Module, **options: Any) -> tuple[list[AttentionCall], Tensor]:
    torch.manual_seed(0)
    calls: list[AttentionCall] = []
    with torch.no_grad(), overhearing(module, calls.append, **options):
        return calls, module(torch.randn(1, 5, 6))


def test_an_einsum_is_told_apart_by_its_letters() -> None:
    torch.manual_seed(1)
    module = _Attention(lambda s: s)
    (call,), output = _attend(module)
    assert call.module is module
    assert call.mask is None
    assert call.scaling == pytest.approx(0.3)
    mixed, _ = plain_attention(
        module, call.query, call.key, call.value, _mask(call), scaling=call.scaling
    )
    torch.testing.assert_close(mixed, call.output)
    torch.testing.assert_close(output, call.output.flatten(2))


def _in_place(scores: Tensor) -> Tensor:
    scores /= 2
    scores.view(-1).mul_(1.0)
    scores += functional.one_hot(torch.tensor(0), 5) / 4
    return scores


def test_scores_may_be_changed_in_place() -> None:
    (call,), _ = _attend(_Attention(_in_place))
    assert call.mask is not None
    assert call.scaling == pytest.approx(0.15)
    assert torch.equal(call.mask[0, 0, :, 0], torch.full((5,), 0.25))


@pytest.mark.parametrize(
    "step",
    [
        lambda s: 5 * torch.tanh(s / 5),
        lambda s: s * s.abs().mean(),
        lambda s: s * torch.linspace(1, 2, 5),
        lambda s: s.transpose(-1, -2),
    ],
    ids=["softcap", "normalised", "scaled by place", "turned"],
)
def test_scores_that_are_no_scaled_product_plus_mask_are_refused(step: Any) -> None:
    with pytest.raises(UnsupportedModelError, match="_Attention"):
        _attend(_Attention(step))


def test_weights_that_are_changed_after_the_softmax_are_refused() -> None:
    with pytest.raises(UnsupportedModelError, match="after the softmax"):
        _attend(_Attention(lambda s: s, after=lambda w: w / 2))


class _TextBias(_Attention):
    def forward(self, x: Tensor) -> Tensor:
        bias = self.qkv(x)[..., 0]
        self.step = lambda s: s + bias
        return super().forward(x)


def test_a_bias_made_of_the_text_is_refused() -> None:
    with pytest.raises(UnsupportedModelError, match="text"):
        _attend(_TextBias(lambda s: s))


@pytest.mark.parametrize("family", ["ProphetNet", "XLNet"])
def test_families_that_score_positions_by_the_text_are_refused(family: str) -> None:
    sizes = {
        "ProphetNet": {
            "hidden_size": 32, "num_decoder_layers": 1, "num_decoder_attention_heads": 4,
            "decoder_ffn_dim": 20, "is_decoder": True, "max_position_embeddings": 32,
            "pad_token_id": 0,
        },
        "XLNet": {"d_model": 32, "n_layer": 1, "n_head": 4, "d_inner": 20},
    }[family]  # fmt: skip
    config = getattr(transformers, f"{family}Config")(vocab_size=N_VOCAB, **sizes)
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    with (
        torch.no_grad(),
        overhearing(model, lambda _: None),
        pytest.raises(UnsupportedModelError, match="text"),
    ):
        model(torch.tensor([PROMPT_IDS]))


class _Router(nn.Module):
    """A mixture's softmax, a product without softmax and a softmax of an outer product."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Linear(6, 5)

    def forward(self, x: Tensor) -> Tensor:
        shares = functional.softmax(self.gate(x), dim=-1)
        outer = (x[..., :1] @ x[..., :1].mT).softmax(-1)
        return x + shares @ (shares.mT @ x) + outer @ x


def test_other_products_and_softmaxes_are_no_attention() -> None:
    calls, output = _attend(_Router())
    assert calls == []
    assert not output.requires_grad


def test_only_the_modules_asked_for_are_heard() -> None:
    pair = nn.Sequential(_Attention(lambda s: s), nn.Linear(8, 6), _Attention(lambda s: s))
    assert [c.module for c in _attend(pair, modules=[pair[2]])[0]] == [pair[2]]
    assert [c.module for c in _attend(pair)[0]] == [pair[0], pair[2]]


def test_what_a_listener_returns_goes_on_instead() -> None:
    module = _Attention(lambda s: s)
    with (
        torch.no_grad(),
        overhearing(module, lambda c: torch.arange(8.0).view(1, 1, 2, 4).expand_as(c.output)),
    ):
        output = module(torch.randn(1, 5, 6))
    assert torch.equal(output, torch.arange(8.0).expand(1, 5, 8))


def test_everything_is_as_before_after_a_pass_that_fails() -> None:
    model = _model("gptj", torch.float32)
    model.train()

    def fail(_: AttentionCall) -> None:
        assert not model.training
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), listening(model, fail):
        _run(model)
    assert all(m.training for m in model.modules())
    assert all(not m._forward_pre_hooks and not m._forward_hooks for m in model.modules())
    calls: list[AttentionCall] = []
    model.eval()
    _run(model)
    assert calls == []


def test_nothing_as_wide_as_the_prompt_is_kept_after_the_listener() -> None:
    model = _model("gptj", torch.float32)
    wide: list[weakref.ref[Tensor]] = []

    def hear(call: AttentionCall) -> None:
        gc.collect()
        assert all(ref() is None for ref in wide)
        assert call.weights is not None
        wide.append(weakref.ref(call.weights))

    with overhearing(model, hear):
        _run(model)
        gc.collect()
        assert len(wide) == 2
        assert all(ref() is None for ref in wide)


def test_a_pass_in_inference_mode_is_overheard() -> None:
    model = _model("openai-gpt", torch.float32)
    calls: list[AttentionCall] = []
    with torch.inference_mode(), overhearing(model, calls.append):
        model(torch.tensor([PROMPT_IDS]))
    assert [c.mask for c in calls] == [None, None]
    assert not calls[0].query.requires_grad


@pytest.mark.parametrize("family", ["falcon-grouped", "bloom", "xlm"])
def test_derivatives_that_are_asked_for_go_through_an_overheard_pass(family: str) -> None:
    model = _model(family, torch.float32)
    slopes = []
    for heard in (nullcontext(), overhearing(model, lambda _: None)):
        model.zero_grad()
        with heard:
            model(torch.tensor([PROMPT_IDS]), use_cache=False).logits.square().sum().backward()
        slopes.append([p.grad for p in model.parameters() if p.grad is not None])
    for plain, overheard in zip(*slopes, strict=True):
        torch.testing.assert_close(plain, overheard)


@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
def test_listening_overhears_models_without_the_attention_interface(implementation: str) -> None:
    model = _model("falcon-grouped", torch.float32, implementation)
    calls: list[AttentionCall] = []
    for asked in (None, "eager"):
        with listening(model, calls.append, implementation=asked):
            _run(model)
        assert model.config._attn_implementation == implementation
    assert len(calls) == 4
    assert all(call.attend is plain_attention for call in calls)


def test_overhearing_and_the_attention_interface_tell_the_same() -> None:
    model = make_model("llama", implementation="eager")
    theirs: list[AttentionCall] = []
    with listening(model, theirs.append):
        _run(model)
    calls, _ = _hear(model)
    assert [c.module for c in calls] == [c.module for c in theirs]
    for ours, call in zip(calls, theirs, strict=True):
        shared = ours.key.shape[1] // call.key.shape[1]
        torch.testing.assert_close(ours.query, call.query)
        torch.testing.assert_close(ours.key, call.key.repeat_interleave(shared, 1))
        torch.testing.assert_close(ours.output, call.output)
        assert ours.scaling == pytest.approx(call.scaling)
        assert ours.mask is None


def test_the_attention_interface_tells_queries_and_keys_before_and_takes_modules() -> None:
    model = make_model("llama", implementation="sdpa")
    second = model.model.layers[1].self_attn
    told: list[nn.Module] = []
    heard: list[AttentionCall] = []
    with listening(model, heard.append, before=lambda m, _q, _k: told.append(m), modules=[second]):
        _run(model)
    assert told == [second]
    assert [c.module for c in heard] == [second]
    at = slice(6, 7)
    mixed, _ = heard[0].attend(
        second, heard[0].query[:, :, at], heard[0].key, heard[0].value, None,
        scaling=heard[0].scaling, dropout=0.0,
    )  # fmt: skip
    torch.testing.assert_close(mixed, heard[0].output[:, at], rtol=0, atol=1e-6)
