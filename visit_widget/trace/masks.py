"""What each query may see, without keeping a T×T tensor where rows are intervals."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class RowMask:
    """The mask of an attention call, kept small.

    Attributes:
        first: (T,) the first source that each query sees.
        last: (T,) the last one.
        dense: (1, 1 or n_heads, T, T), kept only for masks whose rows are not plain intervals
            (ALiBi, prefixes).
    """

    first: Tensor | None
    last: Tensor | None
    dense: Tensor | None = None

    @classmethod
    def of(cls, mask: Tensor | None, n_tokens: int, causal: bool) -> RowMask:
        """From the mask that the attention function got: None, boolean (True = seen) or
        additive.
        """
        positions = torch.arange(n_tokens)
        if mask is None:
            return cls(
                torch.zeros_like(positions), positions if causal else positions * 0 + n_tokens - 1
            )
        if mask.shape[-2:] != (n_tokens, n_tokens):
            mask = mask[..., -n_tokens:, -n_tokens:]
        if mask.dtype == torch.bool:
            seen = mask
        else:
            seen = mask == 0
            hidden = mask <= torch.finfo(mask.dtype).min / 2
            if not bool((seen | hidden).all()):
                return cls(None, None, mask)
        rows = seen[0, 0]
        if not bool((seen == rows).all()) or not bool(rows.any(-1).all()):
            return cls(None, None, mask)
        first = rows.to(torch.uint8).argmax(-1)
        last = n_tokens - 1 - rows.flip(-1).to(torch.uint8).argmax(-1)
        # A row with holes is no interval.
        if not bool((rows.sum(-1) == last - first + 1).all()):
            return cls(None, None, mask)
        return cls(first.cpu(), last.cpu())

    def row(
        self, position: int, n_sources: int, dtype: torch.dtype, device: torch.device
    ) -> Tensor:
        """The additive mask of one query: (1, 1 or n_heads, 1, n_sources)."""
        lowest = torch.finfo(dtype).min
        if self.dense is not None:
            row = self.dense[..., position : position + 1, :].to(device)
            if row.dtype == torch.bool:
                return torch.where(row, 0.0, lowest).to(dtype)
            return row.to(dtype).clamp_min(lowest)
        assert self.first is not None
        assert self.last is not None
        sources = torch.arange(n_sources, device=device)
        seen = (sources >= int(self.first[position])) & (sources <= int(self.last[position]))
        zero = torch.zeros((), dtype=dtype, device=device)
        return torch.where(seen, zero, torch.full_like(zero, lowest)).view(1, 1, 1, n_sources)
