"""Queries' attention, and what it writes, re-run for one layer and some positions.

    attn_out = Σ_h Σ_j α[h, j] · (v[h, j] W_O[h]) + b_O

A norm after the sublayer is linear once its scale is frozen at the observed value, so each summand
goes through it on its own and the norm's bias joins b_O. So is a gate or a norm on the heads before
W_O: it multiplies each number of a head.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..model import UnsupportedModelError
from ..model.exclusive import exclusive
from ..model.linear import linear_map
from ..model.loaded import weights_of
from .outlet import Outlet
from .precise import PreciseSoftmax
from .projection import heads_gate
from .summands import Summands

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
    def _strengths(self) -> Tensor:
        """(n_heads, T) what each value is multiplied with."""
        return self.gain * self.weights

    @cached_property
    def heads(self) -> Tensor:
        """(n_heads, d_model) what each head adds to the stream."""
        return self.outlet.to_stream(torch.einsum("hv,hvd->hd", self.mixed, self.matrix))

    def memories(self, head: int, sources: Sequence[int]) -> Summands:
        """What some sources add to the stream through one head."""
        chosen = torch.as_tensor(sources, dtype=torch.long, device=self.weights.device)
        return Summands(
            self._strengths[head, chosen], self.values[head, chosen], self.outlet, self.matrix[head]
        )

    def sources(self, head: int) -> Tensor:
        """(T, d_model) what each source adds to the stream through one head."""
        weighted = self._strengths[head, :, None] * self.values[head]
        return self.outlet.to_stream(weighted @ self.matrix[head])

    @property
    def output_rows(self) -> Summands:
        """What each W_O row adds to the stream, head after head."""
        return Summands(self.mixed.flatten(), self.matrix.flatten(0, 1), self.outlet)

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
        return self._strengths * torch.einsum("htv,hv->ht", self.values, reading)


@dataclass(frozen=True)
class AttentionRows:
    """What one layer's attention does at n positions.

    Attributes:
        weights: (n, n_heads, T) gain · α: what each value is multiplied with.
        values: (n_kv_heads, T, d_value), before any gate on the heads.
        gate: (n, n_heads, d_value) what the heads are multiplied with; None where nothing is.
        matrix: (n_heads, d_value, d_model) W_O by head.
        outlet: the way from W_O to the stream.
        total: (n, d_model) what attention adds in all, its bias included.
    """

    weights: Tensor
    values: Tensor
    gate: Tensor | None
    matrix: Tensor
    outlet: Outlet
    total: Tensor

    @property
    def shared(self) -> int:
        """How many heads share a value."""
        return int(self.matrix.shape[0]) // int(self.values.shape[0])

    @property
    def heads(self) -> Tensor:
        """(n, n_heads, d_model) what each head adds to the stream."""
        grouped = self.weights.unflatten(1, (-1, self.shared))
        mixed = torch.einsum("nkgt,ktv->nkgv", grouped, self.values).flatten(1, 2)
        mixed = mixed if self.gate is None else mixed * self.gate
        written = torch.einsum("nhv,hvd->hnd", mixed, self.matrix)
        return self.outlet.to_stream(written).transpose(0, 1)

    def reading(self, directions: Tensor) -> Tensor:
        """The directions at the heads' values that directions in the stream read.

        Args:
            directions: (n, d_model), one a position.

        Returns:
            (n, n_heads, d_value).
        """
        reading = torch.einsum("hvd,nd->nhv", self.matrix, self.outlet.from_stream(directions))
        return reading if self.gate is None else reading * self.gate

    def along(self, reading: Tensor, values: Tensor | None = None) -> Tensor:
        """⟨part, direction⟩ of every (head, source) part: (n, n_heads, T).

        Args:
            reading: (n, n_heads, d_value) of the directions.
            values: (n_kv_heads, T, d_value) others in the place of the values.
        """
        values = self.values if values is None else values
        grouped = reading.unflatten(1, (-1, self.shared))
        return self.weights * torch.einsum("ktv,nkgv->nkgt", values, grouped).flatten(1, 2)

    def parts(
        self, rows: Tensor, heads: Tensor, sources: Tensor, values: Tensor | None = None
    ) -> Tensor:
        """(K, d_model) what K (position, head, source) triples add to the stream.

        Args:
            rows: (K,) the places among the positions.
            heads: (K,).
            sources: (K,).
            values: as in `along`.
        """
        values = self.values if values is None else values
        mixed = values[heads // self.shared, sources] * self.weights[rows, heads, sources, None]
        if self.gate is not None:
            mixed = mixed * self.gate[rows, heads]
        written = mixed.new_empty(len(rows), self.matrix.shape[-1])
        for head in heads.unique().tolist():
            here = heads == head
            written[here] = mixed[here] @ self.matrix[head]
        return self.outlet.passage.rows(rows).forward(written)

    def lengths(self) -> Tensor:
        """(n, n_heads, T) the length of every (head, source) part."""
        passage, n_heads = self.outlet.passage, self.matrix.shape[0]
        plain = self.gate is None and not passage.steps
        found = []
        for row in range(1 if plain else len(self.weights)):
            matrix = passage.rows(row).forward(self.matrix)
            if self.gate is not None:
                matrix = matrix * self.gate[row, :, :, None]
            gram = torch.einsum("hvd,hwd->hvw", matrix, matrix)
            values = self.values.repeat_interleave(self.shared, 0)
            square = torch.einsum("htv,hvw,htw->ht", values, gram, values)
            found.append(square.clamp_min(0).sqrt())
        return self.weights.abs() * torch.stack(found).expand(-1, n_heads, -1)


@dataclass(frozen=True)
class _Attended:
    """What the attention function gives at n positions; shapes as in the classes above, with n."""

    weights: Tensor
    gain: Tensor
    values: Tensor
    mixed: Tensor
    gate: Tensor | None
    matrix: Tensor
    outlet: Outlet
    written: Tensor


def attention_row(trace: Trace, layer: int, position: int) -> AttentionRow:
    """Derive one query's attention from the recorded queries, keys, values and mask."""
    found, kept = _attend(trace, layer, [position]), trace.attention_record(layer)
    query, key = trace.work(kept.query[:, position : position + 1]), trace.work(kept.key)
    mask = kept.mask.row(position, key.shape[1], trace.dtype, trace.device)
    values = found.values.repeat_interleave(query.shape[0] // found.values.shape[0], 0)
    return AttentionRow(
        weights=found.weights[0],
        scores=_scores(query[:, 0], key, kept.scaling, mask),
        gain=found.gain[0],
        values=values if found.gate is None else values * found.gate[0, :, None],
        matrix=found.matrix,
        mixed=found.mixed[0],
        outlet=found.outlet.row(0),
    )


def attention_rows(trace: Trace, layer: int, positions: Sequence[int]) -> AttentionRows:
    """Derive many queries' attention at once. Mind the size, n · n_heads · T numbers."""
    found = _attend(trace, layer, positions)
    return AttentionRows(
        weights=found.gain * found.weights,
        values=found.values,
        gate=found.gate,
        matrix=found.matrix,
        outlet=found.outlet,
        total=found.outlet.total(found.written),
    )


def _attend(trace: Trace, layer: int, positions: Sequence[int]) -> _Attended:
    part = trace.anatomy.blocks[layer]
    kept, positions = trace.attention_record(layer), list(positions)
    query = trace.work(kept.query[:, positions])
    key, value = trace.work(kept.key), trace.work(kept.value)
    rows = [kept.mask.row(p, key.shape[1], trace.dtype, trace.device) for p in positions]
    precise = trace.dtype == torch.float64 and trace.record.implementation != "eager"
    assert part.output_projection is not None
    softmax = PreciseSoftmax() if precise else nullcontext()
    with torch.no_grad(), exclusive(trace.model), softmax:
        mixed, weights = kept.attend(
            part.attention, query[None], key[None], value[None], torch.cat(rows, -2),
            scaling=kept.scaling, dropout=0.0, **kept.options,
        )  # fmt: skip
        assert weights is not None
        weights = trace.work(weights[0, ..., : key.shape[1]]).transpose(0, 1)
        mixed = trace.work(mixed[0])
        gain = _gain(weights, value, mixed, layer)
        if trace.edits is not None:
            mixed = trace.edits.mixed(layer, part, kept, torch.tensor(positions), mixed.clone())
        width = mixed[0].numel()
        matrix, bias = linear_map(part.output_projection, width, trace.dtype)
        matrix = trace.work(matrix).view(*mixed.shape[1:], -1)
        bias = None if bias is None else trace.work(bias)
        gate, constant = _gate(trace, layer, positions, mixed)
        if gate is not None:
            mixed = mixed * gate
        if trace.edits is not None:
            flat = trace.edits.columns(part.output_projection, positions, mixed.flatten(1))
            mixed = flat.view_as(mixed)
        if constant is not None:
            more = torch.einsum("nhv,hvd->nd", constant, matrix)
            bias = more if bias is None else bias + more
        written = torch.einsum("nhv,hvd->nd", mixed, matrix)
        before = trace.work(trace.record.layers[layer].pre[positions])
        outlet = Outlet.at(part.attention_join, trace.norm, before, written, bias)
    return _Attended(weights, gain, value, mixed, gate, matrix, outlet, written)


def _gate(
    trace: Trace, layer: int, positions: list[int], mixed: Tensor
) -> tuple[Tensor | None, Tensor | None]:
    """What the heads are multiplied with before the output projection, and what is added to them:
    (n, n_heads, d_value) each; None where nothing is.
    """
    part = trace.anatomy.blocks[layer]
    if part.heads_norm is not None:
        width = next(weights_of(part.heads_norm), mixed[0]).numel()
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
        return trace.work(heads_gate(trace, layer, positions, mixed)).view_as(mixed), None
    return None, None


def _scores(query: Tensor, key: Tensor, scaling: float | None, mask: Tensor) -> Tensor:
    shared = query.shape[0] // key.shape[0]
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    scores = torch.einsum("hd,htd->ht", query, key.repeat_interleave(shared, 0)) * scale
    hidden = mask[0, :, 0] <= torch.finfo(mask.dtype).min / 2
    return scores.masked_fill(hidden.expand_as(scores), float("-inf"))


def _gain(weights: Tensor, value: Tensor, mixed: Tensor, layer: int) -> Tensor:
    """(n, n_heads, 1) the factor between the weighted values and what the attention function
    gave.
    """
    grouped = weights.unflatten(1, (value.shape[0], -1))
    weighted = torch.einsum("nkgt,ktv->nkgv", grouped, value).flatten(1, 2)
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
