"""Python's garbage collection, put off while a graph is drawn.

Thousands of small things are made and all are kept: every search among them for garbage finds none,
and on a large model it costs a fifth of the drawing.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """No search for garbage meanwhile, unless the user has turned it off anyway."""
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
