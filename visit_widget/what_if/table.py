"""The effects of many parts, as a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..model import VisitError


@dataclass(frozen=True)
class Effect:
    """What the prediction loses by one part, in logits.

    Attributes:
        predicted: to first order; None of a part that adds nothing to the stream by itself (a
            query, a key, a weight), or where no derivative can be taken.
        measured: by running the model without it.
    """

    predicted: float | None
    measured: float


@dataclass(frozen=True)
class Effects(Mapping[str, Effect]):
    """The effects of many parts on one prediction, by node id.

    Attributes:
        target, foil: what is followed, as a person reads it.
        action: what was done to each part.
        positions: where.
        logit: m as it is.
    """

    target: str
    foil: str | None
    action: str
    positions: tuple[int, ...]
    logit: float
    _effects: dict[str, Effect]

    def __getitem__(self, name: str) -> Effect:
        return self._effects[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._effects)

    def __len__(self) -> int:
        return len(self._effects)

    def __repr__(self) -> str:
        rows = [f"  {n:<12} {_number(e.predicted)} {_number(e.measured)}" for n, e in self.top(8)]
        more = [] if len(self) <= 8 else [f"  … {len(self) - 8} more"]
        about = f"Effects on {self.target!r}"
        about += "" if self.foil is None else f" against {self.foil!r}"
        head = f"{about}: {len(self)} parts, {self.action}, ρ = {_number(self.rho).strip()}"
        return "\n".join([head, "  part         predicted  measured", *rows, *more])

    @property
    def rho(self) -> float | None:
        """The rank correlation of what was foretold with what was measured; None for fewer than
        three parts with both.
        """
        both = [e for e in self.values() if e.predicted is not None]
        if len(both) < 3:
            return None
        columns = torch.tensor([[e.predicted, e.measured] for e in both], dtype=torch.float64)
        ranks = torch.stack([_ranks(c) for c in columns.T])
        ranks = ranks - ranks.mean(-1, keepdim=True)
        lengths = ranks.norm(dim=-1).prod()
        return float((ranks[0] @ ranks[1]) / lengths) if float(lengths) else None

    def found(self, n: int = 10) -> int:
        """How many of the n parts with the largest measured effects are among the n that were
        foretold to be.
        """
        both = {name: e for name, e in self.items() if e.predicted is not None}
        foretold = sorted(both, key=lambda name: -abs(both[name].predicted or 0.0))[:n]
        measured = sorted(both, key=lambda name: -abs(both[name].measured))[:n]
        return len(set(foretold) & set(measured))

    def top(self, n: int = 10) -> list[tuple[str, Effect]]:
        """The n parts with the largest measured effects, largest first."""
        return sorted(self.items(), key=lambda item: -abs(item[1].measured))[:n]

    def to_pandas(self) -> Any:
        """A table with a row for each part: id, predicted, measured.

        Raises:
            VisitError: pandas is not installed.
        """
        try:
            import pandas as pd
        except ImportError as error:
            raise VisitError("A table needs pandas: pip install pandas.") from error
        rows = [
            {"id": n, "predicted": e.predicted, "measured": e.measured} for n, e in self.items()
        ]
        return pd.DataFrame(rows, columns=["id", "predicted", "measured"]).set_index("id")


def _ranks(values: Tensor) -> Tensor:
    """Ranks from 1, those of equal values alike."""
    order = values.argsort()
    ranks = torch.empty_like(values)
    ranks[order] = torch.arange(1, len(values) + 1, dtype=values.dtype)
    for value in values.unique():
        same = values == value
        ranks[same] = ranks[same].mean()
    return ranks


def _number(value: float | None) -> str:
    return f"{'–':>10}" if value is None else f"{value:>+10.3f}"
