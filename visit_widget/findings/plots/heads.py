"""Figures of what heads say."""

from __future__ import annotations

from typing import Any

from .frame import COLOURS, Given, axes, finish, mean_lines, number_of_prompts, rows_of

WHOLES = {"attention": "attention", "block": "block output", "final": "final output"}


def head_overlap(given: Given, ax: Any = None, only: str | None = None) -> Any:
    """Mean I_k of heads with attention, block and final output, by layer, projected through W_O and
    directly; returns the axes.

    Args:
        given: a study with `head_overlap`, or its rows.
        ax: to draw into.
        only: "correct" or "incorrect" prompts.
    """
    rows, ax = rows_of(given, "head_overlap", only), axes(ax)
    for via, dash in (("W_O", "-"), ("direct", ":")):
        mine = [row for row in rows if row["via"] == via]
        if not mine:
            continue
        way = "through W_O" if via == "W_O" else "directly"
        for colour, (name, words) in zip(COLOURS, WHOLES.items(), strict=False):
            mean_lines(ax, mine, name, f"{words}, {way}", colour=colour, dash=dash)
    title = f"What heads say, found again ({number_of_prompts(rows)})"
    return finish(ax, title, "layer", "$I_k$, mean over heads")


def head_ranks(given: Given, ax: Any = None, only: str | None = None) -> Any:
    """Mean I_k of heads with attention, block and final output, by the rank of ‖A_j W_O‖ in the
    layer; returns the axes. Arguments as in `head_overlap`.
    """
    rows = [r for r in rows_of(given, "head_overlap", only) if r["via"] == "W_O"]
    ax = axes(ax)
    for colour, (name, words) in zip(COLOURS, WHOLES.items(), strict=False):
        mean_lines(ax, rows, name, words, by="norm_rank", colour=colour)
    title = f"What heads say, by the length of it ({number_of_prompts(rows)})"
    return finish(ax, title, "rank of $\\|A_j W_O\\|$ in its layer", "$I_k$, mean over layers")
