"""Parts of a view state as plain data: prompts, and what is followed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from ..model import VisitError
from ..trace.inputs import Prepared
from ..trace.target import Followed

REMAKE = "Take it anew from widget.view_state."

KINDS = ("token", "mean", "logsumexp")
_DTYPES = {str(d).removeprefix("torch."): d for d in (
    torch.float64, torch.float32, torch.float16, torch.bfloat16,
)}  # fmt: skip


def prompt_of(state: Mapping[str, Any]) -> Prepared:
    """A prompt as it was written down.

    Raises:
        VisitError: it is none.
    """
    text, as_text = state["prompt"], state["as_text"]
    ids, special = state["input_ids"], state["special"]
    if not isinstance(ids, (list, tuple)) or not all(map(is_whole, ids)):
        raise VisitError(f"The view state's 'input_ids' are no token ids. {REMAKE}")
    if not isinstance(text, str) or not isinstance(as_text, bool):
        raise VisitError(
            "The view state's 'prompt' is a text and 'as_text' says whether it was given as one, "
            f"not {short(text)} and {short(as_text)}. {REMAKE}"
        )
    if not (special is None or isinstance(special, bool)):
        raise VisitError(
            f"The view state's 'special' is True, False or None, not {short(special)}. {REMAKE}"
        )
    try:
        made = torch.tensor(ids, dtype=torch.long, device="cpu")
    except (RuntimeError, OverflowError, ValueError):
        raise VisitError(f"The view state's 'input_ids' are no token ids. {REMAKE}") from None
    return Prepared(made, text if as_text else None, special)


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


def is_whole(value: Any) -> bool:
    """Whether it is a whole number, and no truth value."""
    return isinstance(value, int) and not isinstance(value, bool)


def short(value: Any) -> str:
    """A value as a sentence names it."""
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:40]}…"
