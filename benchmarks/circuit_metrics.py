"""How well an order of parts finds a circuit: f, CPR and CMD (Mueller et al. 2025, MIB, arXiv
2504.13151), and AUROC where the circuit is known.

    f(C) = (m(C) − m(∅)) / (m(N) − m(∅))

m(C) is what the model says with every part outside C exchanged for what it is in the corrupted
prompt; N are all parts. CPR is the area under f over the sizes of circuits, of the parts that add
most (1 is what the whole model does, more is possible: what pulls back was left out); CMD the area
between f and 1, of the parts that matter most either way (0 is best).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .ranking import ranks

# The benchmark's own: of all parts, from a thousandth on.
SIZES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)


def faithfulness(said: Tensor, empty: Tensor, whole: Tensor) -> Tensor:
    """f of circuits, of the mean over prompts.

    Args:
        said: (n, n_prompts) what the model says with each circuit.
        empty: (n_prompts,) with none of the parts.
        whole: (n_prompts,) with all.

    Returns:
        (n,).
    """
    return (said.mean(-1) - empty.mean()) / (whole.mean() - empty.mean())


def counts(n_parts: int, sizes: Sequence[float] = SIZES) -> list[int]:
    """How many parts a circuit of each size has."""
    return [int(size * n_parts) for size in sizes]


def circuits(scores: Tensor, how_many: Sequence[int], by_size: bool) -> Tensor:
    """(len(how_many), n_parts) which parts are kept: the largest scores, or sizes of scores."""
    order = (scores.abs() if by_size else scores).argsort(descending=True, stable=True)
    place = torch.empty_like(order)
    place[order] = torch.arange(len(order))
    return place[None] < torch.tensor(list(how_many))[:, None]


def cpr(f: Tensor, sizes: Sequence[float] = SIZES) -> float:
    """The area under f over the sizes: (len(sizes),) → a number."""
    return _area(f, sizes)


def cmd(f: Tensor, sizes: Sequence[float] = SIZES) -> float:
    """The area between f and 1 over the sizes: (len(sizes),) → a number."""
    return _area((1 - f).abs(), sizes)


def _area(values: Tensor, sizes: Sequence[float]) -> float:
    return float(torch.trapezoid(values.double(), torch.tensor(sizes, dtype=torch.float64)))


def auroc(scores: Tensor, member: Tensor) -> float:
    """How often a part of the circuit is scored above one that is not; equal scores count half.

    Args:
        scores: (n,).
        member: (n,) which are of the circuit: some, but not all.
    """
    n_in, n_out = int(member.sum()), int((~member).sum())
    above = ranks(scores.double())[member].sum() - n_in * (n_in + 1) / 2
    return float(above / (n_in * n_out))
