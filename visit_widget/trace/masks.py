"""What each query may see, and what is added to its scores, without keeping a T×T tensor.

Rows of nearly all masks are a few runs of seen sources (causal, sliding window, prefix, packed
documents). What is added where a query sees (ALiBi) depends on the head and the key, or on the head
and the distance. Both are found by looking at the numbers, and kept only where they give the mask
back; any other mask is kept as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from ..model import UnsupportedModelError

Along = Literal["key", "distance"]

# Rows looked at together: what is made on the way stays far below T×T.
ROWS_AT_ONCE = 128
# Kept as runs while these take less memory than one byte for each source.
BYTES_PER_RUN = 8


@dataclass(frozen=True)
class Bias:
    """What is added to the scores of seen sources.

    Attributes:
        table: (1 or n_heads, T) by key, or (1 or n_heads, 2T − 1) by distance.
        along: what its columns are: "key" j, or "distance" j − i + T − 1.
    """

    table: Tensor
    along: Along

    def columns(self, query: int, first: int, last: int) -> Tensor:
        """(1 or n_heads, last − first + 1) for one query and the sources first … last."""
        shift = 0 if self.along == "key" else self.table.shape[1] // 2 - query
        return self.table[:, first + shift : last + shift + 1]

    def until(self, n_tokens: int) -> Bias:
        """That of the first tokens alone, as a view."""
        first, end = 0, n_tokens
        if self.along == "distance":
            middle = self.table.shape[1] // 2
            first, end = middle - n_tokens + 1, middle + n_tokens
        return Bias(self.table[:, first:end], self.along)


@dataclass(frozen=True)
class MaskRow:
    """What one query saw of a pass in steps.

    Attributes:
        first, last: (1, R) as of `RowMask`.
        bias: (1 or n_heads, K) what was added to the scores of the last K sources; None for
            nothing.
        offset: the first of these K.
    """

    first: Tensor | None
    last: Tensor | None
    bias: Tensor | None = None
    offset: int = 0

    @classmethod
    def each(cls, mask: Any, begin: int, n_rows: int, n_keys: int) -> tuple[MaskRow, ...] | None:
        """The rows of several queries that follow one another; arguments as `of`.

        Args:
            mask: likewise, with n_rows rows; each sees nothing after its own key.
            begin: the first query's position.
            n_rows: how many there are.
            n_keys: keys up to that of the last.
        """
        if n_rows == 1:
            row = cls.of(mask, begin, n_keys)
            return None if row is None else (row,)
        if not isinstance(mask, Tensor) or mask.shape[-2:] != (n_rows, n_keys):
            return None
        rows = []
        for n in range(n_rows):
            own = n_keys - n_rows + n + 1
            if bool(_seen(mask[..., n, own:]).any()):
                return None
            rows.append(cls.of(mask[..., n : n + 1, :own], begin + n, own))
        return None if None in rows else tuple(row for row in rows if row is not None)

    @classmethod
    def of(cls, mask: Any, position: int, n_keys: int) -> MaskRow | None:
        """From the mask that the attention function got for one query and the keys up to its own;
        None where heads see different sources, or where it cannot be read.

        Args:
            mask: None (every key is seen), boolean or additive, (1, 1 or n_heads, 1, n_keys).
            position: the query's.
            n_keys: how many keys there are, the last of them the query's own.
        """
        offset = position + 1 - n_keys
        if mask is None:
            first = torch.tensor([[offset]], dtype=torch.int32, device="cpu")
            return cls(first, torch.full_like(first, position))
        if not isinstance(mask, Tensor):
            return None
        mask = mask.detach()[(None,) * (4 - mask.ndim)]
        if mask.shape[0] != 1 or mask.shape[-2:] != (1, n_keys):
            return None
        kind = _kinds(mask)
        if kind is None:
            return None
        seen = _seen(mask[0, 0, 0]).tolist()
        starts = [n for n, s in enumerate(seen) if s and not (n and seen[n - 1])]
        ends = [n for n, s in enumerate(seen) if s and not (n + 1 < n_keys and seen[n + 1])]
        first = torch.tensor([starts], dtype=torch.int32, device="cpu") + offset
        last = torch.tensor([ends], dtype=torch.int32, device="cpu") + offset
        return cls(first, last, _own(mask[0, :, 0]) if kind == "biased" else None, offset)


@dataclass(frozen=True)
class RowMask:
    """The mask of an attention call, kept small.

    Attributes:
        first: (T, R) the first source of each run of sources that a query sees; R is 1 for plain
            intervals.
        last: (T, R) the last one; before `first` where a query has fewer runs.
        bias: what is added where a query sees; None for nothing.
        dense: (1, 1 or n_heads, T, T), kept only for masks that are neither.
    """

    first: Tensor | None
    last: Tensor | None
    bias: Bias | None = None
    dense: Tensor | None = None

    @classmethod
    def of(cls, mask: Any, n_tokens: int, causal: bool, window: int | None = None) -> RowMask:
        """From the mask that the attention function got: None, boolean (True = seen), additive, or
        the block mask of flex attention; with None, how many sources a query sees of its own
        accord.
        """
        if mask is None:
            positions = torch.arange(n_tokens, dtype=torch.int32, device="cpu")[:, None]
            last = positions if causal else torch.full_like(positions, n_tokens - 1)
            first = 0 * positions if window is None else (positions - window + 1).clamp_min(0)
            return cls(first, last)
        if not isinstance(mask, Tensor):
            mask = _of_flex_attention(mask, n_tokens)
        elif mask.ndim == 2 and mask.shape[0] == 1 < n_tokens:
            # Which tokens are no padding: what kernels get, which look backwards by themselves.
            mask = (mask != 0).expand(n_tokens, -1)
            mask = mask.tril() if causal else mask
        mask = mask.detach()[(None,) * (4 - mask.ndim)][..., -n_tokens:, -n_tokens:]
        if mask.shape[-2] == 1:  # one row for every query
            mask = mask.expand(-1, -1, n_tokens, -1)
        kinds = _kinds(mask)
        if kinds is None or mask.shape[0] != 1:
            return cls(None, None, None, _own(mask))
        runs = _runs(mask)
        if runs is None:
            shown = torch.cat([_seen(r) for r in mask[:, :1].split(ROWS_AT_ONCE, dim=-2)], -2)
            return cls(None, None, None, _own(mask) if kinds == "biased" else shown)
        first, last = runs
        if kinds == "plain":
            return cls(first, last)
        heads = mask[0]
        bias = _bias(lambda q, s, e: heads[:, q, s : e + 1], len(heads), heads, first, last)
        return cls(None, None, None, _own(mask)) if bias is None else cls(first, last, bias)

    @classmethod
    def grown(cls, parts: Sequence[RowMask | MaskRow]) -> RowMask | None:
        """The mask of several passes that follow one another, each over what came before it too;
        None where it is neither intervals nor a regular bias.

        Args:
            parts: the mask of the first pass, and the rows of each later query.
        """
        if len(parts) == 1 and isinstance(parts[0], RowMask):
            return parts[0]
        runs: list[tuple[Tensor, Tensor]] = []
        for part in parts:
            if part.first is None or part.last is None:
                return None
            runs.append((part.first, part.last))
        widest = max(first.shape[1] for first, _ in runs)
        # A run that is not there ends before it begins.
        first = torch.cat([_widened(f, widest, 1) for f, _ in runs])
        last = torch.cat([_widened(x, widest, 0) for _, x in runs])
        if all(part.bias is None for part in parts):
            return cls(first, last)
        tables = [p.bias.table if isinstance(p.bias, Bias) else p.bias for p in parts]
        known = [table for table in tables if table is not None]
        begun = len(runs[0][0])

        def given(query: int, start: int, end: int) -> Tensor:
            part = parts[0] if query < begun else parts[query - begun + 1]
            if part.bias is None:  # of a query that sees itself alone, say
                return known[0].new_zeros(1, end - start + 1)
            if isinstance(part.bias, Bias):
                return part.bias.columns(query, start, end)
            assert isinstance(part, MaskRow)
            return part.bias[:, start - part.offset : end - part.offset + 1]

        n_heads = max(table.shape[0] for table in known)
        bias = _bias(given, n_heads, known[0], first, last)
        return None if bias is None else cls(first, last, bias)

    def row(
        self, position: int, n_sources: int, dtype: torch.dtype, device: torch.device
    ) -> Tensor:
        """The additive mask of one query: (1, 1 or n_heads, 1, n_sources)."""
        lowest = torch.finfo(dtype).min
        if self.dense is not None:
            row = self.dense[..., position : position + 1, :].to(device)
            if row.dtype == torch.bool:
                return torch.zeros_like(row, dtype=dtype).masked_fill_(~row, lowest)
            return row.to(dtype).clamp_min(lowest)
        n_heads = 1 if self.bias is None else self.bias.table.shape[0]
        row = torch.full((n_heads, n_sources), lowest, dtype=dtype, device=device)
        for first, last in self._runs_of(position):
            if self.bias is None:
                row[:, first : last + 1] = 0
            else:
                row[:, first : last + 1] = self.bias.columns(position, first, last).to(row)
        return row[None, :, None]

    def until(self, n_tokens: int) -> RowMask:
        """That of the first tokens alone, as views. A query is to see none after them."""
        first = None if self.first is None else self.first[:n_tokens]
        last = None if self.last is None else self.last[:n_tokens]
        bias = None if self.bias is None else self.bias.until(n_tokens)
        dense = None if self.dense is None else self.dense[..., :n_tokens, :n_tokens]
        return RowMask(first, last, bias, dense)

    def _runs_of(self, position: int) -> Iterator[tuple[int, int]]:
        assert self.first is not None
        assert self.last is not None
        return _pairs(self.first[position], self.last[position])


def _pairs(first: Tensor, last: Tensor) -> Iterator[tuple[int, int]]:
    """The runs of one query that are there."""
    for start, end in zip(first.tolist(), last.tolist(), strict=True):
        if start <= end:
            yield start, end


def _own(mask: Tensor) -> Tensor:
    """The mask without the rest of a larger storage that it may be a slice of."""
    small = mask.untyped_storage().nbytes() <= mask.numel() * mask.element_size()
    return mask if small else mask.contiguous().clone()


def _seen(rows: Tensor) -> Tensor:
    return rows if rows.dtype == torch.bool else rows > torch.finfo(rows.dtype).min / 2


def _kinds(mask: Tensor) -> Literal["plain", "biased"] | None:
    """Whether anything is added where a query sees; None where heads see different sources."""
    kind: Literal["plain", "biased"] = "plain"
    for rows in mask.split(ROWS_AT_ONCE, dim=-2):
        seen = _seen(rows)
        if seen.shape[1] > 1 and not bool((seen == seen[:, :1]).all()):
            return None
        if rows.dtype != torch.bool and bool(((rows != 0) & seen).any()):
            kind = "biased"
    return kind


def _runs(mask: Tensor) -> tuple[Tensor, Tensor] | None:
    """(T, R) the first and last source of each run of seen sources, from the first head; None where
    rows have so many runs that they take more memory than the mask.
    """
    n_tokens = mask.shape[-1]
    edges: list[tuple[Tensor, Tensor, int]] = []
    for begin in range(0, n_tokens, ROWS_AT_ONCE):
        seen = _seen(mask[0, 0, begin : begin + ROWS_AT_ONCE])
        margin = torch.zeros_like(seen[:, :1])
        starts = (seen & ~torch.cat([margin, seen[:, :-1]], 1)).nonzero().cpu()
        ends = (seen & ~torch.cat([seen[:, 1:], margin], 1)).nonzero().cpu()
        # The runs of a row follow one another: number them from its first.
        counts = torch.bincount(starts[:, 0], minlength=len(seen))
        offset = counts.cumsum(0) - counts
        number = torch.arange(len(starts), device="cpu") - offset[starts[:, 0]]
        place = torch.stack([starts[:, 0] + begin, number])
        edges.append((place, torch.stack([starts[:, 1], ends[:, 1]]), int(counts.max())))
    n_runs = max(1, *(most for _, _, most in edges))
    if n_runs > 1 and n_runs * BYTES_PER_RUN > n_tokens:
        return None
    first = torch.ones(n_tokens, n_runs, dtype=torch.int32, device="cpu")
    last = torch.zeros(n_tokens, n_runs, dtype=torch.int32, device="cpu")
    for (row, number), (start, end), _ in edges:
        first[row, number], last[row, number] = start.int(), end.int()
    return first, last


def _bias(
    given: Callable[[int, int, int], Tensor], n_heads: int, like: Tensor, first: Tensor,
    last: Tensor,
) -> Bias | None:  # fmt: skip
    """What is added, if it depends on (head, key) or on (head, distance) alone.

    Args:
        given: what is added for a query and the sources from one to another, (1 or n_heads, K).
        n_heads: 1 where it is the same for all heads.
        like: a tensor of its kind.
        first: (T, R).
        last: (T, R).
    """
    n_tokens = len(first)
    rows = [(i, run) for i in range(n_tokens) for run in _pairs(first[i], last[i])]
    rows.reverse()  # in a causal mask the last query sees all there is
    widths: dict[Along, int] = {"key": n_tokens, "distance": 2 * n_tokens - 1}
    for along, width in widths.items():
        bias = Bias(like.new_full((n_heads, width), torch.nan), along)
        for query, (start, end) in rows:
            there = bias.columns(query, start, end)
            numbers = given(query, start, end)
            known = ~there.isnan()
            if not bool((_close(numbers, there) | ~known).all()):
                break
            there.copy_(torch.where(known, there, numbers))
        else:
            return bias
    return None


def _widened(runs: Tensor, width: int, fill: int) -> Tensor:
    """(T, R) runs with as many columns as are wanted."""
    more = runs.new_full((len(runs), width - runs.shape[1]), fill)
    return torch.cat([runs, more], 1)


def _close(given: Tensor, expected: Tensor) -> Tensor:
    """Equal to rounding of the numbers themselves."""
    return (given - expected).abs() <= 2 * torch.finfo(given.dtype).eps * expected.abs()


def _of_flex_attention(mask: Any, n_tokens: int) -> Tensor:
    """The boolean mask (1, 1, T, T) that a block mask stands for."""
    rule = getattr(mask, "mask_mod", None)
    if rule is None:
        raise UnsupportedModelError(
            f"The attention got a mask that cannot be read ({type(mask).__name__}): call "
            'model.set_attn_implementation("sdpa") and trace again.'
        )
    from torch.nn.attention.flex_attention import create_mask

    return create_mask(rule, 1, 1, n_tokens, n_tokens, device=mask.kv_num_blocks.device)
