"""Many prompts in a view state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..model import VisitError
from .many import Entry, Many
from .prompt_state import REMAKE, prompt_in
from .state_parts import followed_of, written


@dataclass(frozen=True)
class WantedMany:
    """Many prompts of a view state.

    Attributes:
        entries: the prompts, not run yet.
        drawn: the number of the one whose graph is drawn.
        opened, order: as the traits.
    """

    entries: list[Entry]
    drawn: int
    opened: Any
    order: Any


def written_many(many: Many, traits: Mapping[str, Any]) -> dict[str, Any] | None:
    """Many prompts, each with what is followed in it; None where there is but one."""
    if not many.entries:
        return None
    listed = []
    for entry in many.entries:
        ids = None if entry.prompt is None else entry.prompt.ids.tolist()
        told = {name: getattr(entry, name) for name in ("target", "foil", "answer")}
        listed.append(
            {
                "prompt": entry.text,
                "as_text": entry.prompt is not None and entry.prompt.text is not None,
                "input_ids": ids,
                "special": None if entry.prompt is None else entry.prompt.special,
                "problem": entry.problem,
                "focus": entry.focus,
                **{name: None if one is None else written(one) for name, one in told.items()},
            }
        )
    return {
        "prompts": listed,
        "drawn": many.now,
        "opened": traits["opened"],
        "order": traits["order"],
    }


def many_of(value: Any) -> WantedMany | None:
    """Many prompts as they were written down; None for none.

    Raises:
        VisitError: they are none.
    """
    if value is None:
        return None
    wrong = VisitError(f"The view state's 'many' is no list of prompts. {REMAKE}")
    try:
        listed, drawn = list(value["prompts"]), value["drawn"]
        opened, order = value["opened"], value["order"]
        entries = [
            Entry(
                None if one["input_ids"] is None else prompt_in(one),
                str(one["prompt"]),
                str(one["problem"]),
                focus=int(one["focus"]),
                target=followed_of("target", one["target"]),
                foil=followed_of("foil", one["foil"]),
                answer=followed_of("answer", one["answer"]),
            )
            for one in listed
        ]
    except (KeyError, TypeError, ValueError):
        raise wrong from None
    usable = [n for n, entry in enumerate(entries) if entry.prompt is not None]
    if drawn not in usable or not (opened is None or opened in usable):
        raise wrong
    return WantedMany(entries, drawn, opened, order)
