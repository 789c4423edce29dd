"""A block on its own: run again as it was called in a pass, on a stream of our choosing, in double
precision where it can be copied.

What a pass shows of a block depends on the draw of the weights and of the prompt: two parts may
happen to look alike, and in half precision a small one is lost in the rounding of a large one. On
random streams of a fitting size, in double precision, nothing is left to chance.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from transformers import Cache, PretrainedConfig, PreTrainedModel

from .attention import listening
from .exclusive import exclusive
from .loaded import eval_mode, weights_of
from .precision import noise
from .sharded import gathered, own_forward
from .watch import Call, Watched, noting
from .writer_rows import experts_one_by_one

# What a copy, or a block called out of turn, may fail with.
FAILURES = (
    TypeError, ValueError, RuntimeError, LookupError, AttributeError, AssertionError,
    NotImplementedError, copy.Error,
)  # fmt: skip
# Implementations of attention that know every dtype.
_ANY_DTYPE = {"eager", "sdpa"}


class CannotCopyError(Exception):
    """The block holds what cannot be had in another dtype."""


class Replica:
    """A block, or a copy of it, and the way in which the model calls it.

    Args:
        model: the model.
        call: the block's call in a watched pass.
        dtype: what to copy the block to; its own, without a copy, by default.

    Attributes:
        block: the block that is run.
        stream: (1, T, d_model) what it read in the pass, in its dtype.

    Raises:
        CannotCopyError: the block cannot be copied to another dtype.
    """

    def __init__(
        self, model: PreTrainedModel, call: Call, dtype: torch.dtype | None = None
    ) -> None:
        self._model, self._name = model, call.name
        assert call.input is not None
        self.stream = call.input if dtype is None else call.input.to(dtype)
        self.block = call.module if dtype is None else _copied(call.module, model, dtype)
        args, kwargs = call.given
        self._standing_in = next(
            (v for v in (*args, *kwargs.values()) if isinstance(v, Tensor)), None
        )
        self._given: tuple[Any, Any] = (args, kwargs)
        self._dtype = dtype

    def noise(self, seed: int, size: float = 1.0) -> Tensor:
        """A random stream of the shape of the pass's: (1, T, d_model), of a root mean square."""
        made = noise(*self.stream.shape, seed=seed, device=self.stream.device)
        return (made * size).to(self.stream.dtype)

    def run(self, stream: Tensor) -> Watched:
        """The calls of the block and of the modules in it when the block reads this stream.

        Raises:
            Exception: one of FAILURES; the block does not run on its own.
        """
        seen = Watched([], [])
        prefix = f"{self._name}." if self._name else ""
        names = {m: prefix + n if n else self._name for n, m in self.block.named_modules()}
        weighted = [m for m in names if any(True for _ in weights_of(m))]
        current = self._model.config._attn_implementation or "eager"
        runs = None if self._dtype is None or current in _ANY_DTYPE else "eager"
        args, kwargs = self._arguments(stream)
        with (
            exclusive(self._model),
            eval_mode(self.block),
            experts_one_by_one(self.block),
            noting(names, seen),
            torch.no_grad(),
            listening(self._model, seen.attention.append, implementation=runs, modules=weighted),
        ):
            self.block(*args, **kwargs)
        return seen

    def balanced(self, seed: int) -> tuple[Tensor, Watched]:
        """A random stream that is about as large as what the block adds to it, and what the block
        does with it.
        """
        stream = self.noise(seed)
        seen = self.run(stream)
        whole = seen.of(self.block)
        if whole is None or whole.output.shape != stream.shape:
            return stream, seen
        added = float((whole.output - stream).float().square().mean().sqrt())
        if not 1e-6 < added < 0.3:
            return stream, seen
        stream = self.noise(seed, added)
        return stream, self.run(stream)

    def _arguments(self, stream: Tensor) -> tuple[list[Any], dict[str, Any]]:
        def given(value: Any) -> Any:
            if value is self._standing_in:
                return stream.clone()
            if isinstance(value, Tensor):
                return value.clone() if self._dtype is None else _as(self._dtype, value)
            if isinstance(value, dict):
                return {k: given(v) for k, v in value.items()}
            if type(value) in (list, tuple):
                return type(value)(map(given, value))
            # A cache would go on growing, and masks of other kinds are of one implementation.
            foreign = isinstance(value, Cache) or type(value).__name__ == "BlockMask"
            return None if foreign else value

        args, kwargs = self._given
        return [given(a) for a in args], {k: given(v) for k, v in kwargs.items()}


def _as(dtype: torch.dtype, tensor: Tensor) -> Tensor:
    """A copy of a tensor: numbers that are no whole ones in the dtype."""
    if tensor.is_complex():
        pairs = {torch.float64: torch.complex128, torch.float32: torch.complex64}
        return tensor.detach().to(pairs[dtype], copy=True)
    return tensor.detach().to(dtype if tensor.is_floating_point() else tensor.dtype, copy=True)


def _copied(block: nn.Module, model: PreTrainedModel, dtype: torch.dtype) -> nn.Module:
    """A copy of the block in a dtype; what it shares with the rest of the model stays shared.

    Raises:
        CannotCopyError: it holds packed or absent weights, or what cannot be copied at all.
    """
    inside = set(block.modules())
    memo: dict[int, Any] = {id(m): m for m in model.modules() if m not in inside}
    kept: list[Any] = []  # what the memo goes by the id of
    for module in inside:
        for tensor in _own_tensors(module):
            if id(tensor) not in memo:
                made = _tensor_in(dtype, gathered(tensor))
                parameter = isinstance(tensor, nn.Parameter) and not isinstance(made, nn.Parameter)
                memo[id(tensor)] = nn.Parameter(made, requires_grad=False) if parameter else made
                kept.append(tensor)
        for value in vars(module).values():
            if isinstance(value, PretrainedConfig) or type(value).__name__ == "AlignDevicesHook":
                memo[id(value)] = value
    try:
        twin = copy.deepcopy(block, memo)
    except FAILURES as error:
        raise CannotCopyError(str(error)) from error
    for module in twin.modules():
        if "_hf_hook" in vars(module):
            # With it, `forward` is that of the module that was copied.
            for name in ("_hf_hook", "forward", "_old_forward"):
                vars(module).pop(name, None)
        elif own_forward(module) is not None:
            del module.forward  # it has all of its weights
    return twin.eval()


def _own_tensors(module: nn.Module) -> Iterator[Tensor]:
    stores = (module._parameters, module._buffers, vars(module))
    for store in stores:
        yield from (v for v in store.values() if isinstance(v, Tensor))


def _tensor_in(dtype: torch.dtype, tensor: Tensor) -> Tensor:
    packed = tensor.is_floating_point() and torch.finfo(tensor.dtype).bits < 16
    plain = type(tensor) in (nn.Parameter, Tensor) or type(tensor).__name__ == "Buffer"
    if not plain or tensor.is_meta or packed:
        raise CannotCopyError(f"a {type(tensor).__name__} of {tensor.dtype}")
    made = _as(dtype, tensor)
    if isinstance(tensor, nn.Parameter):
        return nn.Parameter(made, requires_grad=False)
    return made
