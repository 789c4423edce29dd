"""Looking among the calls of one pass: which call fits, which tensors are the same."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from .errors import UnsupportedModelError
from .loaded import eval_mode, weights_of
from .watch import Call, Watched, first_tensor

HINT = "If you know where the model keeps it, pass an Anatomy by hand: see docs/models.md."


def refuse(what: str) -> UnsupportedModelError:
    """The error that says what was not understood, and what to do."""
    return UnsupportedModelError(f"{what} {HINT}")


def called(seen: Watched, module: nn.Module, what: str) -> Call:
    """The module's call.

    Raises:
        UnsupportedModelError: it was not called with a tensor.
    """
    call = seen.of(module)
    if call is None or not call.inputs:
        raise refuse(f"In a short forward pass {what} was not called with a tensor.")
    return call


def outermost(calls: Iterable[Call], fits: Callable[[Call], bool] = bool) -> Call | None:
    """Of the calls that fit, the one whose module holds the others (the first of those that hold
    none).
    """
    return min((c for c in calls if fits(c)), key=lambda c: c.name.count("."), default=None)


def idle(call: Call) -> bool:
    """Whether the module only passes on what it gets (dropout in eval mode, identity)."""
    return same(call.input, call.output)


def same(a: Tensor | None, b: Tensor | None) -> bool:
    """Whether two tensors hold the same numbers in the same order, whatever their shapes."""
    if a is None or b is None or a.numel() != b.numel():
        return False
    if a.dtype != b.dtype and a.is_floating_point() and b.is_floating_point():
        # One was rounded to the other.
        narrow = max(a.dtype, b.dtype, key=lambda d: torch.finfo(d).eps)
        a, b = a.to(narrow), b.to(narrow)
    return a is b or bool(torch.equal(a.reshape(-1), b.reshape(-1).to(a)))


def is_leaf(module: nn.Module) -> bool:
    """Whether the module has no modules in it."""
    return next(module.children(), None) is None


def is_norm_like(module: nn.Module) -> bool:
    """Whether the module is a leaf with at most vectors as weights, as norms are."""
    return is_leaf(module) and all(w.ndim <= 1 for w in weights_of(module))


def is_linear_like(module: nn.Module) -> bool:
    """Whether the module is a linear layer, or wraps one (`peft` keeps it as `base_layer`)."""
    weight = getattr(module, "weight", None)
    if isinstance(weight, Tensor) and weight.ndim == 2:
        return True
    if isinstance(getattr(module, "base_layer", None), nn.Module):
        return True
    # Quantised layers keep their weights under names of their own.
    sizes = (getattr(module, name, None) for name in ("in_features", "out_features"))
    return is_leaf(module) and all(isinstance(n, int) for n in sizes)


def alone_the_same(module: nn.Module, x: Tensor, output: Tensor) -> bool:
    """Whether the module gives the last position the same when run on that position alone."""
    rows = x.reshape(1, -1, x.shape[-1])
    theirs = output.reshape(rows.shape[1], -1)[-1]
    try:
        with torch.no_grad(), eval_mode(module):
            ours = first_tensor(module(rows[:, -1:]))
    except (TypeError, RuntimeError, ValueError, IndexError, AttributeError):
        return False
    # A single row may go through another kernel, which rounds in another order.
    near = 64 * torch.finfo(x.dtype).eps + 1e-6
    return ours is not None and bool((ours.reshape(-1) - theirs).norm() <= near * theirs.norm())
