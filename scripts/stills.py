"""In a notebook's kernel: widgets are put out as pictures, as a page without scripts shows them.

`scripts/notebooks.py` installs it. A cell that changes a widget shown above gets its picture too:
on a page that runs, the widget itself would have changed.
"""

from __future__ import annotations

import io
import json
import struct
import tempfile
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

from IPython import get_ipython
from IPython.display import publish_display_data

WIDTH = 1008
COLOURS = 128


class Stills:
    """The widgets that were put out, and how each looked when it last was.

    Args:
        scale: pixels of a picture per pixel of the page.
    """

    def __init__(self, scale: float) -> None:
        self.scale = scale
        self.shown: dict[int, tuple[Any, str]] = {}

    def put(self, widget: Any) -> None:
        """What stands in the notebook for the widget."""
        self.shown[id(widget)] = widget, self.looks(widget)
        png = fewer_colours(self.drawn(widget))
        width, height = struct.unpack(">II", png[16:24])
        size = {"width": round(width / self.scale), "height": round(height / self.scale)}
        words = widget._in_words()
        publish_display_data(
            {"image/png": b64encode(png).decode("ascii"), "text/plain": words},
            {"image/png": {**size, "alt": words}},
        )

    def looks(self, widget: Any) -> str:
        """Something that changes when the picture does."""
        state = getattr(widget, "view_state", None) or widget.graph
        return json.dumps(state, sort_keys=True, default=str)

    def drawn(self, widget: Any) -> bytes:
        """The figure as the export draws it."""
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "figure.png")
            if hasattr(widget, "save_png"):
                widget.save_png(file, width=WIDTH, scale=self.scale)
                return file.read_bytes()
        from visit_widget.widget import chromium, figure

        how = {**figure.order("light", WIDTH, self.scale), "format": "png"}
        return figure.picture(widget.saved, how, chromium.find(None), 60)

    def after_a_cell(self, _result: Any) -> None:
        """Pictures of what the cell has changed and not shown."""
        for widget, looked in list(self.shown.values()):
            if self.looks(widget) != looked:
                self.put(widget)


def fewer_colours(png: bytes) -> bytes:
    """The same picture in a palette, a third as large."""
    from PIL import Image

    image = Image.open(io.BytesIO(png)).convert("RGB")
    small = io.BytesIO()
    image.quantize(COLOURS, dither=Image.Dither.NONE).save(small, "PNG", optimize=True)
    return min(png, small.getvalue(), key=len)


def demo_instead(original: Callable[..., Any], part: int) -> Callable[..., Any]:
    """`from_pretrained` that knows the demo model by its name on the hub, from this machine."""
    from visit_widget.model.demo import DEMO_MODEL, load_demo

    def from_pretrained(name: Any, *args: Any, **options: Any) -> Any:
        return load_demo()[part] if name == DEMO_MODEL else original(name, *args, **options)

    return from_pretrained


def substitute_demo() -> None:
    """Where the hub is out of reach, the demo model's name there means the packaged one."""
    import transformers

    for part, name in enumerate(("AutoModelForCausalLM", "AutoTokenizer")):
        known = getattr(transformers, name)
        known.from_pretrained = demo_instead(known.from_pretrained, part)


def install(scale: float) -> None:
    """From now on, widgets are pictures."""
    from visit_widget.viewer.output import Output

    stills = Stills(scale)

    def display(widget: Any) -> None:
        stills.put(widget)

    changed: Any = Output
    changed._ipython_display_ = display
    shell: Any = get_ipython()
    shell.events.register("post_run_cell", stills.after_a_cell)
