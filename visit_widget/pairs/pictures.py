"""What patching found, as arrays and tables."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .alignment import Alignment
from .tables import table

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class Patching:
    """How far each part of the clean prompt brings its answer back: 0 not at all, 1 wholly.

    Attributes:
        over: what was patched.
        target, foil: what is followed, as a person reads it.
        clean, corrupted: m of each pass, in logits.
        axes: ("layer", "position"), ("layer", "head") or ("layer", "head", "source").
        layers: the first axis.
        columns: the second: positions of the corrupted prompt, or heads.
        sources: the third, where there is one.
        positions: where each part was patched, unless the axes say it.
        ids: node ids, of the axes' shape; None where there is nothing to patch, or no partner.
        measured: of the same shape: the corrupted prompt was run with the part; NaN where no id is.
        predicted: likewise, to first order; NaN also where no derivative can be taken.
        tokens: of the clean and of the corrupted prompt.
        alignment: (position in clean, position in corrupted) of partners.
    """

    over: str
    target: str
    foil: str | None
    clean: float
    corrupted: float
    axes: tuple[str, ...]
    layers: tuple[int, ...]
    columns: tuple[int, ...]
    sources: tuple[int, ...]
    positions: tuple[int, ...]
    ids: np.ndarray
    measured: np.ndarray
    predicted: np.ndarray
    tokens: tuple[tuple[str, ...], tuple[str, ...]]
    alignment: Alignment

    @property
    def logits(self) -> np.ndarray:
        """What is followed with each part patched, as measured, in logits."""
        return self.corrupted + self.measured * (self.clean - self.corrupted)

    @property
    def rho(self) -> float | None:
        """The rank correlation of what was foretold with what was measured; None for fewer than
        three parts with both.
        """
        both = np.isfinite(self.measured) & np.isfinite(self.predicted)
        if both.sum() < 3:
            return None
        ranks = [_ranks(values[both]) for values in (self.measured, self.predicted)]
        if any(np.ptp(r) == 0 for r in ranks):
            return None
        return float(np.corrcoef(ranks)[0, 1])

    def top(self, n: int = 10) -> list[tuple[str, float, float]]:
        """The n parts that bring most back or take most away: id, predicted, measured."""
        rows = [(i, p, m) for _, i, p, m in self._rows() if np.isfinite(m)]
        return sorted(rows, key=lambda row: -abs(row[2]))[:n]

    def _rows(self) -> Iterator[tuple[tuple[int, ...], str, float, float]]:
        for place, name in np.ndenumerate(self.ids):
            if name is not None:
                yield place, str(name), float(self.predicted[place]), float(self.measured[place])

    def __repr__(self) -> str:
        about = self.target if self.foil is None else f"{self.target} − {self.foil}"
        shape = " × ".join(f"{n} {a}s" for n, a in zip(self.ids.shape, self.axes, strict=True))
        rho = "–" if self.rho is None else f"{self.rho:.3f}"
        rows = [
            f"Patching over {self.over}: {shape}, ρ = {rho}",
            f"  {about}: clean {self.clean:+.3f} (1), corrupted {self.corrupted:+.3f} (0)",
            "  part            predicted  measured",
        ]
        rows += [f"  {name:<14} {p:>+10.3f} {m:>+9.3f}" for name, p, m in self.top(8)]
        return "\n".join(rows)

    def to_pandas(self) -> pd.DataFrame:
        """A table with a row for each part that was patched: id, the axes, the tokens of a
        position, predicted, measured and logit.

        Raises:
            VisitError: pandas is not installed.
        """
        ways = (self.layers, self.columns, self.sources)
        of_token = {"position", "source"} & set(self.axes)
        rows = []
        for place, name, predicted, measured in self._rows():
            row: dict[str, Any] = {"id": name}
            for axis, way, n in zip(self.axes, ways, place, strict=False):
                row[axis] = way[n]
            for axis in of_token:
                partner = self.alignment.a_of[row[axis]]
                row["token_clean"] = self.tokens[0][partner]
                row["token_corrupted"] = self.tokens[1][row[axis]]
            row.update(predicted=predicted, measured=measured, logit=float(self.logits[place]))
            rows.append(row)
        return table(rows)

    def to_dict(self) -> dict[str, Any]:
        """Plain data: the arrays as nested lists, None in the place of NaN."""
        arrays = {
            name: _plain(getattr(self, name).tolist()) for name in ("ids", "predicted", "measured")
        }
        told = {
            name: getattr(self, name)
            for name in ("over", "target", "foil", "clean", "corrupted", "rho")
        }
        ways = {n: list(getattr(self, n)) for n in ("axes", "layers", "columns", "sources")}
        pairs = [list(pair) for pair in self.alignment.pairs]
        tokens = dict(zip(("clean", "corrupted"), map(list, self.tokens), strict=True))
        return {**told, **ways, "tokens": tokens, "pairs": pairs, **arrays}

    def to_json(self, indent: int | None = None) -> str:
        """The same as JSON text."""
        return json.dumps(self.to_dict(), ensure_ascii=False, indent=indent, allow_nan=False)


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(v) for v in value]
    return None if isinstance(value, float) and value != value else value


def _ranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 1, those of equal values alike."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = counts.cumsum()
    return (ends - (counts - 1) / 2)[place]
