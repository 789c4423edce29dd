"""A prompt in a view state: as a text or as ids, so that it is read as it was."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from ..model import VisitError
from ..trace.inputs import Prepared
from ..trace.trace import Trace

REMAKE = "Take it anew from widget.view_state."
FIELDS = ("prompt", "as_text", "input_ids", "special")


def prompt_state(trace: Trace) -> dict[str, Any]:
    """What a state says of a trace's prompt."""
    return {
        "prompt": trace.prompt,
        "as_text": trace._text is not None,
        "input_ids": trace.input_ids.tolist(),
        "special": trace.special,
    }


def prompt_in(state: Mapping[str, Any]) -> Prepared:
    """The prompt of a state.

    Raises:
        VisitError: there is none in it.
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


def is_whole(value: Any) -> bool:
    """Whether it is an integer."""
    return isinstance(value, int) and not isinstance(value, bool)


def short(value: Any) -> str:
    """A value as a sentence names it."""
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:40]}…"
