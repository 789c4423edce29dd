"""Searching the vocabulary for what was typed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def matching(texts: Sequence[str], query: str, limit: int) -> list[dict[str, Any]]:
    """Tokens that match: equal first, then beginning with it, then containing it; short ones first.

    Args:
        texts: of all tokens, as a person reads them.
        query: what was typed.
        limit: how many at most; one at least.
    """
    wanted = query.replace(" ", "␣")
    bare = wanted.strip("␣").casefold() or wanted
    if not bare:
        return []
    ranked = []
    for token, text in enumerate(texts):
        plain = text.strip("␣").casefold() or text
        if bare in plain:
            near = (text == wanted, plain == bare, plain.startswith(bare), True)
            ranked.append((near.index(True), len(plain), token, text))
    ranked.sort()
    return [{"id": token, "text": text} for _, _, token, text in ranked[: max(1, int(limit))]]
