"""Snapshots of pictures as text: what is drawn where, and in which colours (`picture.js`).

`make snapshots` renews them; a change of theirs belongs into the commit that made it.
"""

from __future__ import annotations

import difflib
import os
from pathlib import Path

import pytest
from playwright.sync_api import Locator

FOLDER = Path(__file__).parent / "snapshots"
READER = Path(__file__).parent / "picture.js"
RENEW = os.environ.get("RENEW_SNAPSHOTS") == "1"
SHOWN = 40
# The header is as high as its fonts make it, and what is left is the picture's.
FIXED = ".visit-widget .vw-header { height: 120px; overflow: hidden; }"


def picture_of(widget: Locator) -> dict[str, list[str]]:
    """{"shapes", "words", "colours"} of what is on screen, each as lines."""
    if not widget.evaluate("() => 'readPicture' in window"):
        widget.page.add_script_tag(path=READER)
    picture: dict[str, list[str]] = widget.evaluate("(root) => readPicture(root)")
    return picture


def compare(name: str, lines: list[str]) -> None:
    """Holds lines against those of a file, or writes them there."""
    path = FOLDER / f"{name}.txt"
    now = "\n".join(lines) + "\n"
    if RENEW:
        FOLDER.mkdir(exist_ok=True)
        path.write_text(now, encoding="utf-8")
        return
    then = path.read_text(encoding="utf-8") if path.exists() else ""
    if now == then:
        return
    diff = list(difflib.unified_diff(then.splitlines(), now.splitlines(), lineterm="", n=0))[2:]
    more = [f"… and {len(diff) - SHOWN} lines more"] if len(diff) > SHOWN else []
    told = "\n".join([*(line[:200] for line in diff[:SHOWN]), *more])
    pytest.fail(f"{path.name} is another picture ('make snapshots' renews it):\n{told}", False)
