"""Tiny random models and tokenizers for tests, made without a network.

Every bias, norm gain and norm bias is random: a part that is forgotten, or used twice, shows in the
numbers. Where a model keeps what is written down by name (`blocks_of`), for these families only, so
that tests do not lean on the package's own way of finding it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import torch
import transformers
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.pytorch_utils import Conv1D

from tests.conftest import word_tokenizer

N_VOCAB = 61
SUPPORTED = ("gpt2", "gpt2-scaled", "llama", "llama-wide", "llama-head-bias")
PREVIEW = ("gemma2", "olmo2", "qwen3", "phi")
FAMILIES = SUPPORTED + PREVIEW
PROMPT_IDS = [3, 17, 42, 5, 17, 60, 0]

_SIZES: dict[str, Any] = {
    "vocab_size": N_VOCAB,
    "hidden_size": 24,
    "intermediate_size": 20,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 32,
    "tie_word_embeddings": False,
    "pad_token_id": None,
}
_BIASED = {"attention_bias": True, "mlp_bias": True}
# The prompt is longer than a head is wide in llama (7 tokens, 6 numbers) and shorter in llama-wide
# (10 numbers): the q/k lens takes another way in each.
_CONFIGS: dict[str, dict[str, Any]] = {
    "gpt2": {
        "vocab_size": N_VOCAB, "n_positions": 16, "n_embd": 24, "n_layer": 3, "n_head": 3,
        "n_inner": 20,
    },
    "gpt2-scaled": {
        "vocab_size": N_VOCAB, "n_positions": 16, "n_embd": 24, "n_layer": 2, "n_head": 2,
        "scale_attn_by_inverse_layer_idx": True, "tie_word_embeddings": False,
    },
    "llama": {**_SIZES, **_BIASED},
    "llama-wide": {**_SIZES, **_BIASED, "head_dim": 10},
    "llama-head-bias": {**_SIZES, "num_key_value_heads": 4},
    "gemma2": {
        **_SIZES, "head_dim": 8, "sliding_window": 3, "query_pre_attn_scalar": 5,
        "attention_bias": True,
    },
    "olmo2": {**_SIZES},
    "qwen3": {**_SIZES, "head_dim": 8, "attention_bias": True},
    "phi": {
        **_SIZES, "partial_rotary_factor": 0.5, "num_attention_heads": 3, "num_key_value_heads": 3,
    },
}  # fmt: skip
_CLASSES = {
    "gpt2": "GPT2",
    "llama": "Llama",
    "gemma2": "Gemma2",
    "olmo2": "Olmo2",
    "qwen3": "Qwen3",
    "phi": "Phi",
}


def make_model(
    family: str,
    dtype: torch.dtype = torch.float64,
    implementation: str = "eager",
    seed: int = 0,
    **changes: Any,
) -> PreTrainedModel:
    """A random model in eval mode; `changes` are changes of its config."""
    name = _CLASSES[family.split("-", maxsplit=1)[0]]
    options = {"bos_token_id": None, "eos_token_id": None, **_CONFIGS[family], **changes}
    config = getattr(transformers, f"{name}Config")(**options)
    model: PreTrainedModel = transformers.AutoModelForCausalLM.from_config(
        config, attn_implementation=implementation
    )
    if family == "llama-head-bias":
        model.lm_head.bias = nn.Parameter(torch.zeros(config.vocab_size))
    model = model.to(dtype).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            if (
                parameter.ndim == 1
            ):  # biases, and gains (about one, also where a family adds one to them)
                noise = noise * 0.4 + parameter.double()
            elif parameter.shape[0] != config.vocab_size:
                noise *= 1.3 / parameter.shape[-1] ** 0.5
            parameter.copy_(noise)
    return model


@cache
def tokenizer() -> PreTrainedTokenizerBase:
    """A byte-level tokenizer that knows a few words ("the", " cat", …)."""
    return word_tokenizer()


def make_speaker(
    family: str = "gpt2", dtype: torch.dtype = torch.float32, **changes: Any
) -> PreTrainedModel:
    """A random model whose vocabulary is `tokenizer()`'s."""
    return make_model(family, dtype, "sdpa", vocab_size=len(tokenizer()), **changes)


_PRODUCTS = (torch.matmul, Tensor.matmul, Tensor.__matmul__)


class _Widen(TorchFunctionMode):
    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if args and isinstance(args[0], Tensor) and args[0].dtype == torch.float64:
            if func is Tensor.float:
                func = Tensor.double
            elif func in (Tensor.to, Tensor.type):
                args = tuple(torch.float64 if a is torch.float32 else a for a in args)
            if kwargs.get("dtype") is torch.float32:
                kwargs["dtype"] = torch.float64
            if func in _PRODUCTS and args[1].dtype == torch.float32:
                args = (args[0], args[1].double())  # positions, by wider rotary frequencies
        return func(*args, **kwargs)


@contextmanager
def float64_throughout() -> Iterator[None]:
    """Within the block nothing rounds a float64 tensor to float32.

    `transformers` computes RMS norms, eager softmax and rotary tables in float32 whatever the
    model's dtype (`.to(torch.float32)`, `.float()`, `softmax(dtype=torch.float32)`, and experts'
    routes by `.type(torch.float32)`), so that even a float64 model's own numbers agree with
    themselves to 1e-7 only. To check identities to 1e-9, the model *and* the trace run in this
    block, where all of these leave a float64 tensor as wide as it is. It changes no formula.
    """
    with _Widen():
        yield


