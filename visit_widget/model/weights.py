"""Telling which of a module's weights a tensor is made of, by the memory it lies in."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class _Copy:
    """A copy of a weight: its element [i, …] is the source's [rows[i], …], or [i, …] itself."""

    tensor: Tensor
    source: Tensor
    rows: list[int] | None


def template(name: str) -> str:
    """A dotted name without its numbers: the same for the weights of all experts."""
    return ".".join("#" if part.isdigit() else part for part in name.split("."))


class Weights:
    """Says which parameter or buffer of a module a tensor is a view or a copy of.

    It goes by memory, so that slices and transposes are known, and parameters that share a storage
    are told apart.

    Attributes:
        tensors: the module's floating-point parameters and buffers by their dotted names.
    """

    def __init__(self, module: nn.Module) -> None:
        named = [*module.named_parameters(), *module.named_buffers()]
        self.tensors = {
            name: t for name, t in named if t.is_floating_point() and _pointer(t) is not None
        }
        spans = sorted((t.data_ptr(), _end(t), name) for name, t in self.tensors.items())
        self._starts = [start for start, _, _ in spans]
        self._spans = spans
        self._copies: list[_Copy] = []

    @property
    def dtype(self) -> torch.dtype:
        """The dtype that most of the weights have: that of the largest."""
        largest = max(self.tensors.values(), key=Tensor.numel, default=None)
        return torch.get_default_dtype() if largest is None else largest.dtype

    def owner(self, tensor: Tensor) -> str | None:
        """The name of the weight that the tensor is made of; None for anything else."""
        pointer = _pointer(tensor)
        if pointer is None:
            return None
        at = bisect_right(self._starts, pointer) - 1
        if at >= 0 and pointer < self._spans[at][1]:
            return self._spans[at][2]
        copy = self._copy(pointer)
        return None if copy is None else self.owner(copy.source)

    def note_copy(self, tensor: Tensor, source: Tensor, rows: list[int] | None = None) -> None:
        """Remember that `tensor` holds numbers of `source`, a weight or a view or copy of one."""
        if _pointer(tensor) is not None and self.owner(tensor) is None:
            self._copies.append(_Copy(tensor, source, rows))

    def neurons(self, matrix: Tensor) -> tuple[str, int] | None:
        """Whose rows these are.

        Args:
            matrix: (I, O), made of one weight.

        Returns:
            The weight's name, and the number of the first row among all rows of that weight: its
            O-dimension left out, the other dimensions are counted in order. None where the rows do
            not follow each other there, or are not whole.
        """
        name = self.owner(matrix)
        if name is None or matrix.shape[1] < 2:
            return None
        n_in, n_out = matrix.shape
        corner, beside, last, end = (
            self._coordinates(matrix, at) for at in ((0, 0), (0, 1), (n_in - 1, 0), (0, n_out - 1))
        )
        shape = self.tensors[name].shape
        across = [d for d in range(len(shape)) if beside[d] != corner[d]]
        if len(across) != 1 or shape[across[0]] != n_out or end[across[0]] != n_out - 1:
            return None

        def number(coordinates: list[int]) -> int:
            n = 0
            for d, size in enumerate(shape):
                if d != across[0]:
                    n = n * size + coordinates[d]
            return n

        first = number(corner)
        return (name, first) if number(last) == first + n_in - 1 else None

    def _copy(self, pointer: int) -> _Copy | None:
        for copy in self._copies:
            if copy.tensor.data_ptr() <= pointer < _end(copy.tensor):
                return copy
        return None

    def _coordinates(self, tensor: Tensor, at: tuple[int, ...]) -> list[int]:
        """Where the element tensor[at] stands in the weight that owns it."""
        steps = sum(i * s for i, s in zip(at, tensor.stride(), strict=True))
        pointer = tensor.data_ptr() + steps * tensor.element_size()
        copy = self._copy(pointer)
        name = self.owner(tensor)
        assert name is not None
        base = self.tensors[name] if copy is None else copy.tensor
        rest = (pointer - base.data_ptr()) // base.element_size()
        found = [0] * base.ndim
        for d in sorted(range(base.ndim), key=base.stride, reverse=True):
            if base.shape[d] > 1 and base.stride(d):
                found[d], rest = divmod(rest, base.stride(d))
        if copy is None:
            return found
        if copy.rows is not None:
            found[0] = copy.rows[found[0]]
        return self._coordinates(copy.source, tuple(found))


def _pointer(tensor: Tensor) -> int | None:
    """Where the tensor's numbers begin; None where they are in no memory that can be told."""
    if tensor.layout is not torch.strided or tensor.is_meta or not tensor.numel():
        return None
    try:
        return tensor.data_ptr() or None
    except RuntimeError:  # a wrapper around tensors that are elsewhere
        return None


def _end(tensor: Tensor) -> int:
    last = sum((n - 1) * s for n, s in zip(tensor.shape, tensor.stride(), strict=True))
    return tensor.data_ptr() + (last + 1) * tensor.element_size()
