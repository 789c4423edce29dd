"""Two orders of the same parts, compared."""

from __future__ import annotations

import torch
from torch import Tensor

N_STRONGEST = 10


def ranks(values: Tensor) -> Tensor:
    """Ranks from the least; equal values share the mean of theirs."""
    _, place, count = values.unique(return_inverse=True, return_counts=True)
    last = count.cumsum(0).double()
    return (last - (count.double() - 1) / 2)[place]


def spearman(a: Tensor, b: Tensor) -> float:
    """Spearman's rank correlation."""
    return float(torch.corrcoef(torch.stack([ranks(a), ranks(b)]))[0, 1])


def strongest_found(a: Tensor, b: Tensor) -> float:
    """How many of the parts with the largest |b| are among those with the largest |a|."""
    first, second = (set(v.abs().argsort(descending=True)[:N_STRONGEST].tolist()) for v in (a, b))
    return float(len(first & second))


def decimals(value: float) -> str:
    return f"{value:.2f}".replace("-", "−")
