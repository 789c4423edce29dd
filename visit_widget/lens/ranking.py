"""The largest and smallest of long rows, faster than `Tensor.topk` on a CPU.

A row's k largest are in the k blocks with the largest maxima: those blocks are found first, and
only they are sorted.
"""

from __future__ import annotations

import torch
from torch import Tensor

BLOCK = 128
# For many of a row, shorter blocks: of each of those found, all numbers are sorted.
SHORT_BLOCK, MANY = 64, 24
# Below this many columns plain top-k is as fast.
LONG = 8 * 1024
_ROWS_AT_ONCE = 8


def largest(rows: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Values and column numbers (n, k) of the k largest of each row, largest first.

    Args:
        rows: (n, width).
        k: 0 … width.
    """
    return _extreme(rows, k, True)


def smallest(rows: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Values and column numbers (n, k) of the k smallest of each row, smallest first.

    Args:
        rows: (n, width).
        k: 0 … width.
    """
    return _extreme(rows, k, False)


def _extreme(rows: Tensor, k: int, up: bool) -> tuple[Tensor, Tensor]:
    n, width = rows.shape
    block = SHORT_BLOCK if k >= MANY else BLOCK
    n_blocks = width // block
    if rows.device.type != "cpu" or width < LONG or not 0 < k <= n_blocks // 2:
        found = rows.topk(k, -1, largest=up)
        return found.values, found.indices
    blocks = rows[:, : n_blocks * block].unflatten(-1, (n_blocks, block))
    peaks = blocks.amax(-1) if up else blocks.amin(-1)
    chosen = peaks.topk(k, -1, largest=up).indices
    within = torch.arange(block, device=rows.device)
    columns = (chosen[..., None] * block + within).flatten(1)
    left_over = torch.arange(n_blocks * block, width, device=rows.device).expand(n, -1)
    columns = torch.cat([columns, left_over], -1)
    found = rows.gather(-1, columns).topk(k, -1, largest=up)
    return found.values, columns.gather(-1, found.indices)


def above(rows: Tensor, than: Tensor) -> Tensor:
    """(n,) how many numbers of each row are larger than one of its own.

    Counted in floats: on a CPU several times faster than summing booleans, and exact up to sixteen
    million. A few rows at a time stay in the cache.

    Args:
        rows: (n, width).
        than: (n,).
    """
    counts = torch.empty_like(than, dtype=torch.long)
    larger = rows.new_empty(min(_ROWS_AT_ONCE, len(rows)), rows.shape[1])
    for some, bound, count in zip(
        *(t.split(_ROWS_AT_ONCE) for t in (rows, than, counts)), strict=True
    ):
        count.copy_(torch.gt(some, bound[:, None], out=larger[: len(some)]).sum(-1))
    return counts
