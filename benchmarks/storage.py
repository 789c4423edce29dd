"""The memory that an object's tensors hold."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from functools import partial
from types import FunctionType, MethodType
from typing import Any

from torch import Tensor, nn


def tensors_of(value: Any) -> Iterator[Tensor]:
    """Every tensor in a nest of dataclasses, mappings, sequences and functions with what they
    carry; the model's own parameters are left out.
    """
    todo, seen = [value], set()
    while todo:
        value = todo.pop()
        if id(value) in seen or isinstance(value, nn.Parameter):
            continue
        seen.add(id(value))
        if isinstance(value, Tensor):
            yield value
        else:
            todo += _inside(value)


def _inside(value: Any) -> list[Any]:
    if is_dataclass(value) and not isinstance(value, type):
        return [getattr(value, entry.name) for entry in fields(value)]
    if isinstance(value, (list, tuple, set)):
        return list(value)
    if isinstance(value, partial):
        return [value.func, *value.args, *value.keywords.values()]
    if isinstance(value, FunctionType):
        return [cell.cell_contents for cell in value.__closure__ or ()]
    if isinstance(value, MethodType):
        return [value.__func__, value.__self__]
    if isinstance(value, nn.Module):
        return []
    # A dictionary, or what looks like one: an ActivationCache.
    return list(value.values()) if callable(getattr(value, "values", None)) else []


def storages_of(value: Any) -> dict[int, int]:
    """{address: bytes} of the storages behind an object's tensors, each once."""
    found = (tensor.untyped_storage() for tensor in tensors_of(value))
    return {storage.data_ptr(): storage.nbytes() for storage in found}


def storage_bytes(value: Any) -> int:
    """The memory behind an object's tensors."""
    return sum(storages_of(value).values())


def tensor_bytes(value: Any) -> int:
    """What the tensors themselves show of it; views of the same numbers count once."""
    seen: dict[tuple[int, int], int] = {}
    for tensor in tensors_of(value):
        place = tensor.data_ptr(), tensor.numel()
        seen[place] = tensor.numel() * tensor.element_size()
    return sum(seen.values())
