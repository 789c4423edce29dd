"""The largest and smallest of long rows, against sorting them."""

from __future__ import annotations

import pytest
import torch

from visit_widget.lens.ranking import LONG, largest, smallest


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("k", [0, 1, 5, 40])
@pytest.mark.parametrize("width", [7 * 11, LONG - 1, LONG, LONG + 1, LONG + 127, 5 * LONG + 3])
def test_they_are_those_that_sorting_gives(width, k, dtype):
    rows = torch.randn(6, width, generator=torch.Generator().manual_seed(width), dtype=dtype)
    rows[1, -1], rows[2, 0], rows[3, width // 2] = 99, 99, -99  # in the left-over columns, at edges
    rows[4] = rows[4].sort().values  # all of the largest in one block
    rows[5] = -torch.inf  # masked but for a few
    rows[5, ::9] = torch.arange(len(rows[5, ::9]), dtype=dtype)
    for found, down in ((largest(rows, k), True), (smallest(rows, k), False)):
        values, columns = found
        assert torch.equal(values, rows.sort(-1, descending=down).values[:, :k])
        assert torch.equal(rows.gather(-1, columns), values)
        assert all(len(set(row)) == k for row in columns.tolist())


def test_equal_numbers_are_each_named_once():
    rows = torch.zeros(2, 2 * LONG)
    values, columns = largest(rows, 30)
    assert torch.equal(values, torch.zeros(2, 30))
    assert all(len(set(row)) == 30 for row in columns.tolist())
