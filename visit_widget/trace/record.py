"""What is kept of one forward pass: the stream at every layer, and queries, keys and values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

from .masks import RowMask

Half = Literal["attention", "mlp"]


class _Hidden:
    """There is one, whatever is copied or pickled."""

    def __reduce__(self) -> str:
        return "HIDDEN"


# Stands for the hidden state among the kept arguments of an attention module.
HIDDEN = _Hidden()


@dataclass(frozen=True)
class MaskOf:
    """Stands for the attention mask among them, which is not kept: it has T × T numbers."""

    dtype: torch.dtype

    def causal(self, n_tokens: int, device: torch.device) -> Tensor:
        """(1, 1, T, T) a plain causal mask of the same kind."""
        seen = torch.ones(1, 1, n_tokens, n_tokens, dtype=torch.bool, device=device).tril()
        if self.dtype == torch.bool:
            return seen
        lowest = torch.finfo(self.dtype).min
        return torch.zeros_like(seen, dtype=self.dtype).masked_fill(~seen, lowest)


@dataclass
class AttentionRecord:
    """What one attention call left behind.

    Attributes:
        query: (n_heads, T, d_head).
        key: (n_kv_heads, T, d_head).
        value: (n_kv_heads, T, d_value).
        mask: what each query saw.
        scaling: factor on the scores, or None for 1/√d_head.
        options: what else the attention function was given.
        attend: the attention function, to run rows of it again.
        arguments: how the attention module was called, to call it again for a few rows.
    """

    query: Tensor
    key: Tensor
    value: Tensor
    mask: RowMask
    scaling: float | None
    options: dict[str, Any]
    attend: Callable[..., tuple[Tensor, Tensor | None]]
    arguments: tuple[tuple[Any, ...], dict[str, Any]] = ((), {})


@dataclass
class LayerRecord:
    """What one layer left behind.

    Attributes:
        pre: (T, d_model) the stream before the block.
        mid: (T, d_model) the stream that the MLP branch read; None in a block without MLP.
        mixed: (T, d_model) what a mixer other than attention gave; None where there is none.
        attention: what its attention call left behind; None in a block without attention.
        added: what a sublayer ("attention", "mlp") added at the last position, (d_model,), where it
            joins the stream by a plain sum.
    """

    pre: Tensor
    mid: Tensor | None = None
    mixed: Tensor | None = None
    attention: AttentionRecord | None = None
    added: dict[Half, Tensor] = field(default_factory=dict)


@dataclass
class Record:
    """What one pass left behind.

    Attributes:
        layers: one per block.
        final: (T, d_model) the stream after the last block.
        logits: (n_vocab,) the model's own logits at the last position.
        device: where the last stream was made.
        implementation: the attention implementation that the model ran.
    """

    layers: list[LayerRecord]
    final: Tensor
    logits: Tensor
    device: torch.device
    implementation: str
