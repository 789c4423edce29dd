"""Colab: an output there is a frame of its own, and shows a widget of another package only with a
manager that the notebook has enabled. anywidget enables it with its first widget; a notebook may
have disabled it since.
"""

from __future__ import annotations

import html
import sys
from base64 import b64encode

# What runs in a frame whose kernel is there, and nowhere else: the picture steps aside.
_ASIDE = "if(globalThis.google?.colab?.kernel?.accessAllowed)this.hidden=true"
ASK = (
    "Colab shows this graph once custom widgets are enabled: run `from google.colab import output; "
    "output.enable_custom_widget_manager()`, then this cell again."
)


def here() -> bool:
    """Whether this is a kernel of Colab."""
    return "google.colab.output" in sys.modules


def shows_widgets() -> bool:
    """Whether widgets of other packages are shown: where it cannot be told, they are."""
    widgets = sys.modules.get("google.colab.output._widgets")
    return bool(getattr(widgets, "_installed_url", True))


def picture(png: bytes, words: str, width: int, height: int) -> str:
    """A picture as HTML, which is out of sight where the widget above it runs."""
    source = f"data:image/png;base64,{b64encode(png).decode('ascii')}"
    return (
        f'<img src="{source}" alt="{html.escape(words)}" width="{width}" height="{height}" '
        f'onload="{html.escape(_ASIDE)}">'
    )
