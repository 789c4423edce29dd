"""The largest and smallest of long rows, faster than `Tensor.topk` on a CPU.

A row's k largest are in the k blocks with the largest maxima: those blocks are found first, and
only they are sorted.
"""

from __future__ import annotations

import torch
from torch import Tensor

BLOCK = 128
# Below this many columns plain top-k is as fast.
LONG = 8 * 1024


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
    n_blocks = width // BLOCK
    if rows.device.type != "cpu" or width < LONG or not 0 < k <= n_blocks // 2:
        found = rows.topk(k, -1, largest=up)
        return found.values, found.indices
    blocks = rows[:, : n_blocks * BLOCK].unflatten(-1, (n_blocks, BLOCK))
    peaks = blocks.amax(-1) if up else blocks.amin(-1)
    chosen = peaks.topk(k, -1, largest=up).indices
    within = torch.arange(BLOCK, device=rows.device)
    columns = (chosen[..., None] * BLOCK + within).flatten(1)
    left_over = torch.arange(n_blocks * BLOCK, width, device=rows.device).expand(n, -1)
    columns = torch.cat([columns, left_over], -1)
    found = rows.gather(-1, columns).topk(k, -1, largest=up)
    return found.values, columns.gather(-1, found.indices)
