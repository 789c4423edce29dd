"""What a saved page holds of many prompts: those that were asked for, each as a page of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..model import VisitError
from .saved import Progress, saved
from .session import Session

# What a prompt has of its own, beside its graph.
OWN = ("prompt", "focus", "target", "foil", "interventions", "status", "graph")


def chosen(session: Session, prompts: str | Sequence[int]) -> list[int]:
    """The numbers of the prompts that a page is to open.

    Args:
        session: of the widget.
        prompts: "opened" for those that were opened in it, "all", or a list of numbers.

    Raises:
        VisitError: it names no prompts.
    """
    many = session.many
    if not many.entries:
        return []
    if not isinstance(prompts, str):
        return sorted({many.check(number) for number in prompts})
    if prompts not in ("opened", "all"):
        raise VisitError(
            f"prompts={prompts!r} is not known: use 'opened', 'all' or a list of their numbers."
        )
    usable = [n for n, entry in enumerate(many.entries) if not entry.problem]
    return usable if prompts == "all" else [n for n in usable if many.entries[n].opened]


def others(
    session: Session,
    traits: dict[str, Any],
    numbers: Sequence[int],
    expand: str | Sequence[int],
    progress: Progress | None,
) -> dict[str, dict[str, Any]]:
    """The data of prompts beside the one that is drawn, by number: what a page of each holds that
    is its own. Each is drawn in a session beside the widget's, which stays as it is.

    Args:
        session: of the widget.
        traits: of the widget; measure, lens, pruning and open layers are the same for all.
        numbers: of the prompts.
        expand: as `saved`.
        progress: called with (prompts done, prompts in all).
    """
    many, found = session.many, {}
    rest = [number for number in numbers if number != many.now]
    for done, number in enumerate(rest):
        if progress is not None:
            progress(done, len(rest))
        entry, beside = many.entries[number], Session.of(many.trace(number, session))
        beside.against.trace = session.against.trace
        # Its graph is another one than any that the page knows.
        beside.revision = session.revision + number + 1
        lens = session.painter.lens
        position = beside.trace.position(entry.focus)
        graph = beside.frame(
            position, entry.target, entry.foil, traits["keep"], traits["measure"], [], lens
        )
        own = {
            "prompt": graph["prompt"],
            "focus": graph["position"],
            "target": {name: graph["target"][name] for name in ("id", "text")},
            "foil": graph["foil"] and {name: graph["foil"][name] for name in ("id", "text")},
            "interventions": [],
            "status": {"state": "ready", "message": "", **beside.exactness()},
            "graph": {**graph, "opened": number},
        }
        page = saved(beside, {**traits, **own}, expand, None, False, {})
        del page["view_state"]
        found[str(number)] = {**page, "traits": own}
    if progress is not None and rest:
        progress(len(rest), len(rest))
    return found
