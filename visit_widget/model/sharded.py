"""Models whose weights lie on several processes: the tensor-parallel plans of transformers.

There each process has a slice of every sharded matrix, and runs what its slice makes: some heads,
some neurons. While a model is lent to be traced its modules run whole instead: each gathers its own
weights for as long as it runs, and gives what it would give in one process, number for number. So
every process has to trace the same at the same time, and each holds all of what is kept.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from .errors import UnsupportedModelError

# What transformers puts in the place of a sharded module's forward.
_PUT_THERE = "install_forward.<locals>.tp_forward"


def is_sharded(tensor: Any) -> bool:
    """Whether a tensor lies on several processes."""
    distributed = sys.modules.get("torch.distributed.tensor")
    return distributed is not None and isinstance(tensor, distributed.DTensor)


def gathered(tensor: Tensor) -> Tensor:
    """All of a tensor, if it lies on several processes, which all have to ask for it."""
    if not is_sharded(tensor):
        return tensor
    with torch.inference_mode(False), torch.no_grad():
        whole: Tensor = tensor.detach().full_tensor()  # type: ignore[attr-defined]
    return whole


def own_forward(module: nn.Module) -> Callable[..., Any] | None:
    """What a module computes in one process; None where nothing was put in its place."""
    now: Any = vars(module).get("forward")
    found: Callable[..., Any] | None = None
    while getattr(now, "__qualname__", "").endswith(_PUT_THERE):
        cells = dict(zip(now.__code__.co_freevars, now.__closure__, strict=True))
        now = found = cells["original_forward"].cell_contents
    return found


def check_sharding(modules: Iterable[nn.Module]) -> None:
    """Whether modules that are sharded can be run whole.

    Raises:
        UnsupportedModelError: saying how to load the model instead.
    """
    if "torch.distributed.tensor" not in sys.modules:
        return
    for module in modules:
        if any(map(is_sharded, module._parameters.values())) and own_forward(module) is None:
            raise UnsupportedModelError(
                f"The weights of a {type(module).__name__} are sharded over processes in a way "
                "that is not known here: shard the model with from_pretrained(…, tp_plan='auto') "
                "of transformers 5.23 or newer, or load it on one process."
            )


@contextmanager
def whole(modules: Iterable[nn.Module]) -> Iterator[None]:
    """Within the block modules that are sharded run as in one process."""
    changed: list[tuple[nn.Module, Any]] = []
    if "torch.distributed.tensor" in sys.modules:
        for module in modules:
            if "forward" in module.__dict__:
                own = own_forward(module)
                if own is not None:
                    changed.append((module, vars(module)["forward"]))
                    module.forward = _gathering(module, own)
    try:
        yield
    finally:
        for module, forward in changed:
            module.forward = forward


@contextmanager
def held_whole(modules: Iterable[nn.Module]) -> Iterator[None]:
    """Within the block modules that are sharded hold all of their weights, and run on them."""
    with ExitStack() as stack:
        if "torch.distributed.tensor" in sys.modules:
            for module in modules:
                stack.enter_context(_all_weights(module))
                own = own_forward(module)
                if own is not None:
                    stack.callback(setattr, module, "forward", vars(module)["forward"])
                    module.forward = own
        yield


@contextmanager
def _all_weights(module: nn.Module) -> Iterator[None]:
    """Within the block a module's own weights are whole."""
    sharded = {n: p for n, p in module._parameters.items() if is_sharded(p)}
    module._parameters.update({n: gathered(p) for n, p in sharded.items()})  # type: ignore[misc, arg-type]
    try:
        yield
    finally:
        module._parameters.update(sharded)


def _gathering(module: nn.Module, own: Callable[..., Any]) -> Callable[..., Any]:
    """The module's own forward, on all of its weights."""

    def forward(*args: Any, **kwargs: Any) -> Any:
        with _all_weights(module):
            return own(*args, **kwargs)

    return forward
