"""The factors of a product of matrices, whichever operation computes it, laid out alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor

_PRODUCTS = {
    torch.matmul, Tensor.matmul, Tensor.__matmul__, torch.bmm, Tensor.bmm, torch.baddbmm,
    Tensor.baddbmm,
}  # fmt: skip
_OPERANDS = ("input", "batch1", "batch2", "mat2", "other", "tensor2")


@dataclass
class Factors:
    """The factors of alpha · left · right + offset.

    Attributes:
        given: the two as the operation was given them, the left one first.
        left: (…, i, c).
        right: (…, c, j).
        order: the permutation of the result's dimensions to (…, i, j); None where they are that.
        alpha: as in `baddbmm`.
        offset: as in `baddbmm`, times its factor; None for nothing.
    """

    given: tuple[Tensor, Tensor]
    left: Tensor
    right: Tensor
    order: list[int] | None = None
    alpha: float = 1.0
    offset: Tensor | None = None

    def arranged(self, result: Tensor) -> Tensor:
        """The operation's result → (…, i, j)."""
        return result if self.order is None else result.permute(self.order)

    def restored(self, x: Tensor) -> Tensor:
        """(…, i, j) → as the operation gives it."""
        order = self.order
        return x if order is None else x.permute([order.index(dim) for dim in range(len(order))])


def factors_of(
    func: Any, args: Sequence[Any], kwargs: dict[str, Any], is_weights: Callable[[Tensor], bool]
) -> Factors | None:
    """The factors, if the operation is a product of two matrices (or stacks of them).

    Args:
        func: the operation, as a TorchFunctionMode sees it.
        args: its positional arguments.
        kwargs: its other ones.
        is_weights: whether a tensor has attention weights, which are the left factor then: an
            einsum does not tell its factors apart.
    """
    if func is torch.einsum:
        equation, operands = args[0], args[1:] if len(args) > 2 else args[-1]
        if not isinstance(equation, str) or len(operands) != 2 or "." in equation:
            return None
        inputs, _, out = equation.replace(" ", "").partition("->")
        letters = inputs.split(",")
        mixing = any(map(is_weights, operands))
        if is_weights(operands[1]) or (not mixing and out[-1:] in letters[0]):
            letters, operands = letters[::-1], operands[::-1]
        return _arranged(letters, out, tuple(operands), mixing)
    values = [*args, *(kwargs[name] for name in _OPERANDS if name in kwargs)]
    if func is Tensor.__rmatmul__:
        values.reverse()
    elif func not in _PRODUCTS:
        return None
    left, right = values[:2] if len(values) == 2 else values[1:3]
    if left.ndim < 2 or right.ndim < 2 or not left.is_floating_point():
        return None
    factors = Factors((left, right), left, right)
    if len(values) > 2:
        factors.alpha, beta = float(kwargs.get("alpha", 1)), kwargs.get("beta", 1)
        factors.offset = values[0] * beta if beta else None
    return factors


def _arranged(
    letters: list[str], out: str, given: tuple[Tensor, Tensor], mixing: bool
) -> Factors | None:
    """The factors of an einsum. What is left of the rows' letter is heads: in the weights if
    `mixing` (softmax was taken along their last dimension), else in the scores to be.
    """
    rows_of, columns_of = letters
    summed = (set(rows_of) & set(columns_of)) - set(out)
    columns = [x for x in columns_of if x not in rows_of]
    order = rows_of if mixing else out
    rows = [x for x in order if x in rows_of and x not in columns_of]
    if len(summed) != 1 or len(columns) != 1 or not rows:
        return None
    if set(out) | summed != set(rows_of) | set(columns_of):
        return None
    (inner,) = summed
    row, column = rows[-1], columns[0]
    heads = [x for x in order if x not in (row, inner, column)]

    def laid_out(x: Tensor, names: str, *last: str) -> Tensor:
        present = [y for y in heads if y in names]
        x = x.permute([names.index(y) for y in (*present, *last)])
        sizes = iter(x.shape)
        return x.reshape([next(sizes) if y in names else 1 for y in heads] + [*x.shape[-2:]])

    result = [out.index(x) for x in (*heads, row, column)]
    if not mixing and result != sorted(result):
        return None
    left = laid_out(given[0], rows_of, row, inner)
    return Factors(given, left, laid_out(given[1], columns_of, inner, column), result)


def by_head(x: Tensor, lead: torch.Size) -> Tensor:
    """(…, T, d) with dimensions that broadcast to `lead` → (1, heads, T, d): as few heads as there
    are where neighbours share them, else as many as in `lead`.
    """
    own = torch.Size([1] * (len(lead) + 2 - x.ndim)) + x.shape[:-2]
    for n in range(len(lead), -1, -1):
        if own == lead[:n] + (1,) * (len(lead) - n):
            return x.reshape(1, prod(own), *x.shape[-2:])
    return x.expand(*lead, *x.shape[-2:]).reshape(1, prod(lead), *x.shape[-2:])
