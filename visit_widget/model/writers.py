"""Any MLP at one position as neurons that write to the stream, mixtures of experts included.

    mlp_out = Σ_n a_n · W_out[n] + bias

The module is run on one position under `Watch`. A product with a weight writes if the module's
output depends on it as c · identity: then what enters the product, times c, are activations, and
the weight's rows are what neurons write. c is 1 in a plain MLP, and an expert's share in a mixture.
What is left of the output when those products are silent must be the same whatever comes in, or the
module is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .exclusive import MODEL_LOCK
from .gates import look_for
from .weights import Weights
from .writer_layout import find_layout
from .writer_rows import Row, WriterGroup, WriterLayout, as_found, rows_of, run_once

__all__ = [
    "WriterGroup",
    "WriterLayout",
    "Writers",
    "find_layout",
    "writer_directions",
    "writers_at",
]


@dataclass(frozen=True)
class Writers:
    """What an MLP's neurons do at one position. Shapes: n neurons, those of idle experts left out.

    Attributes:
        activations: (n,) a_n, with the expert's share in it.
        raw: (n,) what enters the down projection.
        matrix: (n, d_model) the rows of W_out; may share memory with the weights.
        index: (n,) the neurons' numbers among all d_mlp, ascending.
        expert: (n,) the number of their expert; −1 for neurons that every token has.
        bias: (d_model,) what is added whatever fires (biases, in their experts' shares); None where
            there is nothing.
    """

    activations: Tensor
    raw: Tensor
    matrix: Tensor
    index: Tensor
    expert: Tensor
    bias: Tensor | None


@torch.inference_mode(False)
def writers_at(module: nn.Module, layout: WriterLayout, x: Tensor, dtype: torch.dtype) -> Writers:
    """The MLP's neurons at one position.

    Args:
        module: the MLP.
        layout: what `find_layout` found for it.
        x: (d_model,) what the MLP reads at the position.
        dtype: the dtype of the result, and of sums over neurons.

    Raises:
        UnsupportedModelError: the MLP did something there that the layout does not know.
    """
    with MODEL_LOCK, as_found(module):
        weights = Weights(module)
        x = x.detach().reshape(-1).to(weights.dtype).clone()
        run = run_once(module, weights, x, layout.flat)
        rows, bias = rows_of(module, layout, weights, run)
    raw = _joined([r.product.x[r.batch, r.row].detach().to(dtype) for r in rows], x, dtype)
    shares = _joined([r.share.to(dtype).expand(r.group.width) for r in rows], x, dtype)
    numbers = [torch.arange(r.start, r.start + r.group.width, device=x.device) for r in rows]
    experts = [_expert(r).expand(r.group.width) for r in rows]
    return Writers(
        activations=raw * shares,
        raw=raw,
        matrix=_stacked([r.product.matrix(r.batch).detach() for r in rows], x).to(dtype),
        index=_joined(numbers, x, torch.long),
        expert=_joined(experts, x, torch.long),
        bias=None if bias is None else bias.to(dtype),
    )


@torch.inference_mode(False)
def writer_directions(
    module: nn.Module, layout: WriterLayout, x: Tensor, neurons: Sequence[int]
) -> Tensor:
    """What neurons look for: directions in the MLP's input.

    ⟨direction, x⟩, plus a constant, is what enters the activation function of a neuron (of the
    gate, where there is one), with the router's weights held fixed. Where that could not be told
    apart, it is the gradient of what enters the down projection.

    Args:
        module: the MLP.
        layout: what `find_layout` found for it.
        x: (d_model,) what the MLP reads at the position.
        neurons: their numbers among all d_mlp.

    Returns:
        (len(neurons), d_model) in the module's dtype; zeros for neurons of idle experts.
    """
    with MODEL_LOCK, as_found(module):
        weights = Weights(module)
        x = x.detach().reshape(-1).to(weights.dtype).clone()
        run = run_once(module, weights, x, layout.flat)
        rows, _ = rows_of(module, layout, weights, run)
        found = x.new_zeros(len(neurons), x.numel())
        for i, neuron in enumerate(neurons):
            for r in rows:
                n = int(neuron) - r.start
                if 0 <= n < r.group.width:
                    found[i] = look_for(run, r.product, r.batch, r.row, n, r.group.gate)
        return found


def _expert(row: Row) -> Tensor:
    """The number of a row's expert: a scalar."""
    group = row.group
    number = -1
    if group.first_expert is not None:
        number = group.first_expert + (row.start - group.offset) // group.width
    return torch.tensor(number, device=row.share.device)


def _joined(parts: list[Tensor], x: Tensor, dtype: torch.dtype) -> Tensor:
    if len(parts) == 1:
        return parts[0]
    return torch.cat(parts) if parts else x.new_zeros(0, dtype=dtype)


def _stacked(matrices: list[Tensor], x: Tensor) -> Tensor:
    """Matrices (·, d_model) below one another, kept column by column where that is how they lie."""
    if len(matrices) == 1:
        return matrices[0]
    if matrices and all(m.stride(0) == 1 for m in matrices):
        return torch.cat([m.mT for m in matrices], 1).mT
    return torch.cat(matrices) if matrices else x.new_zeros(0, x.numel())
