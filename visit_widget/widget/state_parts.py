"""What is followed, in a view state."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from ..model import VisitError
from ..trace.target import Followed
from .prompt_state import REMAKE, is_whole

KINDS = ("token", "mean", "logsumexp")
_DTYPES = {str(d).removeprefix("torch."): d for d in (
    torch.float64, torch.float32, torch.float16, torch.bfloat16,
)}  # fmt: skip


def written(target: Followed) -> dict[str, Any]:
    """A target in full, unlike the trait, which only names it."""
    if target.vector is not None:
        return {
            "kind": "direction",
            "name": target.name,
            "dtype": str(target.vector.dtype).removeprefix("torch."),
            "vector": target.vector.tolist(),
        }
    return {"kind": target.kind, "ids": list(target.ids), "weights": list(target.weights)}


def followed_of(name: str, value: Any) -> Followed | None:
    """A target as it was written down; None for none.

    Raises:
        VisitError: it is no target.
    """
    if value is None:
        return None
    wrong = VisitError(f"The view state's {name!r} says nothing that can be followed. {REMAKE}")
    if not isinstance(value, Mapping):
        raise wrong
    try:
        if value["kind"] == "direction":
            vector = torch.tensor(value["vector"], dtype=_DTYPES[value["dtype"]], device="cpu")
            if vector.ndim != 1 or not bool(vector.isfinite().all()) or not bool(vector.any()):
                raise wrong
            return Followed("direction", vector=vector, name=str(value["name"]))
        ids, weights = tuple(value["ids"]), tuple(value["weights"])
        plain = all(map(is_whole, ids)) and all(isinstance(w, (int, float)) for w in weights)
        few = value["kind"] != "token" or len(ids) == 1
        if (
            value["kind"] not in KINDS
            or not ids
            or len(ids) != len(weights)
            or not plain
            or not few
        ):
            raise wrong
        return Followed(value["kind"], ids, tuple(float(w) for w in weights))
    except (KeyError, TypeError, ValueError, RuntimeError):
        raise wrong from None
