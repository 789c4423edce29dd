"""The widget of what was saved: the same front end, and no model behind it."""

from __future__ import annotations

from typing import Any

import anywidget
import traitlets

from .output import Output
from .page import STATIC
from .read import saved_data


class SavedWidget(Output, anywidget.AnyWidget):
    """A saved flow graph in a notebook. Made by `show`.

    It opens what was saved and says what was not. What is chosen in the browser can be read and
    observed here; all of it is decided there.

    Attributes:
        saved: the data of a saved page (docs/protocol.md).
        selection: ids of the selected nodes.
        expanded: the open layers.
        pins: ids of the nodes that are compared.
        measure: what ribbons mean.
        view: "block" or "routes".
        picture: as of the widget that `visit` makes.
    """

    _esm = (STATIC / "widget.js").read_text(encoding="utf-8")
    _css = (STATIC / "widget.css").read_text(encoding="utf-8")

    saved = traitlets.Dict(read_only=True).tag(sync=True)
    selection = traitlets.List(traitlets.Unicode()).tag(sync=True)
    expanded = traitlets.List(traitlets.Int()).tag(sync=True)
    pins = traitlets.List(traitlets.Unicode()).tag(sync=True)
    measure = traitlets.Unicode("logit").tag(sync=True)
    view = traitlets.Unicode("block").tag(sync=True)

    def __init__(self, saved: dict[str, Any], picture: bool = True) -> None:
        traits = saved["traits"]
        chosen = ("selection", "expanded", "pins", "measure", "view")
        super().__init__(
            **{name: traits[name] for name in chosen if name in traits}, picture=picture
        )
        self.set_trait("saved", saved)
        self.on_msg(lambda _widget, message, _buffers: self._hear(message))

    @property
    def graph(self) -> dict[str, Any]:
        """The first frame, as plain data."""
        graph: dict[str, Any] = self.saved["traits"]["graph"]
        return graph

    @property
    def prompt(self) -> str:
        """The prompt's text."""
        return str(self.graph["prompt"])

    @property
    def target(self) -> Any:
        """The token followed."""
        return self.graph["target"]

    def _hear(self, message: Any) -> None:
        """The page asks nothing here; what it tells is the picture."""
        if isinstance(message, dict) and message.get("method") == "keep_picture":
            params = message.get("params") or {}
            self.keep_picture(params.get("png"), params.get("scale", 1))


def show(what: Any, *, picture: bool = True) -> SavedWidget:
    """Show what was saved, without a model: neither torch nor transformers is imported.

    Args:
        what: a `FlowGraph`, what its `to_dict` or `to_json` gives, or the path of a file: that
            JSON, a page of `save_html`, or the `flow.md` of `save_myst`.
        picture: as in `visit`.

    Raises:
        VisitError: there is nothing in it that can be shown; the message says what can.

    Example:
        >>> vw.show("flow.html")
    """
    return SavedWidget(saved_data(what), picture)
