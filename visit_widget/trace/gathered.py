"""What several passes left, put together as one pass would have left it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from .masks import MaskRow, RowMask
from .record import HIDDEN, Half, LayerRecord, MaskOf


@dataclass
class Part:
    """What some passes that follow one another left.

    Attributes:
        n_tokens: rows of it.
        layers: one per block; the mask of their attention is left out.
        masks: by layer, those of the passes, in order; one object where layers share it.
        final: (n_tokens, d_model).
        noted: positions at which it was noted what sublayers add.
        added: by layer, what they added there, (len(noted), d_model).
    """

    n_tokens: int
    layers: list[LayerRecord]
    masks: list[tuple[RowMask | MaskRow, ...]]
    final: Tensor
    noted: list[int]
    added: list[dict[Half, Tensor]]


def joined(parts: Sequence[Part]) -> Part:
    """Several parts as one. Layer by layer the parts lose what is put together: kept twice at once
    is one layer.
    """
    if len(parts) == 1:
        return parts[0]
    merged = Merged([p.n_tokens for p in parts])
    layers = []
    for index in range(len(parts[0].layers)):
        rows = [p.layers[index] for p in parts]
        one = LayerRecord(merged.rows([r.pre for r in rows]))
        for name in ("mid", "mixed"):
            some = [getattr(r, name) for r in rows]
            setattr(one, name, None if some[0] is None else merged.rows(some))
        kept = [r.attention for r in rows if r.attention is not None]
        if kept:
            one.attention = replace(
                kept[0],
                query=torch.cat([k.query for k in kept], 1),
                key=torch.cat([k.key for k in kept], 1),
                value=torch.cat([k.value for k in kept], 1),
                options=merged.named([k.options for k in kept]),
                arguments=merged.arguments([k.arguments for k in kept]),
            )
        layers.append(one)
        for part in parts:
            part.layers[index] = LayerRecord(one.pre)
    added: list[dict[Half, Tensor]] = [
        {half: torch.cat([a[half] for a in some if half in a]) for half in some[-1]}
        for some in zip(*(p.added for p in parts), strict=True)
    ]
    masks = [merged.masks(some) for some in zip(*(p.masks for p in parts), strict=True)]
    return Part(
        sum(p.n_tokens for p in parts), layers, masks, merged.rows([p.final for p in parts]),
        [position for p in parts for position in p.noted], added,
    )  # fmt: skip


class Merged:
    """What attention modules were given in several passes, as one would have been given it.

    Args:
        lengths: tokens of the passes.
    """

    def __init__(self, lengths: Sequence[int]) -> None:
        self.lengths = list(lengths)
        # Layers share most of what they are given, and go on doing so.
        self._known: dict[tuple[int, ...], Any] = {}

    @staticmethod
    def rows(tensors: Sequence[Tensor]) -> Tensor:
        """Rows one below the other."""
        return torch.cat(list(tensors))

    def masks(self, parts: Sequence[tuple[Any, ...]]) -> tuple[Any, ...]:
        """The masks of all passes in order, the same object for layers that share them."""
        flat = [mask for part in parts for mask in part]
        key = (-1, *map(id, flat))
        if key not in self._known:
            self._known[key] = tuple(flat)
        found: tuple[Any, ...] = self._known[key]
        return found

    def arguments(
        self, calls: Sequence[tuple[tuple[Any, ...], dict[str, Any]]]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Of a module: its arguments, and those by name."""
        args = tuple(self.value([c[0][n] for c in calls]) for n in range(len(calls[0][0])))
        return args, self.named([c[1] for c in calls])

    def named(self, calls: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Arguments by name."""
        return {name: self.value([c.get(name) for c in calls]) for name in calls[0]}

    def value(self, values: Sequence[Any]) -> Any:
        """One argument of all passes."""
        first, last = values[0], values[-1]
        if any(isinstance(v, MaskOf) for v in values):
            return next(v for v in values if isinstance(v, MaskOf))
        if first is HIDDEN:
            return HIDDEN
        if isinstance(first, (tuple, list)):
            return type(first)(self.value(some) for some in zip(*values, strict=True))
        wide = isinstance(last, Tensor) and last.ndim == 4 and last.shape[0] == 1
        if wide and (first is None or last.shape[-1] != first.shape[-1]):
            # A mask of the rows of one pass, over the keys of all.
            return MaskOf(last.dtype)
        if not all(isinstance(v, Tensor) for v in values):
            return last
        key = tuple(map(id, values))
        if key not in self._known:
            self._known[key] = self._tensor(values)
        return self._known[key]

    def _tensor(self, tensors: Sequence[Tensor]) -> Tensor:
        """Tensors that have a row for each token of their pass, one below the other; what is as
        long in every pass, or as long as all of them are by then, as it was at last.
        """
        first, last = tensors[0], tensors[-1]
        if any(t.ndim != first.ndim for t in tensors) or not first.ndim:
            return last
        order = [*range(first.ndim - 2, -1, -1), first.ndim - 1]
        if first.ndim == 2 and first.shape[0] == 1:
            order.reverse()  # numbers of one row of tokens
        for dim in order:
            if [t.shape[dim] for t in tensors] == self.lengths and all(
                _but(t, dim) == _but(first, dim) for t in tensors
            ):
                return torch.cat(list(tensors), dim)
        return last


def _but(tensor: Tensor, dim: int) -> tuple[int, ...]:
    shape = tuple(tensor.shape)
    return (*shape[:dim], *shape[dim + 1 :])
