"""Means over prompts with their uncertainty, and how stable a choice of the strongest is.

Intervals are by the percentile bootstrap (Efron & Tibshirani 1993, ch. 13): prompts are drawn again
with replacement, so many rows of one prompt count as one observation. The Jaccard index of two sets
is |A ∩ B| / |A ∪ B|.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..model import VisitError

N_DRAWS = 1000
LEVEL = 0.95


@dataclass(frozen=True)
class Summary:
    """The mean of a quantity in one group.

    Attributes:
        group: the columns that make the group, by name.
        mean: over prompts, of each prompt's mean.
        low, high: the bootstrap interval of the mean; NaN for one prompt.
        n_prompts, n_rows: how many prompts and rows it is of.
    """

    group: dict[str, Any]
    mean: float
    low: float
    high: float
    n_prompts: int
    n_rows: int

    def __getitem__(self, name: str) -> Any:
        return self.group[name]


def summarise(
    rows: Iterable[Mapping[str, Any]],
    value: str,
    by: Sequence[str] = ("layer",),
    n_draws: int = N_DRAWS,
    level: float = LEVEL,
    seed: int = 0,
) -> list[Summary]:
    """The mean of a column in each group, over prompts, and its bootstrap interval.

    Args:
        rows: each with `prompt`; those without a number in the column are left out.
        value: the column.
        by: the columns that make groups; groups come in the order in which they are met.
        n_draws: bootstrap samples.
        level: of the interval.
        seed: of the bootstrap.

    Raises:
        VisitError: the rows have no such column.
    """
    groups: dict[tuple[Any, ...], dict[int, list[float]]] = {}
    for row in rows:
        missing = [name for name in (value, *by) if name not in row]
        if missing:
            raise VisitError(f"There is no column {missing[0]!r} here, but {', '.join(row)}.")
        number = row[value]
        if number is None or number != number:
            continue
        group = groups.setdefault(tuple(row[name] for name in by), {})
        group.setdefault(row.get("prompt", 0), []).append(float(number))
    found = []
    for key, prompts in groups.items():
        means = np.array([np.mean(values) for values in prompts.values()])
        low, high = interval(means, n_draws, level, seed)
        n_rows = sum(map(len, prompts.values()))
        group_of = dict(zip(by, key, strict=True))
        found.append(Summary(group_of, float(means.mean()), low, high, len(means), n_rows))
    return found


def interval(
    values: np.ndarray[Any, Any], n_draws: int = N_DRAWS, level: float = LEVEL, seed: int = 0
) -> tuple[float, float]:
    """The percentile bootstrap interval of the mean of (n,) values; NaN for fewer than two."""
    if len(values) < 2:
        return float("nan"), float("nan")
    draws = np.random.default_rng(seed).integers(0, len(values), (n_draws, len(values)))
    rims = 50 * (1 - level), 50 * (1 + level)
    low, high = np.percentile(values[draws].mean(1), rims)
    return float(low), float(high)


def jaccard(first: Iterable[Any], second: Iterable[Any]) -> float:
    """|A ∩ B| / |A ∪ B|; 1 for two empty sets."""
    a, b = set(first), set(second)
    return len(a & b) / len(a | b) if a | b else 1.0


def stability(
    values: np.ndarray[Any, Any], n: int = 10, n_draws: int = 200, seed: int = 0
) -> tuple[float, float, float]:
    """How much of the n strongest columns is the same when other prompts are taken.

    The mean Jaccard index of the n columns with the largest |mean| in all prompts and in bootstrap
    samples of them, and the interval in which 95 % of the indices lie.

    Args:
        values: (prompts, parts).
        n: how many are the strongest.
        n_draws: bootstrap samples.
        seed: of the bootstrap.
    """

    def strongest(sample: np.ndarray[Any, Any]) -> set[int]:
        return set(np.argsort(-np.abs(sample.mean(0)), kind="stable")[:n].tolist())

    every = strongest(values)
    draws = np.random.default_rng(seed).integers(0, len(values), (n_draws, len(values)))
    indices = [jaccard(every, strongest(values[draw])) for draw in draws]
    low, high = np.percentile(indices, (2.5, 97.5))
    return float(np.mean(indices)), float(low), float(high)
