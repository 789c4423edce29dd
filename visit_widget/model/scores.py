"""Scores on their way from q kᵀ to the softmax: S = s · q kᵀ + B, with s and B to be found."""

from __future__ import annotations

import weakref
from dataclasses import dataclass

import torch
from torch import Tensor, nn

# Old code hides with −10 000 instead of the lowest number; no weight is left beyond this.
FAR = -9e3


@dataclass
class Scores:
    """A product of queries and keys, or what the model has made of it since.

    Attributes:
        module: what was running at the product.
        query: (1, n_heads, T, d_head).
        key: (1, n_kv_heads, T, d_head).
        leaf: (…, T, T) alpha · q kᵀ + offset, what derivatives are taken to.
        alpha: as in `baddbmm`.
        offset: as in `baddbmm`; None for nothing.
        own: nobody but us wants the graph that begins at the leaf.
        bias: the scores as they would be if all q kᵀ were zero.
        problem: why there is no telling s from B, or None.
    """

    module: nn.Module
    query: Tensor
    key: Tensor
    leaf: Tensor
    alpha: float
    offset: Tensor | None
    own: bool
    bias: Tensor
    problem: str | None


def solve(scores: Scores, sums: Tensor, weights: Tensor) -> tuple[float, Tensor, Tensor] | None:
    """s, B and what is hidden.

    Args:
        scores: those that the softmax was given.
        sums: their values, at the end of the graph that begins at the leaf.
        weights: what the softmax gave.

    Returns:
        s; B and which entries are hidden, (1, n_heads, T, T) each. None if the sums are no such
        function, entry by entry, of the product.
    """
    leaf = scores.leaf
    if not sums.requires_grad:
        return None
    # Powers of two that differ along every dimension: the derivative is as exact as without them,
    # and shows whether entries have changed places.
    probe = torch.ones_like(sums)
    for dim, size in enumerate(sums.shape):
        exponents = torch.arange(size, device=sums.device) * (dim + 2) % 3
        probe *= (2.0**exponents).to(sums.dtype).view(-1, *[1] * (sums.ndim - dim - 1))
    keep = not scores.own
    slopes: tuple[Tensor | None, ...] = torch.autograd.grad(
        sums, leaf, probe, retain_graph=keep, allow_unused=True
    )
    slope = slopes[0]
    if slope is None:
        return None
    shape = (*scores.query.shape[:3], scores.key.shape[2])
    wide = torch.promote_types(torch.promote_types(leaf.dtype, sums.dtype), torch.float32)
    eps = max(torch.finfo(leaf.dtype).eps, torch.finfo(sums.dtype).eps)
    slope = (slope / probe.reshape(leaf.shape)).reshape(shape).to(wide)
    seen = weights.detach().reshape(shape) != 0
    scale = float(slope.flatten()[int(seen.flatten().to(torch.uint8).argmax())])
    # Rounding is the same for all entries: if a tanh makes them differ, even a little, it shows.
    constant = (slope - scale).abs() <= 1e-9 * abs(scale)
    if scale == 0 or not bool((constant | ~seen).all()):
        return None
    # The derivative is rounded to the precision of the scores, which the scale itself is not.
    width = scores.query.shape[-1]
    for usual in (1.0, width**-0.5, 1 / width):
        scale = usual if abs(scale - usual) <= eps * usual else scale
    # The line from where all products are zero has to lead to the scores.
    product = leaf.detach() if scores.offset is None else leaf.detach() - scores.offset
    product, bias, total = (
        t.detach().to(wide).reshape(shape) for t in (product, scores.bias, sums)
    )
    off = (total - bias - scale * product).abs()
    near = off <= 64 * eps * (total.abs() + bias.abs() + product.abs())
    if not bool((near | ~seen).all()):
        return None
    return scale * scores.alpha, bias, ~seen & ~(constant & (bias > FAR))


class Masks:
    """Additive masks, the same object for layers whose masks are equal. None is kept alive."""

    def __init__(self) -> None:
        self._known: list[weakref.ref[Tensor]] = []

    def of(self, module: nn.Module, bias: Tensor, hidden: Tensor) -> Tensor | None:
        """The mask of one attention.

        Args:
            module: the attention module.
            bias: (1, 1 or n_heads, T, T) what is added to the scores.
            hidden: likewise, what no weight may go to.

        Returns:
            (1, 1 or n_heads, T, T), the lowest number where hidden; None for the plain causal mask,
            unless the module says that it is not causal.
        """
        lowest = torch.finfo(bias.dtype).min
        mask = torch.where(hidden, lowest, bias)
        if bool((mask == mask[:, :1]).all()):
            mask = mask[:, :1].clone()
        plain = torch.full_like(mask[:, :1], lowest).triu(1)
        if getattr(module, "is_causal", True) and torch.equal(mask, plain):
            return None
        alive = [m for m in (known() for known in self._known) if m is not None]
        for known in alive:
            if known.dtype == mask.dtype and torch.equal(known, mask):
                return known
        self._known = [weakref.ref(m) for m in (*alive, mask)]
        return mask
