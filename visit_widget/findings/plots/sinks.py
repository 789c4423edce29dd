"""Figures of where attention is parked."""

from __future__ import annotations

from typing import Any

from ..statistics import summarise
from .frame import COLOURS, Given, axes, finish, number_of_prompts, rows_of


def attention_sinks(given: Given, ax: Any = None, only: str | None = None) -> Any:
    """Mean length of the first token's stream beside the others', and mean attention that it gets,
    by layer; returns the axes.

    Args:
        given: a study with `attention_sinks`, or its rows.
        ax: to draw into.
        only: "correct" or "incorrect" prompts.
    """
    rows = [r for r in rows_of(given, "attention_sinks", only) if r["position"] == 0]
    ax = axes(ax)
    ratio, looked = (summarise(rows, name) for name in ("ratio", "attention"))
    ax.plot([s["layer"] for s in ratio], [s.mean for s in ratio], color=COLOURS[0],
            label="length, times the others' median")  # fmt: skip
    ax.set_yscale("log")
    other = ax.twinx()
    other.plot([s["layer"] for s in looked], [s.mean for s in looked], "--", color=COLOURS[1],
               label="attention that it gets (right)")  # fmt: skip
    other.set_ylim(0, 1)
    other.spines["top"].set_visible(False)
    lines = [*ax.get_lines(), *other.get_lines()]
    ax.legend(lines, [line.get_label() for line in lines], fontsize=8, frameon=False)
    title = f"The first token ({number_of_prompts(rows)})"
    return finish(ax, title, "layer", "length ratio", legend=False)
