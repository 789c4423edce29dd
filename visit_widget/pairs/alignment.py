"""Which token of one prompt stands against which of another.

What both prompts begin with is aligned first, then what both end with: what a causal model makes of
the same beginning is the same. Between, as many equal tokens as can be are partners, in order (the
longest common subsequence), in as few runs as that allows. What is left between them was replaced:
where a run of tokens of the one stands against a run of the other, the last is the partner of the
last, and so on back, for the last token of a word or name is where a causal model knows all of it.
What remains of the longer run has no partner, nor has a run that stands against nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np

from ..model import VisitError

# Numbers of cells that are looked at, a byte each: 16,384 tokens against as many.
CELLS = 2**28
_TAKE, _UP, _ON = 1, 2, 4


@dataclass(frozen=True)
class Alignment:
    """The partners among the tokens of two prompts.

    Attributes:
        pairs: (position in a, position in b) of partners, both ascending.
        same: of each pair, whether it is the same token.
        n_a, n_b: tokens of each prompt.
    """

    pairs: tuple[tuple[int, int], ...]
    same: tuple[bool, ...]
    n_a: int
    n_b: int

    @cached_property
    def b_of(self) -> dict[int, int]:
        """{position in a: its partner in b}."""
        return dict(self.pairs)

    @cached_property
    def a_of(self) -> dict[int, int]:
        """{position in b: its partner in a}."""
        return {j: i for i, j in self.pairs}

    @property
    def alone_a(self) -> list[int]:
        """Positions of a without a partner."""
        return [i for i in range(self.n_a) if i not in self.b_of]

    @property
    def alone_b(self) -> list[int]:
        """Positions of b without a partner."""
        return [j for j in range(self.n_b) if j not in self.a_of]

    @property
    def replaced(self) -> list[tuple[int, int]]:
        """The pairs of different tokens."""
        return [pair for pair, same in zip(self.pairs, self.same, strict=True) if not same]

    @property
    def start(self) -> int:
        """With how many tokens both prompts begin alike."""
        found = 0
        for n, (pair, same) in enumerate(zip(self.pairs, self.same, strict=True)):
            if pair != (n, n) or not same:
                break
            found = n + 1
        return found

    def __repr__(self) -> str:
        alone = len(self.alone_a), len(self.alone_b)
        return (
            f"Alignment({sum(self.same)} the same, {len(self.replaced)} replaced, {alone[0]} of a "
            f"and {alone[1]} of b without a partner)"
        )


def align(
    a: Sequence[int], b: Sequence[int], pairs: Sequence[tuple[int, int]] | None = None
) -> Alignment:
    """The partners among the tokens of two prompts, by the rule above.

    Args:
        a: token ids.
        b: token ids.
        pairs: the partners, where they are known: (position in a, position in b) each.

    Raises:
        VisitError: the pairs do not go on in both prompts, or are outside of them; or the prompts
            are too long to be aligned.
    """
    a, b = [int(i) for i in a], [int(i) for i in b]
    found = _aligned(a, b) if pairs is None else _checked(pairs, len(a), len(b))
    return Alignment(tuple(found), tuple(a[i] == b[j] for i, j in found), len(a), len(b))


def _checked(pairs: Sequence[tuple[int, int]], n_a: int, n_b: int) -> list[tuple[int, int]]:
    try:
        found = [(int(i), int(j)) for i, j in pairs]
    except (TypeError, ValueError):
        raise VisitError(
            "pairs= are positions of both prompts, such as [(0, 0), (1, 2)]: one of the first and "
            "its partner in the second."
        ) from None
    inside = all(0 <= i < n_a and 0 <= j < n_b for i, j in found)
    on = all(p[0] < q[0] and p[1] < q[1] for p, q in pairwise(found))
    if not inside or not on:
        raise VisitError(
            f"pairs= go on from left to right in both prompts, which have {n_a} and {n_b} tokens, "
            "and name each position once at most."
        )
    return found


def _aligned(a: list[int], b: list[int]) -> list[tuple[int, int]]:
    shorter = min(len(a), len(b))
    start = next((n for n in range(shorter) if a[n] != b[n]), shorter)
    left = shorter - start
    end = next((n for n in range(left) if a[-1 - n] != b[-1 - n]), left)
    inner = a[start : len(a) - end], b[start : len(b) - end]
    same = [(n, n) for n in range(start)]
    same += [(i + start, j + start) for i, j in _common(*inner)]
    same += [(len(a) - n, len(b) - n) for n in range(end, 0, -1)]
    found: list[tuple[int, int]] = []
    before = (-1, -1)
    for pair in [*same, (len(a), len(b))]:
        gap = min(pair[0] - before[0], pair[1] - before[1]) - 1
        found += [(pair[0] - n, pair[1] - n) for n in range(gap, 0, -1)]
        found.append(pair)
        before = pair
    return found[:-1]


def _common(a: list[int], b: list[int]) -> list[tuple[int, int]]:
    """The longest common subsequence, in the fewest runs; the same whichever comes first."""
    if b < a:
        return [(i, j) for j, i in _common(b, a)]
    if len(a) * len(b) > CELLS:
        raise VisitError(
            f"The prompts differ over {len(a):,} and {len(b):,} tokens, which is too much to align:"
            " say which tokens are partners with pairs=[(0, 0), …]."
        )
    others, width = np.array(b, dtype=np.int64), len(b) + 1
    # The most that can be had of the first tokens of both; and the same, ending with a pair. A pair
    # counts `width`, and one more where it goes on a run, which there are never as many of.
    most, ending = np.zeros(width, np.int64), np.full(width, -1, np.int64)
    steps = np.zeros((len(a), len(b)), np.uint8)
    for row, token in enumerate(a):
        on = ending[:-1] + 1 > most[:-1]
        paired = np.where(others == token, width + np.where(on, ending[:-1] + 1, most[:-1]), -1)
        best = np.maximum.accumulate(np.maximum(most[1:], paired))
        steps[row] = _TAKE * (paired == best) + _UP * (most[1:] == best) + _ON * on
        most = np.concatenate([[0], best])
        ending = np.concatenate([[-1], paired])
    found: list[tuple[int, int]] = []
    i, j, on_run = len(a) - 1, len(b) - 1, False
    while i >= 0 and j >= 0:
        step = int(steps[i, j])
        if on_run or step & _TAKE:
            found.append((i, j))
            i, j, on_run = i - 1, j - 1, bool(step & _ON)
        elif step & _UP:
            i -= 1
        else:
            j -= 1
    return found[::-1]
