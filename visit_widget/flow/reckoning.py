"""The numbers of a sheet's nodes and edges, of many at once: one by one, small operations cost more
than the numbers do.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .measures import Along, measures

# Vectors stacked at once, in numbers: what they take beside the sheet's own stays small.
AT_ONCE = 2**22
# (node id, summand, edge kind) of what flows into a whole.
Parts = list[tuple[str, Tensor, str]]


@dataclass(frozen=True)
class Whole:
    """A whole and its parts.

    Attributes:
        target: the whole's node.
        vector: (d_model,).
        parts: what flows into it.
        along: how the followed logit hangs on the stream that they are summands of.
        influences: the parts' own, in a routes graph.
    """

    target: str
    vector: Tensor
    parts: Parts
    along: Along
    influences: Sequence[float | None]


@dataclass(frozen=True)
class Sum:
    """What came of a whole.

    Attributes:
        off: by how much its parts miss it, relative to its length.
        columns: {measure: one number of each part}.
    """

    off: float
    columns: dict[str, list[float]]


def of_vectors(vectors: Sequence[Tensor], along: Sequence[Along | None]) -> list[dict[str, float]]:
    """Of each vector its length, and what it adds to the followed logit where it is a summand.

    Args:
        vectors: (d_model,) each.
        along: how the followed logit hangs on each; None for those that are no summands.
    """
    found: list[dict[str, float]] = []
    for begin, end in _batches([len(v) for v in vectors]):
        stacked = torch.stack(list(vectors[begin:end]))
        mine = [{"norm": n} for n in stacked.norm(dim=-1).tolist()]
        for name in ("logit", "effect"):
            ways = [None if a is None else getattr(a, name) for a in along[begin:end]]
            rows = [n for n, way in enumerate(ways) if way is not None]
            if rows:
                directions = torch.stack([way for way in ways if way is not None])
                values = torch.einsum("nd,nd->n", stacked[rows], directions).tolist()
                for row, value in zip(rows, values, strict=True):
                    mine[row][name] = value
        found += mine
    return found


def of_wholes(wholes: Sequence[Whole], against_parts: bool) -> Iterator[Sum]:
    """What comes of each whole.

    Args:
        wholes: each with a part at least.
        against_parts: whether what is missing is held against the largest part where that is longer
            than the whole: what was taken away whole is nothing to measure by.
    """
    for begin, end in _batches([len(w.parts) * len(w.vector) for w in wholes]):
        some = wholes[begin:end]
        counts = [len(w.parts) for w in some]
        parts = torch.stack([part for w in some for _, part, _ in w.parts])
        whole = torch.stack([w.vector for w in some])
        of = torch.repeat_interleave(
            torch.arange(len(some), device=parts.device), torch.tensor(counts, device=parts.device)
        )
        size, missing = whole.norm(dim=-1), whole.neg().index_add_(0, of, parts).norm(dim=-1)
        if against_parts:
            size = size.scatter_reduce(0, of, parts.norm(dim=-1), "amax")
        off = (missing / size.clamp_min(1e-30)).tolist()
        columns = measures(parts, whole, of, [w.along for w in some])
        told = {name: column.tolist() for name, column in columns.items()}
        start = 0
        for n, count in enumerate(counts):
            rows = slice(start, start + count)
            start += count
            yield Sum(off[n], {name: column[rows] for name, column in told.items()})


def _batches(sizes: Sequence[int]) -> Iterator[tuple[int, int]]:
    """From where to where things of these sizes are taken together."""
    begin, total = 0, 0
    for n, size in enumerate(sizes):
        if n > begin and total + size > AT_ONCE:
            yield begin, n
            begin, total = n, 0
        total += size
    if begin < len(sizes):
        yield begin, len(sizes)
