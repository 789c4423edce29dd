"""Text of any make as one plain line, for where there is no front end to show it as it is."""

from __future__ import annotations

import unicodedata

# What has no shape of its own, and may change that of its neighbours: control, format (bidi marks,
# zero-width joiners), surrogates, ends of lines and paragraphs.
_SHAPELESS = frozenset(("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"))


def line(text: str, most: int = 80) -> str:
    """The text in one line of at most `most` characters that can all be seen."""
    # More than what could be shown need not be looked at.
    seen = "".join(
        " " if unicodedata.category(char) in _SHAPELESS else char for char in text[: 4 * most]
    )
    whole = " ".join(seen.split())
    return whole if len(whole) <= most and len(text) <= 4 * most else f"{whole[: most - 1]}…"
