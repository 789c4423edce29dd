"""One query's attention, and what it writes, re-run for one layer and position.

    attn_out = Σ_h Σ_j α[h, j] · (v[h, j] W_O[h]) + b_O

A norm after the sublayer is linear once its scale is frozen at the observed value, so each summand
goes through it on its own and the norm's bias joins b_O. So is a gate or a norm on the heads before
W_O: it multiplies each number of a head.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from ..model import UnsupportedModelError
from ..model.linear import linear_map
from .directions import heads_gate
from .outlet import Outlet

if TYPE_CHECKING:
    from .trace import Trace


@dataclass(frozen=True)
class AttentionRow:
    """What one layer's attention does at one position.

    Attributes:
        weights: (n_heads, T) α, zero where the query does not look.
        scores: (n_heads, T) scaled products of query and keys, before mask, softcap and softmax;
            −inf where hidden.
        gain: (n_heads, 1) what the attention function multiplies a head's mix of values with after
            the softmax: 1, or less where a model lets some attention drain away.
        values: (n_heads, T, d_value), heads that share a value repeated; through the gate on the
            heads, where a model has one.
        matrix: (n_heads, d_value, d_model) W_O by head.
        mixed: (n_heads, d_value) Σ_j gain · α[h, j] v[h, j], the input of W_O.
        outlet: the way from W_O to the stream.
    """

    weights: Tensor
    scores: Tensor
    gain: Tensor
    values: Tensor
    matrix: Tensor
    mixed: Tensor
    outlet: Outlet

    @property
    def bias(self) -> Tensor | None:
        """(d_model,) what is added whatever is attended to; None where there is nothing."""
        return self.outlet.bias

    @cached_property
    def heads(self) -> Tensor:
        """(n_heads, d_model) what each head adds to the stream."""
        return self.outlet.to_stream(torch.einsum("hv,hvd->hd", self.mixed, self.matrix))

    def sources(self, head: int) -> Tensor:
        """(T, d_model) what each source adds to the stream through one head."""
        weighted = (self.gain * self.weights)[head, :, None] * self.values[head]
        return self.outlet.to_stream(weighted @ self.matrix[head])

    def rows(self, head: int) -> Tensor:
        """(d_value, d_model) what each W_O row of one head adds to the stream."""
        return self.outlet.to_stream(self.mixed[head, :, None] * self.matrix[head])

    def along(self, direction: Tensor) -> Tensor:
        """⟨part, direction⟩ of every (head, source) part, without making the parts.

        Args:
            direction: (d_model,).

        Returns:
            (n_heads, T).
        """
        reading = torch.einsum("hvd,d->hv", self.matrix, self.outlet.from_stream(direction))
        return self.gain * self.weights * torch.einsum("htv,hv->ht", self.values, reading)


def attention_row(trace: Trace, layer: int, position: int) -> AttentionRow:
    """Derive one query's attention from the recorded queries, keys, values and mask."""
    part = trace.anatomy.blocks[layer]
    kept = trace.attention_record(layer)
    query = trace.work(kept.query[:, position : position + 1])
    key, value = trace.work(kept.key), trace.work(kept.value)
    mask = kept.mask.row(position, key.shape[1], trace.dtype, trace.device)
    precise = trace.dtype == torch.float64 and trace.record.implementation != "eager"
    assert part.output_projection is not None
    with torch.no_grad(), _PreciseSoftmax() if precise else nullcontext():
        mixed, weights = kept.attend(
            part.attention, query[None], key[None], value[None], mask,
            scaling=kept.scaling, dropout=0.0, **kept.options,
        )  # fmt: skip
        assert weights is not None
        weights, mixed = trace.work(weights[0, :, 0, : key.shape[1]]), trace.work(mixed[0, 0])
        values = value.repeat_interleave(query.shape[0] // value.shape[0], 0)
        gain = _gain(torch.einsum("ht,htv->hv", weights, values), mixed, layer)
        matrix, bias = linear_map(part.output_projection, mixed.numel(), trace.dtype)
        matrix = trace.work(matrix).view(*mixed.shape, -1)
        bias = None if bias is None else trace.work(bias)
        gate, constant = _gate(trace, layer, position, mixed)
        if gate is not None:
            values, mixed = values * gate[:, None], mixed * gate
        if constant is not None:
            more = torch.einsum("hv,hvd->d", constant, matrix)
            bias = more if bias is None else bias + more
        written = torch.einsum("hv,hvd->d", mixed, matrix)
        before = trace.work(trace.record.layers[layer].pre[position])
        return AttentionRow(
            weights=weights,
            scores=_scores(query[:, 0], key, kept.scaling, mask),
            gain=gain,
            values=values,
            matrix=matrix,
            mixed=mixed,
            outlet=Outlet.at(part.attention_join, trace.norm, before, written, bias),
        )


def _gate(
    trace: Trace, layer: int, position: int, mixed: Tensor
) -> tuple[Tensor | None, Tensor | None]:
    """What the heads are multiplied with before the output projection, and what is added to them:
    (n_heads, d_value) each; None where nothing is.
    """
    part = trace.anatomy.blocks[layer]
    if part.heads_norm is not None:
        width = next(part.heads_norm.parameters(), mixed).numel()
        norm = trace.norm(part.heads_norm, width=width)
        assert norm is not None
        if norm.centres:
            raise UnsupportedModelError(
                f"The norm of the heads in layer {layer} subtracts their mean, so that heads "
                "cannot be told apart after it."
            )
        rows = mixed.reshape(-1, norm.width)
        gate = (norm.gain * norm.scale(rows)).view_as(mixed)
        bias = norm.bias.expand_as(rows).reshape(mixed.shape)
        return gate, bias if bool(bias.any()) else None
    if part.gated_heads:
        return trace.work(heads_gate(trace, layer, position, mixed)).view_as(mixed), None
    return None, None


def _scores(query: Tensor, key: Tensor, scaling: float | None, mask: Tensor) -> Tensor:
    shared = query.shape[0] // key.shape[0]
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    scores = torch.einsum("hd,htd->ht", query, key.repeat_interleave(shared, 0)) * scale
    hidden = mask[0, :, 0] <= torch.finfo(mask.dtype).min / 2
    return scores.masked_fill(hidden.expand_as(scores), float("-inf"))


def _gain(weighted: Tensor, mixed: Tensor, layer: int) -> Tensor:
    """The factor per head between the weighted values and what the attention function gave."""
    tiny = torch.finfo(mixed.dtype).tiny
    square = weighted.square().sum(-1, keepdim=True).clamp_min(tiny)
    gain = (weighted * mixed).sum(-1, keepdim=True) / square
    off = (gain * weighted - mixed).norm() / mixed.norm().clamp_min(tiny)
    if off > 1e-3:
        raise UnsupportedModelError(
            f"The attention of layer {layer} gives something else than its weights times its "
            f"values (off by {float(off):.1e}), so its heads cannot be split by source token."
        )
    same = (gain - 1).abs() < 128 * torch.finfo(gain.dtype).eps
    return torch.where(same, torch.ones_like(gain), gain)


class _PreciseSoftmax(TorchFunctionMode):
    """Softmax in its input's precision, as fused kernels do it; the eager functions of
    transformers round to float32.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func is torch.nn.functional.softmax and args[0].dtype == torch.float64:
            kwargs["dtype"] = torch.float64
        return func(*args, **kwargs)
