"""Figures of what attention says, and of queries and keys."""

from __future__ import annotations

from typing import Any

from .frame import COLOURS, Given, axes, finish, mean_lines, number_of_prompts, rows_of

_OTHERS = {
    "residual": "stream before the block",
    "previous_residual": "stream one block earlier",
    "block": "block output",
    "previous_attention": "attention one block earlier",
}
_PAIRS = {"query_key": "query, key", "key_value": "key, value"}


def attention_overlap(given: Given, ax: Any = None, only: str | None = None) -> Any:
    """Mean I_k of attention with the stream around it, by layer; returns the axes.

    Args:
        given: a study with `attention_overlap`, or its rows.
        ax: to draw into.
        only: "correct" or "incorrect" prompts.
    """
    rows, ax = rows_of(given, "attention_overlap", only), axes(ax)
    for colour, (name, words) in zip(COLOURS, _OTHERS.items(), strict=False):
        dash = "--" if name.startswith("previous") else "-"
        mean_lines(ax, rows, name, words, colour=colour, dash=dash)
    title = f"Attention beside the stream ({number_of_prompts(rows)})"
    return finish(ax, title, "layer", "$I_k$(attention, …)")


def query_key_overlap(
    given: Given, ax: Any = None, only: str | None = None, way: str = "circuit"
) -> Any:
    """Mean I_k of queries with keys and of keys with values, by layer: of the key most looked at,
    and of the one least looked at (the control); returns the axes.

    Args:
        given: a study with `query_key_overlap`, or its rows.
        ax: to draw into.
        only: "correct" or "incorrect" prompts.
        way: "circuit", or "naive".
    """
    rows, ax = rows_of(given, "query_key_overlap", only), axes(ax)
    suffix = "_naive" if way == "naive" else ""
    for colour, (name, words) in zip(COLOURS, _PAIRS.items(), strict=False):
        for rank, dash, of in ((1, "-", "most looked at"), (0, "--", "least (control)")):
            mine = [row for row in rows if row["rank"] == rank]
            if any(row[name + suffix] is not None for row in mine):
                mean_lines(ax, mine, name + suffix, f"{words}: {of}", colour=colour, dash=dash)
    how = "through the QK circuit" if way == "circuit" else "read directly"
    title = f"Queries, keys and values, {how} ({number_of_prompts(rows)})"
    return finish(ax, title, "layer", "$I_k$, mean over heads")
