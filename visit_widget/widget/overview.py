"""The part of the widget that shows many prompts (`vw.visit` of a list of them)."""

from __future__ import annotations

from typing import Any

import traitlets

from ..model import VisitError
from .session import Session

ORDERS = ("given", "likely", "unlikely", "early", "late")


class Overview(traitlets.HasTraits):
    """All prompts as small rivers, or one of them opened.

    Attributes:
        prompts: what is shown of each as plain data (docs/protocol.md), or None where there is but
            one prompt.
        opened: the number of the prompt that is open, from 0; None for all of them. Setting it
            leaves layers, selection, measure, lens and pruning as they are; focus, target and foil
            are each prompt's own.
        order: how they are sorted: "given", "likely" and "unlikely" (by the probability of what is
            followed, the largest or the smallest first), "early" and "late" (by the layer from
            which on the stream says what it says in the end).
    """

    _session: Session
    prompt: Any
    focus: Any
    target: Any
    foil: Any
    step: Any
    branch: Any

    prompts = traitlets.Dict(None, allow_none=True, read_only=True).tag(sync=True)
    opened = traitlets.Int(None, allow_none=True).tag(sync=True)
    order = traitlets.Unicode("given").tag(sync=True)

    @traitlets.validate("opened")
    def _valid_opened(self, proposal: Any) -> int | None:
        many, number = self._session.many, proposal["value"]
        if number is not None:
            number = many.check(number)
            many.entries[number].opened = True
            if number != many.now:
                many.leave(self._session)
                many.open(number, self._session)
        return None if number is None else int(number)

    @traitlets.validate("order")
    def _valid_order(self, proposal: Any) -> str:
        if proposal["value"] not in ORDERS:
            raise VisitError(
                f"order={proposal['value']!r} is not known: use {', '.join(map(repr, ORDERS))}."
            )
        return str(proposal["value"])

    def _tell_open(self, graph: dict[str, Any]) -> None:
        """Set the traits by a new graph."""
        many = self._session.many
        if many.entries:
            graph["opened"] = many.drawn(self._session)
            if self.opened is not None:
                self.opened = graph["opened"]
            self._show_all()
        elif self.prompts is not None:
            self.set_trait("prompts", None)

    def _show_all(self) -> None:
        """Publish the small rivers; while one is open, the others may wait for a new lens."""
        session = self._session
        session.many.read(session.painter.lens, session.trace, again=self.opened is None)
        self.set_trait("prompts", session.many.data())

    def _is_drawn(self, before: dict[str, Any]) -> bool:
        """Whether a change needs no new graph: back to all of them, or to the one drawn last."""
        many = self._session.many
        if set(before) != {"opened"} or self.opened not in (None, many.now):
            return False
        if many.entries and self.opened is None:
            self._show_all()
        return True

    def _aim(self, before: dict[str, Any]) -> tuple[int, Any, Any]:
        """Focus, target and foil of another step or prompt, unless they came along: the last token
        and the one that came, or as they were when the prompt was left.
        """
        many = self._session.many
        own: tuple[int, Any, Any] = (len(self._session.trace) - 1, None, None)
        if "opened" in before and self.opened is not None:
            entry = many.entries[self.opened]
            own = self._session.trace.position(entry.focus), entry.target, entry.foil
        return (
            self.focus if "focus" in before else own[0],
            self.target if "target" in before else own[1],
            self.foil if "foil" in before else own[2],
        )
