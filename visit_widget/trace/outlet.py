"""The way from a sublayer to the stream, part by part.

Most models add what a sublayer writes as it is. Some norm or scale it first, or norm or scale the
stream as well (`model.joins.Join`). With every norm frozen at its observed scale all of that is
affine: each summand goes through it on its own, and the constants are gathered in one bias.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..model.joins import Factor, Join
from ..model.norms import Norm

NormOf = Callable[[nn.Module | None], Norm | None]


def like(factor: Factor, vector: Tensor) -> Tensor:
    """A factor in the dtype and on the device of what it multiplies."""
    return torch.as_tensor(factor, dtype=vector.dtype, device=vector.device)


@dataclass(frozen=True)
class Passage:
    """A linear map of the stream at one position: frozen norms and factors, in order.

    Attributes:
        steps: (norm, its frozen scale), or (None, a factor).
    """

    steps: tuple[tuple[Norm | None, Tensor], ...] = ()

    def forward(self, x: Tensor) -> Tensor:
        """What summands become; shapes (…, d_model)."""
        for norm, scale in self.steps:
            x = x * scale if norm is None else norm.linear(x, scale)
        return x

    def pull_back(self, direction: Tensor) -> Tensor:
        """The direction before the passage that a direction after it reads."""
        for norm, scale in reversed(self.steps):
            direction = direction * scale if norm is None else norm.pull_back(direction, scale)
        return direction

    def rows(self, index: Tensor | int) -> Passage:
        """The passage at some of the positions that it was made for, in their order."""
        return Passage(tuple((norm, s if norm is None else s[index]) for norm, s in self.steps))

    def then(self, norm: Norm | None, scale: Tensor) -> Passage:
        """This passage and one more step."""
        return Passage((*self.steps, (norm, scale)))

    def times(self, factor: Factor, vector: Tensor) -> Passage:
        """This passage and a factor, where it is not 1."""
        if isinstance(factor, float) and factor == 1.0:
            return self
        return self.then(None, like(factor, vector))


@dataclass(frozen=True)
class Outlet:
    """How what a sublayer writes reaches the stream at one position, or at each of several.

    Attributes:
        passage: what becomes of each summand of what it writes.
        carry: what becomes of the stream on its way past the sublayer.
        bias: (d_model,), or (n, d_model) at several positions, what is added whatever the sublayer
            does; None where there is nothing.
    """

    passage: Passage
    carry: Passage
    bias: Tensor | None

    @classmethod
    def at(
        cls, join: Join, norm_of: NormOf, before: Tensor, written: Tensor, bias: Tensor | None
    ) -> Outlet:
        """For one position, or several.

        Args:
            join: how the sublayer joins the stream.
            norm_of: makes a module ready for frozen arithmetic.
            before: (d_model,) or (n, d_model) the stream before the sublayer there.
            written: likewise, the projection's output there, without its bias.
            bias: (d_model,) the projection's bias, if any; or (n, d_model).
        """
        passage, carry = Passage(), Passage()
        constant = torch.zeros_like(before)
        post = norm_of(join.post_norm)
        if bias is not None:
            constant = constant + bias
        if post is not None:
            passage = passage.then(post, post.scale(written + constant))
            constant = passage.forward(constant) + post.bias
        start = len(passage.steps)
        passage = passage.times(join.scale, before)
        if len(passage.steps) > start:
            constant = constant * passage.steps[-1][1]

        past = norm_of(join.carry_norm)
        if past is not None:
            carry = carry.then(past, past.scale(before))
        carry = carry.times(join.carry, before)
        if past is not None:
            constant = constant + past.bias * like(join.carry, before)
        if join.bias is not None:
            constant = constant + join.bias.to(before)

        norm = norm_of(join.stream_norm)
        if norm is not None:
            total = carry.forward(before) + passage.forward(written) + constant
            scale = norm.scale(total)
            constant = norm.linear(constant, scale) + norm.bias
            passage, carry = passage.then(norm, scale), carry.then(norm, scale)
        return cls(passage, carry, constant if bool(constant.any()) else None)

    def row(self, index: int) -> Outlet:
        """That of one of the positions."""
        bias = None if self.bias is None else self.bias[index]
        bias = bias if bias is not None and bool(bias.any()) else None
        return Outlet(self.passage.rows(index), self.carry.rows(index), bias)

    def total(self, written: Tensor) -> Tensor:
        """What is added to the stream in all; shapes as `written` was given."""
        added = self.to_stream(written)
        return added if self.bias is None else added + self.bias

    def to_stream(self, written: Tensor) -> Tensor:
        """What summands of the projection's output become in the stream; shapes (…, d_model)."""
        return self.passage.forward(written)

    def from_stream(self, direction: Tensor) -> Tensor:
        """The direction at the projection's output that a direction in the stream reads."""
        return self.passage.pull_back(direction)


def joined(join: Join, before: Tensor, written: Tensor) -> Tensor:
    """The stream after a sublayer, by the model's own modules: (R, d_model) each, nothing frozen.

    Args:
        join: how the sublayer joins the stream.
        before: the stream before it.
        written: what it writes.
    """

    def normed(norm: nn.Module | None, x: Tensor) -> Tensor:
        return x if norm is None else norm(x[None])[0]

    def times(factor: Any, x: Tensor) -> Tensor:
        plain = isinstance(factor, float) and factor == 1.0
        return x if plain else x * like(factor, x)

    written = times(join.scale, normed(join.post_norm, written.to(before.device)))
    total = times(join.carry, normed(join.carry_norm, before)) + written
    if join.bias is not None:
        total = total + join.bias.to(total)
    return normed(join.stream_norm, total)
