"""A block's anatomy by the names of its modules, so that what one block told, or a copy of it, is
said of every block of its kind.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Any

from torch import Tensor, nn

from .anatomy import Beside, BlockAnatomy, Chain
from .joins import Join
from .loaded import weights_of
from .precision import careful
from .writer_rows import WriterLayout


@dataclass(frozen=True)
class _Module:
    """A module of the block."""

    path: str

    def of(self, block: nn.Module) -> nn.Module:
        return block.get_submodule(self.path)


@dataclass(frozen=True)
class _Container:
    """Modules of the block that act as one."""

    kind: type[Chain] | type[Beside]
    parts: tuple[_Module, ...]

    def of(self, block: nn.Module) -> nn.Module:
        modules = [part.of(block) for part in self.parts]
        return Chain(*modules) if self.kind is Chain else Beside(modules)


@dataclass(frozen=True)
class _Tensor:
    """A parameter or buffer, or a tensor that a module keeps as an attribute."""

    path: str
    name: str

    def of(self, block: nn.Module) -> Tensor:
        value: Tensor = getattr(block.get_submodule(self.path), self.name)
        return value.detach()


@dataclass(frozen=True)
class _Number:
    """A number that a module keeps, or one over it."""

    path: str
    name: str
    inverse: bool

    def of(self, block: nn.Module) -> float:
        value = float(getattr(block.get_submodule(self.path), self.name))
        return 1 / value if self.inverse else value


@dataclass(frozen=True)
class _Parts:
    """What a dataclass is made of."""

    kind: type
    values: dict[str, Any]

    def of(self, block: nn.Module) -> Any:
        return self.kind(**{name: _resolved(v, block) for name, v in self.values.items()})


_KINDS = (_Module, _Container, _Tensor, _Number, _Parts)


class Plan:
    """How blocks of one kind are built.

    Args:
        anatomy: of one block.
        copied: whether a copy of it told, in double precision.

    Attributes:
        copied: as given.
        shared: whether it holds for other blocks: not where a tensor in it was only fitted, so
            that it is this block's alone.
    """

    def __init__(self, anatomy: BlockAnatomy, copied: bool = True) -> None:
        self.copied, self.shared = copied, True
        self._names = {module: name for name, module in anatomy.block.named_modules()}
        self._block = anatomy.block
        self._parts = self._described(anatomy)
        del self._names, self._block

    def of(self, block: nn.Module) -> BlockAnatomy:
        """The anatomy of a block of the kind.

        Raises:
            AttributeError: the block is not of the kind.
        """
        found: BlockAnatomy = self._parts.of(block)
        return found

    def _described(self, value: Any) -> Any:
        if isinstance(value, (Chain, Beside)):
            parts = tuple(_Module(self._names[part]) for part in value)
            return _Container(type(value), parts)
        if isinstance(value, nn.Module):
            return _Module(self._names[value])
        if isinstance(value, (BlockAnatomy, Join)):
            values = {f.name: self._described(getattr(value, f.name)) for f in fields(value)}
            return _Parts(type(value), values)
        if isinstance(value, tuple):
            return tuple(self._described(v) for v in value)
        if isinstance(value, Tensor):
            return self._tensor(value)
        if isinstance(value, float) and value != 1.0:
            return self._number(value)
        if isinstance(value, WriterLayout) and value.constant is not None:
            self.shared = False
        return value

    def _tensor(self, value: Tensor) -> _Tensor | Tensor:
        for path, name, kept in _kept_by(self._block):
            known = isinstance(kept, Tensor) and kept.shape == value.shape
            if known and bool((careful(kept) == value).all()):
                return _Tensor(path, name)
        self.shared = False
        return value

    def _number(self, value: float) -> _Number | float:
        for path, name, kept in _kept_by(self._block):
            single = isinstance(kept, Tensor) and kept.numel() == 1 and kept.is_floating_point()
            if not single and not isinstance(kept, float):
                continue
            number = float(kept)
            if number == value or (number and 1 / number == value):
                return _Number(path, name, number != value)
        return value


def with_layout_in(anatomy: BlockAnatomy, model_block: nn.Module) -> BlockAnatomy:
    """The anatomy with what its layout holds of numbers as the block keeps its own."""
    layout = anatomy.writers
    if layout is None or layout.constant is None:
        return anatomy
    like = next((w for w in weights_of(model_block) if w.is_floating_point()), layout.constant)
    constant = layout.constant.to(device=like.device, dtype=like.dtype)
    return replace(anatomy, writers=replace(layout, constant=constant))


def _kept_by(block: nn.Module) -> Iterator[tuple[str, str, Any]]:
    """What the block's modules keep: (module, name, value), tensors first."""
    for path, module in block.named_modules():
        for store in (module._parameters, module._buffers):
            for name, tensor in store.items():
                if tensor is not None:
                    yield path, name, tensor
    for path, module in block.named_modules():
        yield from ((path, name, value) for name, value in vars(module).items())


def _resolved(value: Any, block: nn.Module) -> Any:
    if isinstance(value, _KINDS):
        return value.of(block)
    if isinstance(value, tuple):
        return tuple(_resolved(v, block) for v in value)
    return value
