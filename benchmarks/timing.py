"""Contenders timed in turn, A B C C B A …, so that a machine that slows down slows all of them."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

WARM_UPS = 2


@dataclass(frozen=True)
class Spread:
    """The median of repeated measurements, with the quartiles around it."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: list[float]) -> Spread:
        if len(values) < 3:
            return cls(statistics.median(values), min(values), max(values))
        low, median, high = statistics.quantiles(values, n=4, method="inclusive")
        return cls(median, low, high)


@dataclass(frozen=True)
class Race:
    """Seconds by contender, one number a round."""

    seconds: dict[str, list[float]]

    def milliseconds(self, name: str) -> float:
        return statistics.median(self.seconds[name]) * 1e3

    def ratio(self, name: str, over: str) -> Spread:
        """Round by round, so that what slows a whole round slows both sides of the fraction."""
        pairs = zip(self.seconds[name], self.seconds[over], strict=True)
        return Spread.of([mine / floor for mine, floor in pairs])


def race(
    contenders: Mapping[str, Callable[[], object]],
    rounds: int,
    warm_ups: int = WARM_UPS,
    before_round: Callable[[int], None] = lambda _: None,
) -> Race:
    """Time every contender once a round.

    Args:
        contenders: what to time, by name.
        rounds: how many times.
        warm_ups: rounds before the first that counts.
        before_round: sets up what the contenders of a round share; not timed.
    """
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(-warm_ups, rounds):
        before_round(number + warm_ups)
        order = list(contenders) if number % 2 == 0 else list(reversed(contenders))
        for name in order:
            gc.collect()
            start = time.perf_counter()
            result = contenders[name]()
            elapsed = time.perf_counter() - start
            del result
            if number >= 0:
                seconds[name].append(elapsed)
    return Race(seconds)