@dataclass(frozen=True)
class Block:
    """One block's modules, by their names in the family."""

    block: nn.Module
    attention: nn.Module
    out: nn.Module
    mlp: nn.Module
    down: nn.Module
    before_attention: nn.Module | None
    before_mlp: nn.Module | None
    after_attention: nn.Module | None = None
    after_mlp: nn.Module | None = None


def blocks_of(model: PreTrainedModel) -> list[Block]:
    """The blocks of one of the tiny models."""
    family = model.config.model_type
    if family == "gpt2":
        return [
            Block(b, b.attn, b.attn.c_proj, b.mlp, b.mlp.c_proj, b.ln_1, b.ln_2)
            for b in model.transformer.h
        ]
    found = []
    for b in model.model.layers:
        a, m = b.self_attn, b.mlp
        if family == "gemma2":
            norms = (b.input_layernorm, b.pre_feedforward_layernorm)
            after = (b.post_attention_layernorm, b.post_feedforward_layernorm)
        elif family == "olmo2":
            norms, after = (None, None), (b.post_attention_layernorm, b.post_feedforward_layernorm)
        elif family == "phi":
            norms, after = (b.input_layernorm, b.input_layernorm), (None, None)
        else:
            norms, after = (b.input_layernorm, b.post_attention_layernorm), (None, None)
        out, down = (a.dense, m.fc2) if family == "phi" else (a.o_proj, m.down_proj)
        found.append(Block(b, a, out, m, down, *norms, *after))
    return found


def final_norm_of(model: PreTrainedModel) -> nn.Module:
    """The norm before the unembedding."""
    if model.config.model_type == "gpt2":
        return model.transformer.ln_f
    return model.model.final_layernorm if model.config.model_type == "phi" else model.model.norm


def matrix_of(module: nn.Module) -> Tensor:
    """The matrix W of shape (in, out) with module(x) = x W + b."""
    return module.weight.detach() if isinstance(module, Conv1D) else module.weight.detach().T


def frozen(norm: nn.Module | None, whole: Tensor, part: Tensor) -> Tensor:
    """What `part`, a summand of `whole`, becomes in the norm with its scale frozen at `whole`."""
    if norm is None:
        return part
    if isinstance(norm, nn.LayerNorm):
        spread = whole.var(-1, unbiased=False, keepdim=True) + norm.eps
        return norm.weight.detach() * (part - part.mean(-1, keepdim=True)) * spread.rsqrt()
    epsilon = getattr(norm, "variance_epsilon", None) or norm.eps
    gain = norm.weight.detach()
    if type(norm).__name__.startswith("Gemma"):
        gain = 1 + gain
    return gain * part * (whole.square().mean(-1, keepdim=True) + epsilon).rsqrt()


@dataclass
class Seen:
    """What a plain pass of the model showed to hooks that know the family's names; (T, …) each."""

    logits: Tensor
    attentions: tuple[Tensor, ...]
    hidden: tuple[Tensor, ...]
    pre: list[Tensor] = field(default_factory=list)
    post: list[Tensor] = field(default_factory=list)
    into_attention: list[Tensor] = field(default_factory=list)
    heads: list[Tensor] = field(default_factory=list)
    written: list[Tensor] = field(default_factory=list)
    attention: list[Tensor] = field(default_factory=list)
    into_mlp: list[Tensor] = field(default_factory=list)
    neurons: list[Tensor] = field(default_factory=list)
    mlp_written: list[Tensor] = field(default_factory=list)
    mlp: list[Tensor] = field(default_factory=list)


def look(model: PreTrainedModel, ids: list[int]) -> Seen:
    """Runs the model, in eager attention, under hooks on the modules of `blocks_of`."""
    handles: list[Any] = []
    noted: dict[str, list[Tensor]] = {name: [] for name in Seen.__dataclass_fields__}

    def first(value: Any) -> Tensor:
        tensor: Tensor = value[0] if isinstance(value, tuple) else value
        return tensor[0].detach().clone()

    def before(module: nn.Module, name: str) -> None:
        def hook(_: nn.Module, args: Any, kwargs: Any) -> None:
            noted[name].append(first(args[0] if args else kwargs["hidden_states"]))

        handles.append(module.register_forward_pre_hook(hook, with_kwargs=True))

    def after(module: nn.Module, name: str) -> None:
        handles.append(
            module.register_forward_hook(lambda _m, _a, out: noted[name].append(first(out)))
        )

    for b in blocks_of(model):
        before(b.block, "pre")
        after(b.block, "post")
        before(b.attention, "into_attention")
        before(b.out, "heads")
        after(b.out, "written")
        after(b.after_attention or b.attention, "attention")
        before(b.mlp, "into_mlp")
        before(b.down, "neurons")
        after(b.down, "mlp_written")
        after(b.after_mlp or b.mlp, "mlp")
    usual = model.config._attn_implementation
    try:
        model.set_attn_implementation("eager")
        with torch.no_grad():
            output = model(
                torch.tensor([ids]),
                use_cache=False,
                output_attentions=True,
                output_hidden_states=True,
            )
    finally:
        model.set_attn_implementation(usual)
        for handle in handles:
            handle.remove()
    hidden = tuple(h[0] for h in output.hidden_states)
    attentions = tuple(a[0] for a in output.attentions)
    kept = {k: v for k, v in noted.items() if k not in ("logits", "attentions", "hidden")}
    return Seen(output.logits[0], attentions, hidden, **kept)
