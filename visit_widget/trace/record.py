"""One forward pass, and what is kept of it: the stream at every layer, and queries, keys and
values.
"""

from __future__ import annotations

import inspect
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from ..model import Anatomy, UnsupportedModelError
from ..model.attention import AttentionCall, listening
from ..model.watch import first_tensor, input_embedding
from .masks import RowMask

# Stands for the hidden state among the kept arguments of an attention module.
HIDDEN = object()


@dataclass
class LayerRecord:
    """What one layer left behind.

    Attributes:
        pre: (T, d_model) the stream before the block.
        mid: (T, d_model) the stream that the MLP branch read.
        query: (n_heads, T, d_head).
        key: (n_kv_heads, T, d_head).
        value: (n_kv_heads, T, d_value).
        mask: what each query saw.
        scaling: factor on the scores, or None for 1/√d_head.
        options: what else the attention function was given.
        arguments: how the attention module was called, to call it again for a few rows.
    """

    pre: Tensor
    mid: Tensor
    query: Tensor
    key: Tensor
    value: Tensor
    mask: RowMask
    scaling: float | None
    options: dict[str, Any]
    arguments: tuple[tuple[Any, ...], dict[str, Any]]


@dataclass
class Record:
    """What one pass left behind.

    Attributes:
        layers: one per block.
        final: (T, d_model) the stream after the last block.
        logits: (n_vocab,) the model's own logits at the last position.
        implementation: the attention implementation that the model ran.
    """

    layers: list[LayerRecord]
    final: Tensor
    logits: Tensor
    implementation: str


@dataclass
class _Notes:
    pre: dict[int, Tensor] = field(default_factory=dict)
    mid: dict[int, Tensor] = field(default_factory=dict)
    arguments: dict[int, tuple[tuple[Any, ...], dict[str, Any]]] = field(default_factory=dict)
    calls: dict[nn.Module, AttentionCall] = field(default_factory=dict)
    final: Tensor | None = None


def record(model: PreTrainedModel, anatomy: Anatomy, input_ids: Tensor) -> Record:
    """Run the model once on input_ids of shape (T,) and keep what a Trace is derived from.

    Nothing is copied: the kept tensors are the ones that the pass made.
    """
    notes = _Notes()
    device = input_embedding(model).device
    options: dict[str, Any] = {"use_cache": False}
    if "logits_to_keep" in inspect.signature(model.forward).parameters:
        options["logits_to_keep"] = 1

    def hear(call: AttentionCall) -> None:
        # Not kept: they are derived again, row by row.
        call.output, call.weights = call.output[:0], None
        notes.calls[call.module] = call

    # What is kept takes part in derivatives later, which tensors made in inference mode cannot.
    with torch.inference_mode(False), torch.no_grad(), ExitStack() as stack:
        stack.enter_context(listening(model, hear))
        _hook(stack, anatomy, notes)
        output = model(input_ids=input_ids[None].to(device), **options)
    logits = output.logits[0, -1].detach().clone()
    layers = _collect(anatomy, notes, input_ids.numel())
    assert notes.final is not None
    return Record(layers, notes.final, logits, model.config._attn_implementation or "eager")


def _hook(stack: ExitStack, anatomy: Anatomy, notes: _Notes) -> None:
    def keep(handle: Any) -> None:
        stack.callback(handle.remove)

    for index, part in enumerate(anatomy.blocks):

        def before_block(_: nn.Module, args: Any, kwargs: Any, index: int = index) -> None:
            stream = first_tensor(args) if args else kwargs.get("hidden_states")
            assert stream is not None
            notes.pre[index] = stream[0]

        def before_attention(_: nn.Module, args: Any, kwargs: Any, index: int = index) -> None:
            notes.arguments[index] = _without_hidden(args, kwargs)

        def before_mlp(_: nn.Module, args: Any, kwargs: Any, index: int = index) -> None:
            stream = first_tensor(args) if args else first_tensor(kwargs)
            assert stream is not None
            notes.mid[index] = stream[0]

        keep(part.block.register_forward_pre_hook(before_block, with_kwargs=True))
        keep(part.attention.register_forward_pre_hook(before_attention, with_kwargs=True))
        keep(part.mlp_entry.register_forward_pre_hook(before_mlp, with_kwargs=True))

    def after_last(_module: nn.Module, _args: Any, output: Any) -> None:
        stream = first_tensor(output)
        assert stream is not None
        notes.final = stream[0]

    keep(anatomy.blocks[-1].block.register_forward_hook(after_last))


def _without_hidden(
    args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of an attention module with HIDDEN wherever the hidden state stood: it is
    derived again when needed, and some modules take it once each for query, key and value.
    """
    hidden = args[0] if args and isinstance(args[0], Tensor) else kwargs.get("hidden_states")
    drop = ("attention_mask", "past_key_values", "past_key_value", "layer_past", "cache_position")

    def mark(value: Any) -> Any:
        return HIDDEN if value is hidden and hidden is not None else value

    kept = {k: None if k in drop else mark(v) for k, v in kwargs.items()}
    return tuple(mark(a) for a in args), kept


def _collect(anatomy: Anatomy, notes: _Notes, n_tokens: int) -> list[LayerRecord]:
    masks: dict[int, RowMask] = {}
    layers = []
    for index, part in enumerate(anatomy.blocks):
        call = notes.calls.get(part.attention)
        if call is None or index not in notes.pre or index not in notes.mid or notes.final is None:
            raise UnsupportedModelError(
                f"Block {index} ran differently on this prompt than on a short one: its attention "
                "or MLP was not called."
            )
        causal = bool(getattr(part.attention, "is_causal", True))
        mask = masks.get(id(call.mask))
        if mask is None:
            mask = masks[id(call.mask)] = RowMask.of(call.mask, n_tokens, causal)
        layers.append(
            LayerRecord(
                pre=notes.pre[index],
                mid=notes.mid[index],
                query=call.query[0],
                key=call.key[0],
                value=call.value[0],
                mask=mask,
                scaling=call.scaling,
                options=call.options,
                arguments=notes.arguments[index],
            )
        )
    return layers
