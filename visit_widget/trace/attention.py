"""One query's attention, and what it writes, re-run for one layer and position.

    attn_out = Σ_h Σ_j α[h, j] · (v[h, j] W_O[h]) + b_O

A norm after the sublayer is linear once its scale is frozen at the observed value, so each summand
goes through it
on its own and the norm's bias joins b_O.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from ..model.attention import own_function
from ..model.linear import linear_map
from ..model.norms import Norm

if TYPE_CHECKING:
    from .trace import Trace


@dataclass(frozen=True)
class AttentionRow:
    """What one layer's attention does at one position.

    Attributes:
        weights: (n_heads, T) α, zero where the query does not look.
        scores: (n_heads, T) scaled products of query and keys, before mask, softcap and softmax;
            −inf where hidden.
        values: (n_heads, T, d_value) with heads that share a value repeated; a view.
        matrix: (n_heads, d_value, d_model) W_O by head.
        bias: (d_model,) b_O as added to the stream, a post-norm's bias included; None where there
            is none.
        post_norm: the norm after the sublayer, if any, and its scale frozen here.
    """

    weights: Tensor
    scores: Tensor
    values: Tensor
    matrix: Tensor
    raw_bias: Tensor | None
    norm: Norm | None

    @cached_property
    def mixed(self) -> Tensor:
        """Σ_j α[h, j] v[h, j]: (n_heads, d_value), the input of W_O."""
        return torch.einsum("ht,htv->hv", self.weights, self.values)

    @cached_property
    def norm_scale(self) -> Tensor | None:
        """The post-norm's scale at what attention wrote here."""
        if self.norm is None:
            return None
        written = torch.einsum("hv,hvd->d", self.mixed, self.matrix)
        return self.norm.scale(written if self.raw_bias is None else written + self.raw_bias)

    def to_stream(self, written: Tensor) -> Tensor:
        """What a summand of W_O's output becomes when added to the stream: (…, d_model) → (…,
        d_model).
        """
        if self.norm is None or self.norm_scale is None:
            return written
        return self.norm.linear(written, self.norm_scale)

    def from_stream(self, direction: Tensor) -> Tensor:
        """The direction at W_O's output that a direction in the stream reads: (…, d_model) → (…,
        d_model).
        """
        if self.norm is None or self.norm_scale is None:
            return direction
        return self.norm.pull_back(direction, self.norm_scale)

    @cached_property
    def bias(self) -> Tensor | None:
        """(d_model,) what is added whatever is attended to; None where there is nothing."""
        bias = None if self.raw_bias is None else self.to_stream(self.raw_bias)
        if self.norm is not None and bool(self.norm.bias.any()):
            bias = self.norm.bias if bias is None else bias + self.norm.bias
        return bias

    @cached_property
    def heads(self) -> Tensor:
        """(n_heads, d_model) what each head adds to the stream."""
        return self.to_stream(torch.einsum("hv,hvd->hd", self.mixed, self.matrix))

    def sources(self, head: int) -> Tensor:
        """(T, d_model) what each source adds to the stream through one head."""
        return self.to_stream((self.weights[head, :, None] * self.values[head]) @ self.matrix[head])

    def rows(self, head: int) -> Tensor:
        """(d_value, d_model) what each W_O row of one head adds to the stream."""
        return self.to_stream(self.mixed[head, :, None] * self.matrix[head])

    def along(self, direction: Tensor) -> Tensor:
        """⟨part, direction⟩ of every (head, source) part without making the parts: (d_model,) →
        (n_heads, T).
        """
        reading = torch.einsum("hvd,d->hv", self.matrix, self.from_stream(direction))
        return self.weights * torch.einsum("htv,hv->ht", self.values, reading)


def attention_row(trace: Trace, layer: int, position: int) -> AttentionRow:
    """Derive one query's attention from the recorded queries, keys, values and mask."""
    kept, part = trace.record.layers[layer], trace.anatomy.blocks[layer]
    query = trace.work(kept.query[:, position : position + 1])
    key, value = trace.work(kept.key), trace.work(kept.value)
    attend = own_function(part.attention, "eager_attention_forward")
    mask = kept.mask.row(position, key.shape[1], trace.dtype, trace.device)
    precise = trace.dtype == torch.float64 and trace.record.implementation != "eager"
    with torch.no_grad(), _PreciseSoftmax() if precise else nullcontext():
        weights = attend(
            part.attention, query[None], key[None], value[None], mask,
            scaling=kept.scaling, dropout=0.0, **kept.options,
        )[1]  # fmt: skip
        assert weights is not None
        weights = trace.work(weights[0, :, 0, : key.shape[1]])
        shared = query.shape[0] // key.shape[0]
        scale = query.shape[-1] ** -0.5 if kept.scaling is None else kept.scaling
        scores = torch.einsum("hd,htd->ht", query[:, 0], key.repeat_interleave(shared, 0)) * scale
        hidden = (mask[0, :, 0] <= torch.finfo(trace.dtype).min / 2).expand_as(scores)
        n_in = query.shape[0] * value.shape[-1]
        matrix, bias = linear_map(part.output_projection, n_in, trace.dtype)
        return AttentionRow(
            weights=weights,
            scores=scores.masked_fill(hidden, float("-inf")),
            values=value.repeat_interleave(query.shape[0] // value.shape[0], 0),
            matrix=trace.work(matrix).view(query.shape[0], value.shape[-1], -1),
            raw_bias=None if bias is None else trace.work(bias),
            norm=trace.norm(part.attention_post_norm, f"the attention post-norm of layer {layer}"),
        )


class _PreciseSoftmax(TorchFunctionMode):
    """Softmax in its input's precision, as fused kernels do it; the eager functions of
    transformers round to float32.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func is torch.nn.functional.softmax and args[0].dtype == torch.float64:
            kwargs["dtype"] = torch.float64
        return func(*args, **kwargs)
