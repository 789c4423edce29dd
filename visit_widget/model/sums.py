"""Explaining a tensor of the stream as a sum of what was carried and what modules wrote."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from .joins import Factor, Join, fit, settle
from .precision import careful, resolution
from .watch import Call


@dataclass(frozen=True)
class Stream:
    """A place of the stream: a sum, and what a norm made of it where one is put on it.

    Attributes:
        sum: (1, T, d_model).
        norm: the norm on the sum, if any.
        normed: (1, T, d_model) its output.
    """

    sum: Tensor
    norm: nn.Module | None = None
    normed: Tensor | None = None

    @property
    def value(self) -> Tensor:
        """The stream as what comes after reads it: (1, T, d_model)."""
        return self.sum if self.normed is None else self.normed


@dataclass(frozen=True)
class Sum:
    """A stream explained: stream.sum = carry · carried + Σ factor · writer's output + bias.

    Attributes:
        stream: what was explained.
        carried: the stream that was carried, with the norm it came through.
        carry: its factor.
        writers: the calls that wrote.
        factors: one for each.
        bias: (d_model,) a constant, or None.
    """

    stream: Stream
    carried: Stream
    carry: Factor
    writers: tuple[Call, ...]
    factors: tuple[Factor, ...]
    bias: Tensor | None

    def join(self, writer: int = 0, post_norm: nn.Module | None = None) -> Join:
        """How one of the writers joins the stream."""
        return Join(
            post_norm=post_norm,
            scale=self.factors[writer],
            carry_norm=self.carried.norm,
            carry=self.carry,
            stream_norm=self.stream.norm,
            bias=self.bias,
        )


def explain(
    streams: Iterable[Stream],
    carried: Sequence[Stream],
    groups: Sequence[tuple[Call, ...]],
    block: nn.Module,
) -> Sum | None:
    """The first of the streams that is a sum of something carried and one of the groups of writers.

    Plain sums are tried before scaled ones. Of several groups that fit, the one is taken whose last
    writer is the outermost module.
    """
    streams = list(streams)
    for exactly in (True, False):
        for stream in streams:
            for past in carried:
                found = [_sum(stream, past, group, block, exactly) for group in groups]
                fitting = [s for s in found if s is not None]
                if fitting:
                    return min(fitting, key=lambda s: s.writers[-1].name.count("."))
    return None


def _sum(
    stream: Stream, past: Stream, group: tuple[Call, ...], block: nn.Module, exactly: bool
) -> Sum | None:
    target = stream.sum
    if any(c.output.numel() != target.numel() for c in group):
        return None
    terms = [past.value, *(c.output.reshape(target.shape) for c in group)]
    found = fit(target, terms, exactly)
    if found is None:
        return None
    factors, constant = found
    eps = resolution(target)
    noise = min(64 * eps, 0.02) * float(target.norm())
    plain = constant is None and all(isinstance(f, float) and f == 1.0 for f in factors)
    if not plain and any(
        float((f * careful(t)).norm()) <= noise for f, t in zip(factors, terms, strict=True)
    ):
        # What would be lost in rounding explains nothing.
        return None
    carry, *rest = (settle(f, block, eps) for f in factors)
    return Sum(stream, past, carry, group, tuple(rest), constant)
