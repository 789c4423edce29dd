"""How long a widget lives.

ipywidgets keeps every widget that was ever made until it is closed, and with it the trace and the
model behind it. Here a widget is kept for the page only once something may show it: when its view
or its id was asked for. Before that, and after `close`, it lives as long as somebody's variable.

In IPython, a cell that is run again replaces its own output. A widget that was shown only there,
and that no variable of the notebook holds, is closed then: running a cell thirty times holds one
trace, not thirty.
"""

from __future__ import annotations

import re
import weakref
from collections.abc import MutableMapping
from typing import TYPE_CHECKING, Any

import ipywidgets

from ..model import VisitError

if TYPE_CHECKING:
    from .widget import VisitWidget

# IPython's own history of results: whoever finds a widget there alone does not hold it.
_HISTORY = re.compile(r"_{1,3}|_i{1,3}|_i?\d+|_[iod]h|In|Out")


class Closed:
    """Stands in the place of a closed widget's session."""

    def __getattr__(self, name: str) -> Any:
        raise VisitError(
            "This widget was closed, by close() or because its cell was run again, and its trace "
            "was let go: call vw.visit again."
        )


def registry() -> MutableMapping[str, Any]:
    """The widgets that ipywidgets keeps alive, by model id."""
    # Where they are kept differs between versions.
    places = (
        (ipywidgets.widgets.widget, "_instances"),
        (ipywidgets.Widget, "_active_widgets"),
        (ipywidgets.Widget, "widgets"),
    )
    known: Any = next(getattr(owner, name) for owner, name in places if hasattr(owner, name))
    found: MutableMapping[str, Any] = known
    return found


def loosen(widget: VisitWidget) -> None:
    """Let a new widget go when the last variable that holds it does, until it is shown."""
    if widget.comm is None:
        return
    known = weakref.ref(widget)

    def heard(message: Any) -> None:
        alive = known()
        if alive is not None:
            alive._handle_msg(message)

    def closed(_message: Any) -> None:
        alive = known()
        if alive is not None:
            alive.close()

    widget.comm.on_msg(heard)
    widget.comm.on_close(closed)  # the page may end it as well
    registry().pop(widget.comm.comm_id, None)


def hold(widget: VisitWidget) -> None:
    """Keep a widget for whoever shows it."""
    if widget.comm is not None:
        registry()[widget.comm.comm_id] = widget


class Cells:
    """Which widgets are shown by which cell of one IPython shell.

    Args:
        shell: its event `post_run_cell` says when a cell has been run.
    """

    def __init__(self, shell: Any) -> None:
        self._shell = weakref.ref(shell)
        # The widgets shown in the cell that is running, and where those of earlier runs are.
        self._now: weakref.WeakSet[VisitWidget] = weakref.WeakSet()
        self._places: weakref.WeakKeyDictionary[VisitWidget, set[str]] = weakref.WeakKeyDictionary()
        shell.events.register("post_run_cell", self._after)

    def shown(self, widget: VisitWidget) -> None:
        """The running cell shows the widget."""
        self._now.add(widget)

    def _after(self, result: Any = None) -> None:
        info = getattr(result, "info", None)
        # The cells of front ends that do not name them are told apart by what is in them.
        cell = getattr(info, "cell_id", None) or getattr(info, "raw_cell", None)
        if not cell:
            self._now.clear()
            return
        for widget, places in list(self._places.items()):
            if cell not in places or widget in self._now:
                continue
            places.discard(cell)
            if not places and not self._is_held(widget):
                del self._places[widget]
                _retire(widget)
        for widget in list(self._now):
            self._places.setdefault(widget, set()).add(cell)
        self._now.clear()

    def _is_held(self, widget: VisitWidget) -> bool:
        """Whether a variable of the notebook, or a box that is open, holds the widget."""
        shell = self._shell()
        variables = {} if shell is None else dict(shell.user_ns)
        values = [v for name, v in variables.items() if not _HISTORY.fullmatch(str(name))]
        boxes = (getattr(box, "children", None) for box in list(registry().values()))
        return any(_holds(value, widget) for value in (*values, *boxes))


def _holds(value: Any, widget: VisitWidget) -> bool:
    if value is widget:
        return True
    if isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, (list, tuple, set, frozenset)):
        return False
    return any(item is widget for item in value)


def _retire(widget: VisitWidget) -> None:
    widget.close()
    # What IPython's history of results still holds is a small thing.
    widget.set_trait("graph", {})


_cells: weakref.WeakKeyDictionary[Any, Cells] = weakref.WeakKeyDictionary()


def note_shown(widget: VisitWidget) -> None:
    """The widget's view was asked for: remember by which cell, if there are cells."""
    shell = _shell()
    if shell is None:
        return
    if shell not in _cells:
        _cells[shell] = Cells(shell)
    _cells[shell].shown(widget)


def _shell() -> Any:
    try:
        from IPython import get_ipython
    except ImportError:
        return None
    shell: Any = get_ipython()
    return shell if hasattr(shell, "events") and hasattr(shell, "user_ns") else None
