"""Attention asked again: queries that look for something else, keys and values that are others.

A query, a key, a value or one attention weight is no slice of what a module is given. An edit of it
changes what the attention function gives, so that is called again, for the rows and heads that are
touched, and the mixes of values that come out take the place of the others.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn

from ..model.operations import plain_attention
from .precise import PreciseSoftmax

if TYPE_CHECKING:
    from ..model import BlockAnatomy
    from .record import AttentionRecord


# Queries that attend again together.
ROWS_AT_ONCE = 128


@dataclass(frozen=True)
class Look:
    """What some heads look for, look at, or take from there becomes `factor · x + put`.

    Attributes:
        what: "query", "key", "value", "weight" (of the softmax; the others share what is freed) or
            "part" (weight times value).
        heads: whose mix of values is changed.
        rows: (n,) the queries' places.
        factor: a number.
        source: whose key, value, weight or part; every one by default.
        put: (n or 1, width) instead, of a query, key or value of one head, or of a part.
    """

    what: Literal["query", "key", "value", "weight", "part"]
    heads: tuple[int, ...]
    rows: Tensor
    factor: float
    source: int | None = None
    put: Tensor | None = None

    @property
    def sources(self) -> slice:
        """The columns of the sources."""
        return slice(None) if self.source is None else slice(self.source, self.source + 1)


@dataclass
class Asking:
    """An attention call that is made again.

    Attributes:
        query: (B, n_heads, Q, d_head).
        key, value: (B, n_kv_heads, T, …).
        mask: (B, 1 or n_heads, Q, T), added to the scores.
        record: what is called, and with which options.
        module: the attention module.
    """

    query: Tensor
    key: Tensor
    value: Tensor
    mask: Tensor
    record: AttentionRecord
    module: nn.Module

    def one(self, batch: int) -> Asking:
        """One of the batch, with tensors of its own."""
        at = slice(batch, batch + 1)
        n_heads = self.query.shape[1]
        mask = self.mask[at] if len(self.mask) > 1 else self.mask
        return Asking(
            self.query[at].clone(), self.key[at].clone(), self.value[at].clone(),
            mask.expand(-1, n_heads, -1, -1).clone(), self.record, self.module,
        )  # fmt: skip

    def answer(self, value: Tensor | None = None) -> Tensor:
        """(B, Q, n_heads, d_value) the mixed values."""
        wide = self.query.dtype == torch.float64 and self.record.attend is not plain_attention
        with PreciseSoftmax() if wide else nullcontext():
            mixed, _ = self.record.attend(
                self.module, self.query, self.key, self.value if value is None else value,
                self.mask, scaling=self.record.scaling, dropout=0.0, **self.record.options,
            )  # fmt: skip
        return mixed

    def looked(self, looks: Sequence[Look], row: int | Tensor) -> Tensor:
        """(B, Q, n_heads, d_value) with edits, which are those of the heads that will be taken."""
        parts = [look for look in looks if look.what == "part"]
        for look in looks:
            self._edit(look, row)
        mixed = self.answer()
        for look in parts:
            alone = torch.zeros_like(self.value)
            alone[:, :, look.sources] = self.value[:, :, look.sources]
            mixed = mixed + (look.factor - 1) * self.answer(alone)
            if look.put is not None:
                mixed = mixed + self._put(look, row)[None, :, None].to(mixed)
        return mixed

    def _edit(self, look: Look, row: int | Tensor) -> None:
        heads, sources = list(look.heads), look.sources
        if look.what == "query":
            put = 0 if look.put is None else self._put(look, row)[None, None].to(self.query)
            self.query[:, heads] = self.query[:, heads] * look.factor + put
        elif look.what == "weight":
            lowest = torch.finfo(self.mask.dtype).min
            factor = torch.tensor(look.factor, dtype=self.mask.dtype)
            more = float(factor.log()) if look.factor > 0 else lowest
            column = self.mask[:, heads, :, sources]
            self.mask[:, heads, :, sources] = (column + more).clamp_min(lowest)
        elif look.what in ("key", "value"):
            tensor = self.key if look.what == "key" else self.value
            shared = self.query.shape[1] // tensor.shape[1]
            groups = sorted({h // shared for h in heads})
            put = 0 if look.put is None else look.put.to(tensor)
            tensor[:, groups, sources] = tensor[:, groups, sources] * look.factor + put

    @staticmethod
    def _put(look: Look, row: int | Tensor) -> Tensor:
        """(n, width) what is put at these rows."""
        assert look.put is not None
        if len(look.put) == 1:
            return look.put
        rows = torch.as_tensor(row).reshape(-1).tolist()
        order = {place: n for n, place in enumerate(look.rows.tolist())}
        return look.put[[order[r] for r in rows]]


def asking(kept: AttentionRecord, part: BlockAnatomy, rows: Tensor) -> Asking:
    """The attention call of some queries of a pass."""
    assert part.attention is not None
    query, key = kept.query, kept.key
    masks = [kept.mask.row(r, key.shape[1], query.dtype, query.device) for r in rows.tolist()]
    return Asking(
        query[None, :, rows.to(query.device)], key[None], kept.value[None], torch.cat(masks, -2),
        kept, part.attention,
    )  # fmt: skip


def look_again(
    looks: Iterable[Look],
    kept: AttentionRecord,
    part: BlockAnatomy,
    positions: Tensor,
    mixed: Tensor,
) -> Tensor:
    """The heads' mixes of values, of queries that look otherwise.

    Args:
        looks: how.
        kept: queries, keys and values of the pass.
        part: the modules of the layer.
        positions: (n,) of the queries.
        mixed: (n, n_heads, d_value), which is written to.
    """
    for (heads, some_looks), places in _jobs(looks, positions).items():
        for some in torch.tensor(places).split(ROWS_AT_ONCE):
            rows = positions[some]
            found = asking(kept, part, rows).one(0).looked(some_looks, rows)
            for head in heads:
                mixed[some, head] = found[0, :, head].to(mixed)
    return mixed


def look_alone(looks: Iterable[Look], asking: Asking, mixed: Tensor) -> Tensor:
    """The mixes of values of variants of one query that look otherwise, each in its own way.

    Args:
        looks: how; their rows are places in the batch.
        asking: the call of all variants, one query each.
        mixed: (R, n_heads, d_value) what it gives.
    """
    mixed = mixed.clone()
    for (heads, some), places in _jobs(looks, torch.arange(len(mixed))).items():
        for place in places:
            found = asking.one(place).looked(some, place)
            for head in heads:
                mixed[place, head] = found[0, 0, head]
    return mixed


Jobs = dict[tuple[tuple[int, ...], tuple[Look, ...]], list[int]]


def _jobs(looks: Iterable[Look], positions: Tensor) -> Jobs:
    """Which heads look in which way, and at which places among the positions."""
    by_head = defaultdict[tuple[int, int], list[Look]](list)
    where = {position: n for n, position in enumerate(positions.tolist())}
    for look in looks:
        for row in look.rows.tolist():
            if row in where:
                for head in look.heads:
                    by_head[where[row], head].append(look)
    ways = defaultdict[tuple[int, tuple[int, ...]], list[int]](list)
    known = {id(look): look for some in by_head.values() for look in some}
    for (place, head), some in by_head.items():
        ways[place, tuple(id(look) for look in some)].append(head)
    jobs: Jobs = defaultdict(list)
    for (place, ids), heads in ways.items():
        jobs[tuple(heads), tuple(known[i] for i in ids)].append(place)
    return jobs
