"""How what a sublayer writes joins the stream, found by numbers.

Most decoders add: stream + written. Some scale what is written (Granite, MiniCPM), scale the stream
as well, norm what is written before it is added (Gemma 2, OLMo 2), or norm the sum (OpenAI GPT,
BART). All of these are

    after = stream_norm(carry · carry_norm(before) + scale · post_norm(written) + bias)

with any of the norms absent and the factors numbers or vectors of d_model, mostly 1.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations

import torch
from torch import Tensor, nn

from .precision import SINGLE, careful, resolution

Factor = float | Tensor


@dataclass(frozen=True)
class Join:
    """How what a sublayer writes joins the stream.

    Attributes:
        post_norm: norm of what is written, if any.
        scale: factor on what is written (after its norm): a number, or (d_model,).
        carry_norm: norm of the stream that is carried past the sublayer, if any (residual
            connections that start after the norm).
        carry: factor on the carried stream: a number, or (d_model,).
        stream_norm: norm of the sum, if any (post-LN).
        bias: (d_model,) a constant that the block adds itself, if any.
    """

    post_norm: nn.Module | None = None
    scale: Factor = 1.0
    carry_norm: nn.Module | None = None
    carry: Factor = 1.0
    stream_norm: nn.Module | None = None
    bias: Tensor | None = None

    @property
    def carries_as_is(self) -> bool:
        """Whether the stream passes the sublayer unchanged, so that what is written is just
        added.
        """
        return (
            self.carry_norm is None
            and self.stream_norm is None
            and isinstance(self.carry, float)
            and self.carry == 1.0
        )

    @property
    def is_plain(self) -> bool:
        """Whether what is written is just added."""
        as_is = isinstance(self.scale, float) and self.scale == 1.0
        return self.carries_as_is and as_is and self.post_norm is None and self.bias is None


# What solving for factors in float64 rounds itself.
SOLVED = 1e-13
# Nothing but a plain addition.
PLAIN = Join()


def fit(
    target: Tensor, terms: Sequence[Tensor], exactly: bool = False
) -> tuple[list[Factor], Tensor | None] | None:
    """Factors and a constant with target = Σ factor · term + constant to rounding; None if there
    are none.

    The simplest that holds is taken: a plain sum, numbers, a plain sum and a constant, vectors,
    vectors and a constant.

    Args:
        target: (1, T, d_model).
        terms: likewise, each.
        exactly: whether only a plain sum will do.

    Returns:
        A factor for each term (a number, or (d_model,)), and the constant (d_model,) or None.
    """
    if any(t.shape != target.shape for t in terms):
        return None
    ones: list[Factor] = [1.0] * len(terms)
    y, wide, size = _weighed(target, terms)
    eps = resolution(target)
    # What half precision makes of a small part is no more than its rounding: there, a plain sum is
    # one to the last bit.
    fine = torch.finfo(target.dtype).eps <= SINGLE
    if fine and _fits(y, wide, eps):
        return ones, None
    if any(torch.equal(total, target) for total in _sums(terms)):
        return ones, None
    if exactly:
        return None
    numbers = _numbers_for(y, wide, eps)
    if numbers is not None:
        return numbers, None
    constant = ((y - torch.stack(wide).sum(0)) * size).mean(0)
    if _fits(y, [*wide, constant / size], eps):
        return ones, constant
    for more in ([], [1 / size.expand_as(y)]):
        # As many equations as unknowns would fit anything.
        columns = [*wide, *more]
        if y.shape[0] < len(columns) + 2:
            continue
        solved = _solve(torch.stack(columns, -1).transpose(0, 1), y.T)
        if solved is None or not _fits(
            y, [f * c for f, c in zip(solved.T, columns, strict=True)], eps
        ):
            continue
        factors = [_number_if_constant(f, eps) for f in solved.T[: len(wide)]]
        return factors, solved.T[-1] if more else None
    return None


def scalar(target: Tensor, term: Tensor, owner: nn.Module) -> float | None:
    """The number with target = number · term, as the owner keeps it; None if there is none."""
    if not target.is_floating_point() or target.shape != term.shape:
        return None
    found = fit(target, [term])
    if found is None or found[1] is not None or isinstance(found[0][0], Tensor):
        return None
    factor = settle(found[0][0], owner, resolution(target))
    assert isinstance(factor, float)
    return factor


def _weighed(target: Tensor, terms: Sequence[Tensor]) -> tuple[Tensor, list[Tensor], Tensor]:
    """(T, d_model) in double precision, each row divided by its size, and the sizes (T, 1): a row a
    thousand times as long rounds a thousand times as coarsely.
    """
    wide = [careful(t[0]) for t in terms]
    y = careful(target[0])
    size = torch.stack([y.norm(dim=-1), *(t.norm(dim=-1) for t in wide)]).amax(0)[:, None]
    size = size.clamp_min(1e-30)
    return y / size, [t / size for t in wide], size


def _numbers_for(y: Tensor, wide: list[Tensor], eps: float) -> list[Factor] | None:
    columns = torch.stack([t.reshape(-1) for t in wide], -1)
    numbers = _solve(columns, y.reshape(-1))
    if numbers is None or not _fits(y, [n * t for n, t in zip(numbers, wide, strict=True)], eps):
        return None
    noise = eps * columns.norm() / columns.norm(dim=0).clamp_min(1e-30) * y.shape[1] ** -0.5
    pairs = zip(numbers.tolist(), noise.tolist(), strict=True)
    return [1.0 if abs(n - 1) <= 4 * s + SOLVED else n for n, s in pairs]


def _sums(terms: Sequence[Tensor]) -> Iterator[Tensor]:
    """The plain sum of the terms in every order of adding: rounding depends on it."""
    orders = permutations(terms) if len(terms) > 2 else [tuple(terms)]
    for first, *rest in orders:
        total = first
        for term in rest:
            total = total + term
        yield total


def _solve(columns: Tensor, y: Tensor) -> Tensor | None:
    """Least squares; None where the terms cannot be told apart."""
    gram = columns.transpose(-1, -2) @ columns
    moment = (columns.transpose(-1, -2) @ y[..., None])[..., 0]
    scale: Tensor = gram.diagonal(dim1=-2, dim2=-1).clamp_min(1e-300).rsqrt()
    balanced = scale[..., :, None] * gram * scale[..., None, :]
    if bool((torch.linalg.det(balanced).abs() < 1e-9).any()):
        return None
    solved: Tensor = torch.linalg.solve(balanced, (scale * moment)[..., None])
    return scale * solved[..., 0]


def _fits(y: Tensor, parts: list[Tensor], eps: float) -> bool:
    off = (torch.stack(parts).sum(0) - y).norm(dim=-1)
    size = torch.stack([y.norm(dim=-1), *(p.norm(dim=-1) for p in parts)]).amax(0)
    return bool((off <= 4 * eps * size).all())


def _number_if_constant(factor: Tensor, eps: float) -> Factor:
    middle = float(factor.median())
    if bool(((factor - middle).abs() <= 64 * eps * abs(middle)).all()):
        return 1.0 if abs(middle - 1) < 64 * eps else middle
    return factor


def settle(factor: Factor, owner: nn.Module, eps: float) -> Factor:
    """The constant of the model that a fitted factor is, to the last digit, if the model keeps it
    in plain sight: an attribute or parameter of the owner or of the modules in it, or of a config.

    Args:
        factor: as fitted.
        owner: the block, say.
        eps: the resolution of the numbers that it was fitted to.
    """
    near = min(1e-2, 64 * eps)
    if isinstance(factor, Tensor):
        for tensor in _tensors(owner):
            if tensor.shape == factor.shape:
                theirs = careful(tensor)
                if (theirs - factor).norm() <= near * factor.norm():
                    return theirs
        return factor
    if factor == 1.0:
        return factor
    numbers = [n for n in _numbers(owner) if abs(n - factor) <= near * abs(factor)]
    return min(numbers, key=lambda n: abs(n - factor), default=factor)


def _tensors(owner: nn.Module) -> Iterator[Tensor]:
    for store in (owner.named_parameters(), owner.named_buffers()):
        yield from (tensor for _, tensor in store if tensor.is_floating_point())


def _numbers(owner: nn.Module) -> Iterator[float]:
    for tensor in _tensors(owner):
        if tensor.numel() == 1:
            yield float(tensor)
    for module in owner.modules():
        config = vars(getattr(module, "config", None) or object.__new__(nn.Module))
        for value in (*vars(module).values(), *config.values()):
            if isinstance(value, float) and value:
                yield value
                yield 1 / value
