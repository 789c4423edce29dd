"""Pictures of a widget as files, drawn by the front end in a browser without a window."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from ..model import VisitError
from ..viewer.page import STATIC
from . import chromium
from .chromium import File

THEMES = ("light", "dark")
_WIDTHS = (320, 8000)
_MOST_SCALE = 8

_INDEX = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>visit_widget</title>
<link rel="stylesheet" href="widget.css"></head>
<body><script type="module" src="draw.js"></script></body>
</html>
"""
_DRAW = """
const tell = (name, body) => fetch(name, { method: "POST", body });
try {
  const { figureFile } = await import("./widget.js");
  const { data, how } = await (await fetch("order.json")).json();
  await tell("picture", await figureFile(data, how));
} catch (error) {
  await tell("problem", error instanceof Error ? error.message : String(error));
}
"""


def order(theme: str, width: int, scale: float = 1) -> dict[str, Any]:
    """What the front end is told about a picture.

    Raises:
        VisitError: the theme is unknown, or a size is out of bounds.
    """
    if theme not in THEMES:
        raise VisitError(f"theme={theme!r} is not known: use 'light' or 'dark'.")
    for name, value, least, most in (
        ("width", width, *_WIDTHS),
        ("scale", scale, 0.1, _MOST_SCALE),
    ):
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not (number and least <= value <= most):
            raise VisitError(
                f"{name}={value!r} cannot be used: pass a number from {least} to {most}."
            )
    return {"theme": theme, "width": int(width), "scale": float(scale)}


def check_place(target: Path) -> None:
    """Whether a file can be written, before the work is done.

    Raises:
        VisitError: it cannot.
    """
    folder = target.parent
    if target.is_dir():
        why = "it is a folder"
    elif not folder.is_dir():
        why = f"there is no folder {folder}"
    elif not os.access(folder, os.W_OK):
        why = f"the folder {folder} is not yours to write to"
    else:
        return
    raise VisitError(f"Could not write {target}: {why}. Choose another place.")


def picture(
    data: dict[str, Any],
    how: dict[str, Any],
    browser: str,
    timeout: float,
) -> bytes:
    """The file's content.

    Args:
        data: as `saved.drawn` gives it.
        how: as `order` gives it, and the "format": "svg" or "png".
        browser: path of a Chromium-family browser.
        timeout: seconds that it may take.

    Raises:
        VisitError: the browser could not draw it.
    """
    text = json.dumps({"data": data, "how": how}, allow_nan=False)
    script = "text/javascript; charset=utf-8"
    files = {
        "index.html": File("text/html; charset=utf-8", _INDEX.encode()),
        "draw.js": File(script, _DRAW.encode()),
        "widget.js": File(script, (STATIC / "widget.js").read_bytes()),
        "widget.css": File("text/css; charset=utf-8", (STATIC / "widget.css").read_bytes()),
        "order.json": File("application/json", text.encode()),
    }
    return chromium.draw(browser, files, timeout)
