"""Figures of what heads keep of earlier tokens."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..statistics import summarise
from .frame import COLOURS, Given, axes, finish, mean_lines, number_of_prompts, rows_of


def memory_values(given: Given, ax: Any = None, only: str | None = None) -> Any:
    """Mean I_k of memory values with their head's output by layer, by rank of attention; returns
    the axes.

    Args:
        given: a study with `memory_values`, or its rows.
        ax: to draw into.
        only: "correct" or "incorrect" prompts.
    """
    rows, ax = rows_of(given, "memory_values", only), axes(ax)
    ranks = sorted({row["rank"] for row in rows})
    for n, rank in enumerate(ranks[: len(COLOURS)]):
        mine = [row for row in rows if row["rank"] == rank]
        words = "most looked at" if rank == 1 else f"rank {rank}"
        mean_lines(ax, mine, "overlap", words, colour=COLOURS[n], dash="-" if rank == 1 else "--")
    title = f"Memory values in their head's output ({number_of_prompts(rows)})"
    return finish(ax, title, "layer", "$I_k$(value, head), mean over heads")


def memory_heads(given: Given, ax: Any = None, only: str | None = None) -> Any:
    """Mean I_k of the memory value most looked at with its head's output, by layer and head index;
    returns the axes. Arguments as in `memory_values`.
    """
    rows = [r for r in rows_of(given, "memory_values", only) if r["rank"] == 1]
    found = {(s["layer"], s["head"]): s.mean for s in summarise(rows, "overlap", ["layer", "head"])}
    layers, heads = (1 + max(key[n] for key in found) for n in (0, 1))
    grid = np.full((heads, layers), np.nan)
    for (layer, head), mean in found.items():
        grid[head, layer] = mean
    ax = axes(ax, (max(6.4, 0.2 * layers + 1.6), max(2.4, 0.18 * heads + 1.2)))
    image = ax.imshow(grid, aspect="auto", origin="lower", cmap="viridis", vmin=0, vmax=1)
    ax.figure.colorbar(image, ax=ax, label="$I_k$(value, head)")
    title = f"The memory value most looked at, head by head ({number_of_prompts(rows)})"
    return finish(ax, title, "layer", "head", legend=False)


def memory_tokens(given: Given, ax: Any = None, only: str | None = None) -> Any:
    """How likely memory values make their own input token: the share of those among whose ten most
    likely tokens it is, by layer; returns the axes. Arguments as in `memory_values`.
    """
    rows = [
        {**row, "first": row["token_rank"] == 1, "ten": row["token_rank"] <= 10}
        for row in rows_of(given, "memory_values", only)
    ]
    ax = axes(ax)
    mean_lines(ax, rows, "ten", "input token among the first ten", colour=COLOURS[0])
    mean_lines(ax, rows, "first", "input token first", colour=COLOURS[1], dash="--")
    mean_lines(ax, rows, "token_probability", "its probability", colour=COLOURS[2], dash=":")
    title = f"The input token in its memory value ({number_of_prompts(rows)})"
    return finish(ax, title, "layer", "mean over values")
