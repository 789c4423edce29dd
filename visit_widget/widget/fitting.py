"""Lenses that are fitted because a reader asked for them in the page."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import Any

from ..lens.choose import FITTED, fit_lens
from ..lens.progress import Told
from ..model import VisitError
from .session import Session


class Fits:
    """Fits lenses of a widget's model, one at a time.

    Args:
        session: whose model it is.
        known: called with the names of the lenses that can be used at once, when there are more.
    """

    def __init__(self, session: Session, known: Callable[[list[str]], None]) -> None:
        self._session, self._known = session, known
        self._one = Lock()

    def __call__(self, lens: str, progress: Told) -> dict[str, Any]:
        """Fit a lens on the reference text, and keep it in the user's cache.

        The model is held a pass at a time: cells and other requests come between.

        Args:
            lens: the name of one that has to be fitted; one that is there already is not fitted
                anew.
            progress: called with (done, total).

        Raises:
            VisitError: there is no such lens, it cannot be fitted, or `progress` called it off.
        """
        if lens not in FITTED:
            raise VisitError(f"{lens!r} needs no fitting: {', '.join(FITTED)} do.")
        with self._one:
            if lens not in self._session.lenses():
                fit_lens(lens, self._session.trace, progress)
            names = self._session.lenses()
        self._known(names)
        return {"lenses": names}
