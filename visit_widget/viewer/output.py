"""What stands in a notebook's output: the widget, and what is seen where nothing runs.

A picture is drawn by the page once the widget is on it, which is after the output was written. It
comes to stand in an output of its own below, which front ends that show widgets show as one that
was closed, so not at all; it is filled by an update of that output alone, and the widget above is
not drawn anew. Pages without widgets (GitHub, nbviewer, a PDF, a notebook that is not trusted)
show the picture. Colab does not know of closed widgets: there it is HTML that steps aside.
"""

from __future__ import annotations

import struct
from base64 import b64decode, b64encode
from typing import Any
from uuid import uuid4

import traitlets

from ..errors import VisitError
from . import colab
from .line import line

VIEW, PNG, TEXT = "application/vnd.jupyter.widget-view+json", "image/png", "text/plain"
HTML = "text/html"
# Bytes of the file: it is in the notebook beside every widget.
MOST_BYTES = 400_000
_DATA_URL = "data:image/png;base64,"
_SIGNATURE = b"\x89PNG\r\n\x1a\n"


class Output(traitlets.HasTraits):
    """The part of a widget that is a notebook's output.

    Attributes:
        picture: whether the page is to draw the picture that the notebook keeps; the page's answer
            sets it to False. Set it to True to have it drawn again.
    """

    picture = traitlets.Bool(False).tag(sync=True)
    prompt: Any
    target: Any
    graph: Any
    opened: Any

    _png: bytes | None = None
    _scale = 1.0

    def _repr_mimebundle_(self, **options: Any) -> Any:
        self._note_shown()
        bundle: Any = super()._repr_mimebundle_(**options)  # type: ignore[misc]
        if bundle is None:
            return None
        data, about = bundle if isinstance(bundle, tuple) else (bundle, {})
        return {**data, TEXT: self._in_words()}, about

    def _note_shown(self) -> None:
        """Its view was asked for."""

    def _ipython_display_(self) -> None:
        from IPython.display import publish_display_data

        publish: Any = publish_display_data
        bundle = self._repr_mimebundle_()
        if bundle is None:
            return
        if colab.here() and not colab.shows_widgets():
            publish({TEXT: colab.ASK})
            return
        publish(*bundle)
        if not (self.picture or self._png):
            return
        place = str(uuid4())
        self._places().append(place)
        self._put(place, update=False)

    def _places(self) -> list[str]:
        """Where the widget's picture stands, as display ids."""
        places: list[str] = vars(self).setdefault("_picture_places", [])
        return places

    def keep_picture(self, png: Any, scale: Any = 1) -> dict[str, Any]:
        """The page's picture: kept, and put where the notebook saves it.

        Args:
            png: the file, as a data URL.
            scale: its pixels per pixel of the page.

        Raises:
            VisitError: it is no such picture.
        """
        content = _checked(png)
        if isinstance(scale, bool) or not isinstance(scale, (int, float)) or not 0 < scale <= 8:
            raise VisitError(f"scale={line(str(scale), 40)} is no scale of a picture.")
        self._png, self._scale = content, float(scale)
        self.picture = False
        for place in self._places():
            self._put(place, update=True)
        return {}

    def _put(self, place: str, update: bool) -> None:
        from IPython.display import publish_display_data

        publish: Any = publish_display_data
        data, about = self._picture_output()
        publish(data, about, transient={"display_id": place}, update=update)

    def _picture_output(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Data and metadata of the output below the widget."""
        nothing = {"version_major": 2, "version_minor": 0, "model_id": ""}
        data: dict[str, Any] = {TEXT: ""} if colab.here() else {VIEW: nothing, TEXT: ""}
        if self._png is None:
            return data, {}
        width, height = (round(side / self._scale) for side in _size(self._png))
        if colab.here():
            return {HTML: colab.picture(self._png, self._in_words(), width, height), **data}, {}
        data[PNG] = b64encode(self._png).decode("ascii")
        return data, {PNG: {"width": width, "height": height, "alt": self._in_words()}}

    def _in_words(self) -> str:
        model, target = self.graph.get("model", {}), self.target or {}
        told = line(str(self.prompt)), line(str(target.get("text", "")), 40)
        many = getattr(self, "prompts", None)
        if many and self.opened is None:
            name = line(str(model.get("name", "")), 60)
            return f"{len(many['rows'])} prompts in {name}: run the cell to look into them."
        return (
            f"A flow graph of “{told[0]}” → “{told[1]}” in {line(str(model.get('name', '')), 60)}: "
            "run the cell to look into it."
        )


def _checked(png: Any) -> bytes:
    try:
        if not isinstance(png, str) or not png.startswith(_DATA_URL):
            raise ValueError("it is no data URL of one")
        if len(png) > 4 * MOST_BYTES:
            raise ValueError("it is too large")
        content = b64decode(png.removeprefix(_DATA_URL), validate=True)
        if not content.startswith(_SIGNATURE) or len(content) < 33:
            raise ValueError("it is no PNG")
        if len(content) > MOST_BYTES:
            raise ValueError(f"it has {len(content):,} bytes")
    except ValueError as error:
        raise VisitError(
            f"This picture cannot be kept ({error}): a PNG of at most {MOST_BYTES:,} bytes can."
        ) from None
    return content


def _size(png: bytes) -> tuple[int, int]:
    width, height = struct.unpack(">II", png[16:24])
    return int(width), int(height)
