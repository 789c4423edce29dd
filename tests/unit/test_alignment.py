"""Which token stands against which: the rule, by properties and against brute force."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

import visit_widget as vw
from visit_widget.pairs import align

PROMPTS = st.lists(st.integers(0, 3), max_size=9)


def longest(a: list[int], b: list[int]) -> int:
    """The length of the longest common subsequence, by the textbook."""
    row = [0] * (len(b) + 1)
    for x in a:
        before = row
        row = [0]
        for n, y in enumerate(b):
            row.append(before[n] + 1 if x == y else max(before[n + 1], row[n]))
    return row[-1]


def fewest_runs(a: list[int], b: list[int]) -> int:
    """In how few runs as many equal tokens as can be are paired, by trying everything."""
    best = (0, 0)

    def go(i: int, j: int, pairs: list[tuple[int, int]]) -> None:
        nonlocal best
        runs = sum(n == 0 or (p[0] - 1, p[1] - 1) != pairs[n - 1] for n, p in enumerate(pairs))
        best = max(best, (len(pairs), -runs))
        for x in range(i, len(a)):
            for y in range(j, len(b)):
                if a[x] == b[y]:
                    go(x + 1, y + 1, [*pairs, (x, y)])

    go(0, 0, [])
    return -best[1]


@given(PROMPTS, PROMPTS)
def test_partners_go_on_and_as_many_as_can_be_are_equal(a, b):
    found = align(a, b)
    assert all(p[0] < q[0] and p[1] < q[1] for p, q in pairwise(found.pairs))
    assert sum(found.same) == longest(a, b)
    assert [a[i] == b[j] for i, j in found.pairs] == list(found.same)
    # Every token once: with a partner, or alone.
    assert sorted([*found.b_of, *found.alone_a]) == list(range(len(a)))
    assert sorted([*found.a_of, *found.alone_b]) == list(range(len(b)))
    # Where one run stands against another, one of them is used up, from its end on.
    ends = [(-1, -1), *[p for p, same in zip(found.pairs, found.same, strict=True) if same]]
    for before, after in pairwise([*ends, (len(a), len(b))]):
        between = [p for p in found.replaced if before < p < after]
        runs = after[0] - before[0] - 1, after[1] - before[1] - 1
        assert between == [(after[0] - n, after[1] - n) for n in range(min(runs), 0, -1)]


@given(PROMPTS, PROMPTS)
def test_neither_prompt_comes_first(a, b):
    assert [(j, i) for i, j in align(b, a).pairs] == list(align(a, b).pairs)


@given(PROMPTS)
def test_a_prompt_is_its_own_partner(a):
    found = align(a, a)
    assert found.pairs == tuple((n, n) for n in range(len(a)))
    assert found.start == len(a)


@given(PROMPTS, PROMPTS, PROMPTS)
def test_what_both_begin_and_end_with_is_aligned(head, tail, middle):
    a, b = [*head, *tail], [*head, *[9 + n for n in middle], *tail]
    found = align(a, b)
    n = len(head)
    assert found.pairs[:n] == tuple((k, k) for k in range(n))
    assert found.alone_b == list(range(n, n + len(middle)))


def test_the_inner_part_is_in_the_fewest_runs():
    random.seed(0)
    for _ in range(300):
        # Nothing in common at either end, so that all of it is the inner part.
        a = [7, *random.choices(range(3), k=random.randrange(6)), 7]
        b = [8, *random.choices(range(3), k=random.randrange(6)), 8]
        equal = [p for p, s in zip(align(a, b).pairs, align(a, b).same, strict=True) if s]
        runs = sum(n == 0 or (p[0] - 1, p[1] - 1) != equal[n - 1] for n, p in enumerate(equal))
        assert runs == fewest_runs(a, b), (a, b)


def test_a_longer_name_stands_by_its_last_token():
    found = align([1, 2, 3, 9, 4], [1, 2, 3, 7, 8, 4])
    assert found.replaced == [(3, 4)]
    assert found.alone_b == [3]
    assert found.start == 3


@pytest.mark.parametrize("pairs", [[(1, 1), (0, 2)], [(0, 3)], [(0, 0), (0, 1)], [(-1, 0)], [3]])
def test_partners_that_cannot_be_are_refused(pairs):
    with pytest.raises(vw.VisitError, match="pairs= "):
        align([1, 2, 3], [1, 2, 3], pairs)


def test_partners_that_are_given_are_taken():
    found = align([1, 2, 3], [1, 2, 3], [(0, 1), (2, 2)])
    assert (found.pairs, found.same) == (((0, 1), (2, 2)), (False, True))
