"""What `status` says."""

from __future__ import annotations

from collections.abc import Iterable

import traitlets

from ..model import VisitError


def sentence(error: BaseException) -> str:
    """What is said of an error: the user's own as they are, others as what they are."""
    if isinstance(error, (VisitError, traitlets.TraitError)):
        return str(error)
    reason = " ".join(str(error).split())[:200]
    return f"The kernel could not draw this ({type(error).__name__}: {reason})."


def joined(notes: Iterable[str]) -> str:
    """Notes one after the other; those that say nothing are left out."""
    return " ".join(note for note in notes if note)
