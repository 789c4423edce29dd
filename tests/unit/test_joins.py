"""What factors explain a stream, and what nothing explains."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from visit_widget.model.joins import fit, scalar, settle

DTYPES = [torch.float64, torch.float32, torch.bfloat16]


def _streams(dtype, n=2, length=1.0):
    g = torch.Generator().manual_seed(4)
    made = [torch.randn(1, 6, 32, generator=g, dtype=torch.float64) for _ in range(n)]
    made[0][0, 2] *= 1000 * length  # one position carries what the others do not
    return [t.to(dtype) for t in made]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_plain_sum_is_found_bit_for_bit(dtype):
    pre, written = _streams(dtype)
    assert fit(pre + written, [pre, written], exactly=True) == ([1.0, 1.0], None)
    assert fit(written + pre, [pre, written], exactly=True) == ([1.0, 1.0], None)
    assert fit(pre + written * 1.25, [pre, written], exactly=True) is None


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("factors", [(1.0, 0.22), (0.5, 3.0), (3.46, 1.0)])
def test_numbers_are_found_to_rounding(dtype, factors):
    pre, written = _streams(dtype)
    found, constant = fit(factors[0] * pre + factors[1] * written, [pre, written])
    assert constant is None
    assert found == pytest.approx(list(factors), rel=64 * torch.finfo(dtype).eps)
    assert (found[0] == 1.0) == (factors[0] == 1.0), "a one is a one to the last digit"


def test_vectors_and_constants_are_found():
    pre, written = _streams(torch.float64)
    along, across = torch.linspace(0.5, 2, 32, dtype=torch.float64), torch.arange(32.0).double()
    factors, constant = fit(pre * along + written, [pre, written])
    assert constant is None
    assert torch.allclose(factors[0], along)
    assert factors[1] == 1.0
    factors, constant = fit(pre + written + across, [pre, written])
    assert factors == [1.0, 1.0]
    assert torch.allclose(constant, across)
    factors, constant = fit(pre * along + written * 2 + across, [pre, written])
    assert torch.allclose(factors[0], along)
    assert torch.allclose(constant, across, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_nothing_explains_a_stream_that_is_no_sum(dtype):
    pre, written, other = _streams(dtype, 3)
    assert fit(pre + written + other, [pre, written]) is None
    assert fit(pre + written.relu(), [pre, written]) is None
    assert fit(pre + written, [pre, pre]) is None
    assert fit(pre[:, :3], [pre, written]) is None
    assert scalar(pre + 1, pre, nn.Identity()) is None


def test_a_factor_is_settled_on_the_models_own_constant():
    block = nn.Module()
    block.residual_multiplier = 0.22
    block.scale = nn.Parameter(torch.linspace(0.5, 2, 32))
    eps = torch.finfo(torch.bfloat16).eps
    assert settle(0.2204, block, eps) == 0.22
    assert settle(0.2204, block, torch.finfo(torch.float32).eps) == 0.2204
    assert settle(1 / 0.22, block, eps) == 1 / 0.22
    near = block.scale.detach() * 1.001
    assert torch.equal(settle(near, block, eps), block.scale)
