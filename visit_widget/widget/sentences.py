"""What `status` says, and the check of a view's name."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import traitlets

from ..model import VisitError

VIEWS = ("block", "routes")


def sentence(error: BaseException) -> str:
    """What is said of an error: the user's own as they are, others as what they are."""
    if isinstance(error, (VisitError, traitlets.TraitError)):
        return str(error)
    reason = " ".join(str(error).split())[:200]
    return f"The kernel could not draw this ({type(error).__name__}: {reason})."


def joined(notes: Iterable[str]) -> str:
    """Notes one after the other; those that say nothing are left out."""
    return " ".join(note for note in notes if note)


def check_view(view: Any) -> str:
    """A view's name.

    Raises:
        VisitError: there is no such view.
    """
    if view not in VIEWS:
        raise VisitError(f"view={view!r} is not known: use {' or '.join(map(repr, VIEWS))}.")
    return str(view)
