"""Masks kept small give back, row by row, the mask that the attention function got."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from visit_widget.trace.masks import MaskRow, RowMask

CPU = torch.device("cpu")
DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]


def additive(seen: Tensor, bias: Tensor, dtype: torch.dtype) -> Tensor:
    """(1, H, T, T): `bias` where a query sees, the lowest number elsewhere."""
    lowest = torch.full((), torch.finfo(dtype).min, dtype=dtype)
    return torch.where(seen, bias.to(dtype), lowest)


def rows_of(kept: RowMask, n_tokens: int, dtype: torch.dtype) -> Tensor:
    """(1, H, T, T), row by row."""
    return torch.cat([kept.row(i, n_tokens, dtype, CPU) for i in range(n_tokens)], dim=2)


def kept_elements(kept: RowMask) -> int:
    tensors = [kept.first, kept.last, kept.dense, None if kept.bias is None else kept.bias.table]
    return sum(t.untyped_storage().nbytes() // t.element_size() for t in tensors if t is not None)


def causal(n_tokens: int) -> Tensor:
    return torch.ones(n_tokens, n_tokens, dtype=torch.bool).tril()


def windowed(n_tokens: int, window: int) -> Tensor:
    return causal(n_tokens) & ~causal(n_tokens).tril(-window)


def prefixed(n_tokens: int, prefix: int) -> Tensor:
    seen = causal(n_tokens)
    seen[:, :prefix] = True
    return seen


def packed(n_tokens: int, length: int) -> Tensor:
    document = torch.arange(n_tokens) // length
    return causal(n_tokens) & (document == document[:, None])


def strided(n_tokens: int, stride: int) -> Tensor:
    """Rows are no intervals."""
    distance = torch.arange(n_tokens)[:, None] - torch.arange(n_tokens)
    return causal(n_tokens) & ((distance < 2) | (distance % stride == 0))


def sunk(n_tokens: int, window: int) -> Tensor:
    """A sliding window and the first token: two runs a row."""
    seen = windowed(n_tokens, window)
    seen[:, 0] = True
    return seen


SHAPES = [causal, windowed, prefixed, packed, strided, sunk]


@st.composite
def seen_by_shape(draw: Any) -> Tensor:
    shape = draw(st.sampled_from(SHAPES))
    n_tokens = draw(st.integers(1, 200))
    return shape(n_tokens) if shape is causal else shape(n_tokens, draw(st.integers(1, n_tokens)))


@st.composite
def seen_at_random(draw: Any) -> Tensor:
    n_tokens = draw(st.integers(1, 40))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    density = draw(st.floats(0, 1))
    return torch.rand(n_tokens, n_tokens, generator=generator) < density


def slopes(n_heads: int) -> Tensor:
    return 2.0 ** -torch.arange(1, n_heads + 1)[:, None, None]


def bias_by_key(n_heads: int, n_tokens: int) -> Tensor:
    return (slopes(n_heads) * torch.arange(n_tokens)).expand(-1, n_tokens, -1)


def bias_by_distance(n_heads: int, n_tokens: int) -> Tensor:
    places = torch.arange(n_tokens)
    return -slopes(n_heads) * (places[:, None] - places).abs()


@given(seen_by_shape() | seen_at_random(), st.sampled_from(DTYPES), st.booleans())
@settings(max_examples=150, deadline=None)
def test_a_mask_that_only_hides_is_given_back(
    seen: Tensor, dtype: torch.dtype, boolean: bool
) -> None:
    n_tokens = len(seen)
    expected = additive(seen, torch.zeros_like(seen), dtype)[None, None]
    mask = seen[None, None] if boolean else expected
    kept = RowMask.of(mask, n_tokens, causal=True)
    assert torch.equal(rows_of(kept, n_tokens, dtype), expected)
    assert kept.dense is None or kept.dense.dtype == torch.bool


@given(
    seen_by_shape() | seen_at_random(),
    st.sampled_from(DTYPES),
    st.integers(1, 5),
    st.sampled_from([bias_by_key, bias_by_distance]),
)
@settings(max_examples=150, deadline=None)
def test_a_mask_that_adds_is_given_back(
    seen: Tensor, dtype: torch.dtype, n_heads: int, bias: Any
) -> None:
    n_tokens = len(seen)
    mask = additive(seen, bias(n_heads, n_tokens), dtype)[None]
    kept = RowMask.of(mask, n_tokens, causal=True)
    given_back = rows_of(kept, n_tokens, dtype)
    torch.testing.assert_close(
        given_back.expand_as(mask), mask, rtol=2 * torch.finfo(dtype).eps, atol=0
    )


@given(st.integers(1, 30), st.integers(1, 4), st.integers(0, 2**31), st.sampled_from(DTYPES))
@settings(max_examples=60, deadline=None)
def test_any_other_mask_is_given_back_exactly(
    n_tokens: int, n_heads: int, seed: int, dtype: torch.dtype
) -> None:
    generator = torch.Generator().manual_seed(seed)
    bias = torch.randn(n_heads, n_tokens, n_tokens, generator=generator)
    seen = torch.rand(n_heads, n_tokens, n_tokens, generator=generator) < 0.7
    mask = additive(seen, bias, dtype)[None]
    kept = RowMask.of(mask, n_tokens, causal=True)
    assert torch.equal(rows_of(kept, n_tokens, dtype).expand_as(mask), mask)


@pytest.mark.parametrize("shape", [causal, windowed, prefixed, packed, sunk])
@pytest.mark.parametrize("bias", [None, bias_by_key, bias_by_distance])
def test_nothing_of_the_square_of_the_length_is_kept(shape: Any, bias: Any) -> None:
    n_heads, sizes = 4, []
    for n_tokens in (200, 400):
        seen = shape(n_tokens) if shape is causal else shape(n_tokens, 50)
        added = torch.zeros(n_heads, n_tokens, n_tokens)
        if bias is not None:
            added = bias(n_heads, n_tokens)
        kept = RowMask.of(additive(seen, added, torch.float32)[None], n_tokens, causal=True)
        assert kept.dense is None
        sizes.append(kept_elements(kept))
    assert sizes[1] <= 2 * sizes[0] + n_heads


@pytest.mark.parametrize("bias", [bias_by_key, bias_by_distance])
def test_heads_may_add_the_same(bias: Any) -> None:
    mask = additive(causal(50), bias(1, 50), torch.float32)[None]
    kept = RowMask.of(mask, 50, causal=True)
    assert kept.bias is not None
    assert kept.bias.table.shape[0] == 1
    assert torch.equal(rows_of(kept, 50, torch.float32), mask)


def test_what_is_off_in_one_place_is_kept_as_it_is() -> None:
    bias = bias_by_distance(3, 60).clone()
    bias[1, 40, 20] += 0.01
    mask = additive(causal(60), bias, torch.float32)[None]
    kept = RowMask.of(mask, 60, causal=True)
    assert kept.bias is None
    assert torch.equal(rows_of(kept, 60, torch.float32), mask)


def test_heads_may_see_different_sources() -> None:
    seen = torch.stack([causal(30), windowed(30, 5)])
    kept = RowMask.of(seen[None], 30, causal=True)
    expected = additive(seen, torch.zeros(2, 30, 30), torch.float32)[None]
    assert torch.equal(rows_of(kept, 30, torch.float32), expected)


def test_without_a_mask_a_query_sees_what_came_before_or_everything() -> None:
    zeros = torch.zeros(9, 9)
    for is_causal, seen in ((True, causal(9)), (False, torch.ones(9, 9, dtype=torch.bool))):
        kept = RowMask.of(None, 9, is_causal)
        expected = additive(seen, zeros, torch.float32)[None, None]
        assert torch.equal(rows_of(kept, 9, torch.float32), expected)


def test_one_row_may_stand_for_every_query() -> None:
    seen = torch.arange(8) < 6
    kept = RowMask.of(seen[None, None, None], 8, causal=False)
    expected = additive(seen.expand(8, 8), torch.zeros(8, 8), torch.float32)[None, None]
    assert torch.equal(rows_of(kept, 8, torch.float32), expected)


def test_only_the_last_tokens_of_a_longer_mask_count() -> None:
    mask = additive(strided(40, 2), torch.zeros(40, 40), torch.float32)[None, None]
    kept = RowMask.of(mask, 30, causal=True)
    assert torch.equal(rows_of(kept, 30, torch.float32), mask[..., -30:, -30:])


def test_a_kept_mask_holds_no_larger_storage() -> None:
    generator = torch.Generator().manual_seed(0)
    mask = torch.randn(1, 2, 40, 80, generator=generator)
    kept = RowMask.of(mask, 40, causal=True)
    assert kept.dense is not None
    assert kept_elements(kept) == 2 * 40 * 40


def test_sources_beyond_the_mask_are_hidden() -> None:
    row = RowMask.of(causal(5)[None, None], 5, causal=True).row(4, 7, torch.float32, CPU)
    assert row.shape == (1, 1, 1, 7)
    assert (row[..., :5] == 0).all()
    assert (row[..., 5:] == torch.finfo(torch.float32).min).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_hidden_source_stays_hidden_with_something_added(dtype: torch.dtype) -> None:
    """Some models add what hides to what is added."""
    bias = bias_by_distance(2, 20).to(dtype)
    hidden = additive(causal(20), torch.zeros(20, 20), dtype)
    kept = RowMask.of((bias + hidden)[None], 20, causal=True)
    assert kept.bias is not None
    row = kept.row(10, 20, dtype, CPU)
    assert (row[..., 11:] == torch.finfo(dtype).min).all()
    assert torch.equal(row[0, :, 0, :11], bias[:, 10, :11])


def test_a_mask_of_padding_is_seen_backwards_by_causal_functions() -> None:
    padding = torch.tensor([[0, 0, 1, 1, 1]])
    kept = RowMask.of(padding, 5, causal=True)
    seen = rows_of(kept, 5, torch.float32)[0, 0] == 0
    assert torch.equal(seen, causal(5) & (padding != 0))
    both_ways = rows_of(RowMask.of(padding, 5, causal=False), 5, torch.float32)[0, 0] == 0
    assert torch.equal(both_ways, (padding != 0).expand(5, -1))


def in_steps(mask: Any, seen: Tensor, prompt: int, dropped: int) -> RowMask | None:
    """The mask put together of a first pass and a row for each query after it, whose first
    columns a cache has dropped where nothing later sees them.
    """
    n_tokens = len(seen)
    first = RowMask.of(None if mask is None else mask[..., :prompt, :prompt], prompt, True)
    rows: list[RowMask | MaskRow] = [first]
    for query in range(prompt, n_tokens):
        begin = min(dropped, int(seen[query].nonzero()[0]))
        given = None if mask is None else mask[..., query : query + 1, begin : query + 1]
        (row,) = MaskRow.each(given, query, 1, query + 1 - begin) or ()
        rows.append(row)
    return RowMask.grown(rows)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
@pytest.mark.parametrize("dropped", [0, 100])
@pytest.mark.parametrize("prompt", [1, 2, 9])
@pytest.mark.parametrize("shape", SHAPES)
def test_masks_grow_by_rows(shape, prompt, dropped, dtype):
    n_tokens, n_heads = 14, 3
    size = min(3, prompt) if shape is prefixed else 3
    seen = shape(n_tokens) if shape is causal else shape(n_tokens, size)
    distance = torch.arange(n_tokens) - torch.arange(n_tokens)[:, None]
    slopes = torch.tensor([0.5, 0.25, 0.125])[:n_heads, None, None]
    for bias in (torch.zeros(1, 1, 1), slopes * distance, slopes * torch.arange(n_tokens)):
        mask = additive(seen, bias, dtype)[None]
        expected = rows_of(RowMask.of(mask, n_tokens, True), n_tokens, dtype)
        kept = in_steps(mask, seen, prompt, dropped)
        if kept is None:
            assert shape in (strided, sunk)  # whose first rows are runs of many
            continue
        assert torch.equal(rows_of(kept, n_tokens, dtype).expand_as(expected), expected)
        for shorter in (1, prompt, n_tokens - 1):
            part = rows_of(kept.until(shorter), shorter, dtype)
            assert torch.equal(part, rows_of(kept, n_tokens, dtype)[..., :shorter, :shorter])
    boolean = in_steps(seen[None, None], seen, prompt, dropped)
    if boolean is None:
        assert shape in (strided, sunk)
        return
    assert torch.equal(rows_of(boolean, n_tokens, dtype)[0, 0] == 0, seen)


def test_rows_of_several_queries_are_told_apart():
    seen = windowed(9, 4)[None, None]
    rows = MaskRow.each(seen[..., 5:8, 2:8], 5, 3, 6)
    assert rows is not None
    assert [(int(r.first[0, 0]), int(r.last[0, 0])) for r in rows] == [(2, 5), (3, 6), (4, 7)]


def test_rows_that_are_no_rows_are_not_taken():
    ahead = torch.ones(1, 1, 2, 6, dtype=torch.bool)
    assert MaskRow.each(ahead, 4, 2, 6) is None  # the first looks at the second
    assert MaskRow.each(None, 4, 2, 6) is None
    by_head = torch.ones(1, 2, 1, 6, dtype=torch.bool)
    by_head[:, 1, :, 3] = False
    assert MaskRow.of(by_head, 5, 6) is None
    assert MaskRow.of(torch.ones(1, 1, 1, 9, dtype=torch.bool), 5, 6) is None
    noise = torch.rand(1, 2, 4, 4).masked_fill(~causal(4), torch.finfo(torch.float32).min)
    assert in_steps(noise, causal(4), 2, 0) is None
