"""A widget's picture taken down as plain data, and made again of it."""

from __future__ import annotations

from typing import Any

from .saved import SETTABLE
from .sentences import joined
from .session import Session
from .view_state import check_facts, checked_traits, read, state_of, take


class Stated:
    """The part of a widget that tells its state, and takes one."""

    _session: Session
    _publish: Any
    _put_back: Any

    @property
    def view_state(self) -> dict[str, Any]:
        """Everything that decides the picture, as plain data that JSON can hold. Set it on a widget
        of the same model, or pass it to `visit`, to make the picture again. What cannot be used
        raises a VisitError and changes nothing.
        """
        return state_of(self._session, {name: getattr(self, name) for name in (*SETTABLE, "order")})

    @view_state.setter
    def view_state(self, state: dict[str, Any]) -> None:
        wanted, session = read(state, self._session), self._session
        check_facts(state["model"], session)
        before, said = {name: getattr(self, name) for name in SETTABLE}, session.said
        many = session.many
        try:
            more = take(wanted, session)
            session.against.take(wanted.against, session)
            traits = checked_traits(wanted, session)
            focus, keep = session.trace.position(wanted.focus), wanted.keep
            graph = session.frame(
                focus, wanted.target, wanted.foil, keep, wanted.measure, [], wanted.lens,
                session.interventions.listed(wanted.interventions, session.trace),
            )  # fmt: skip
        except BaseException:
            session.many = many
            session.said = said
            self._put_back(before)
            raise
        traits.update(
            measure=wanted.measure,
            keep=keep.to_dict(),
            view=wanted.view,
            lens=graph["lens"],
            **more,
        )
        self._publish(graph, joined(session.trace.notes), **traits)
