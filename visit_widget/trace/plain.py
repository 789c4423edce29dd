"""Plain data from what an attention call was given, and back: numbers, texts, and tensors by name.

No code is stored and none is run: what is not known is left out, and stands as GONE.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from ..model import VisitError
from .record import HIDDEN, MaskOf

Read = Callable[[str], Tensor]


class Gone:
    """Stands for a value that could not be stored.

    Attributes:
        kind: what it was.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind


class Shelf:
    """Tensors by name, each stored once, apart from the storages of others."""

    def __init__(self) -> None:
        self.tensors: dict[str, Tensor] = {}
        self._known: dict[tuple[Any, ...], str] = {}
        self._storages: set[int] = set()

    def put(self, tensor: Tensor, name: str) -> str:
        """Store a tensor under a name, or find it under the one it has already."""
        whole = tensor.detach()
        place = (
            whole.device, whole.data_ptr(), whole.storage_offset(), whole.dtype,
            tuple(whole.shape), whole.stride(),
        )  # fmt: skip
        if place in self._known and whole.numel():
            return self._known[place]
        stored = whole.cpu().contiguous()
        if stored.untyped_storage().data_ptr() in self._storages or (
            stored.untyped_storage().nbytes() > stored.nbytes
        ):
            stored = stored.clone()
        self._storages.add(stored.untyped_storage().data_ptr())
        self.tensors[name], self._known[place] = stored, name
        return name


def to_plain(value: Any, shelf: Shelf, name: str) -> Any:
    """A value as JSON has it, its tensors on the shelf.

    Args:
        value: an argument of an attention module or function.
        shelf: takes the tensors.
        name: the beginning of their names.
    """
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if value is HIDDEN:
        return {"$": "hidden"}
    if isinstance(value, MaskOf):
        return {"$": "mask", "of": str(value.dtype).removeprefix("torch.")}
    if isinstance(value, torch.dtype):
        return {"$": "dtype", "of": str(value).removeprefix("torch.")}
    if isinstance(value, torch.device):
        return {"$": "device"}
    if isinstance(value, Tensor) and type(value) in (Tensor, torch.nn.Parameter):
        return {"$": "tensor", "of": shelf.put(value, name)}
    if isinstance(value, (list, tuple)):
        kind = "list" if isinstance(value, list) else "tuple"
        return {"$": kind, "of": [to_plain(v, shelf, f"{name}.{n}") for n, v in enumerate(value)]}
    if isinstance(value, Mapping):
        pairs = [
            [to_plain(k, shelf, f"{name}.key"), to_plain(v, shelf, f"{name}.{k}")]
            for k, v in value.items()
        ]
        return {"$": "dict", "of": pairs}
    return {"$": "gone", "of": type(value).__name__}


def from_plain(value: Any, read: Read, device: torch.device) -> Any:
    """The value again; GONE in the place of what was left out.

    Args:
        value: as `to_plain` gave it.
        read: gives the tensor of a name.
        device: where what it belongs to computes.
    """
    if not isinstance(value, dict):
        return value
    kind: Any = value["$"]
    of: Any = value.get("of")
    if kind == "hidden":
        return HIDDEN
    if kind in ("mask", "dtype"):
        dtype = dtype_named(of)
        return MaskOf(dtype) if kind == "mask" else dtype
    if kind == "device":
        return device
    if kind == "tensor":
        return read(of).to(device)
    if kind in ("list", "tuple"):
        items = [from_plain(v, read, device) for v in of]
        return items if kind == "list" else tuple(items)
    if kind == "dict":
        return {from_plain(k, read, device): from_plain(v, read, device) for k, v in of}
    return Gone(str(of))


def dtype_named(name: Any) -> torch.dtype:
    """The dtype of a name.

    Raises:
        VisitError: there is none.
    """
    dtype = getattr(torch, str(name), None)
    if not isinstance(dtype, torch.dtype):
        raise VisitError(f"There is no dtype {name!r}.")
    return dtype


def gone_in(value: Any) -> str | None:
    """What a value has lost: the kind of the first thing gone, None where it is whole."""
    if isinstance(value, Gone):
        return value.kind
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        return next((kind for kind in map(gone_in, value) if kind is not None), None)
    return None
