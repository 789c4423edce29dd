"""What pruning keeps. What it leaves out goes to `rest` nodes, never out of sight."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

import torch
from torch import Tensor

from ..model import VisitError

Count = int | tuple[int, int]


@dataclass(frozen=True)
class Keep:
    """How many parts of a whole are drawn as nodes of their own.

    A count keeps that many parts, the largest by |measure| first. A pair (p, n) keeps the p most
    positive and the n
    most negative ones.

    Attributes:
        heads: heads of a layer.
        memories: sources of a head.
        neurons: neurons of a layer.
        rows: W_O rows of a layer, shown apart from their heads.
        mass: stop earlier, once the kept parts make up this much of the sum of |measure| over all
            parts (0 … 1).
    """

    heads: Count = 10
    memories: Count = 2
    neurons: Count = 12
    rows: Count = 0
    mass: float | None = None

    def __post_init__(self) -> None:
        for name in ("heads", "memories", "neurons", "rows"):
            value = getattr(self, name)
            if isinstance(value, list):
                value = tuple(value)
                object.__setattr__(self, name, value)
            pair = value if isinstance(value, tuple) else (value, 0)
            counts = [v for v in pair if isinstance(v, int) and not isinstance(v, bool) and v >= 0]
            if len(pair) != 2 or len(counts) != 2:
                raise VisitError(
                    f"Keep.{name} is a count, or a pair of counts (most positive, most negative), "
                    f"not {value!r}."
                )
        number = isinstance(self.mass, (int, float)) and not isinstance(self.mass, bool)
        if self.mass is not None and not (number and 0 < self.mass <= 1):
            raise VisitError(f"Keep.mass is a fraction above 0 and at most 1, not {self.mass!r}.")

    @classmethod
    def visit(cls) -> Keep:
        """The published tool's graph: 10 heads, 2 memories a head, 18 + 7 neurons, 18 + 7 W_O
        rows.
        """
        return cls(heads=10, memories=2, neurons=(18, 7), rows=(18, 7))

    @classmethod
    def of(cls, value: Keep | dict[str, Any] | None) -> Keep:
        """From a Keep, a mapping of its fields (as it travels in JSON), or None for the default."""
        if value is None:
            return cls()
        if isinstance(value, Keep):
            return value
        known = {f.name for f in fields(cls)}
        if not isinstance(value, dict):
            raise VisitError(f"keep is a Keep or a mapping of its fields, not {value!r}.")
        unknown = sorted(set(value) - known)
        if unknown:
            raise VisitError(f"Keep has no {unknown[0]!r}; it has {', '.join(sorted(known))}.")
        return cls(**value)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, pairs as lists."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    def select(self, values: Tensor, count: Count) -> list[int]:
        """The indices to keep of a whole's parts, largest |value| first.

        Args:
            values: (n,) the measure of each part.
            count: one of the counts above.
        """
        if isinstance(count, tuple):
            order = values.argsort(descending=True)
            ranked = list(zip(order.tolist(), values[order].tolist(), strict=True))
            chosen = [(i, v) for i, v in ranked if v > 0][: count[0]]
            chosen += [(i, v) for i, v in reversed(ranked) if v < 0][: count[1]]
            kept = [i for i, _ in sorted(chosen, key=lambda part: -abs(part[1]))]
        else:
            kept = values.abs().argsort(descending=True, stable=True)[:count].tolist()
        if self.mass is not None and kept:
            sizes = values.abs()[kept]
            total = float(values.abs().sum())
            enough = (torch.cumsum(sizes, 0) >= self.mass * total - 1e-12 * total).nonzero()
            if len(enough):
                kept = kept[: int(enough[0]) + 1]
        return kept
