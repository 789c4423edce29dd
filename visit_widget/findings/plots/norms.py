"""Figures of norms as semantic filters."""

from __future__ import annotations

from collections import Counter
from math import log10
from typing import Any

from ...model import VisitError
from ..results import Row
from .frame import COLOURS, Given, axes, finish, mean_lines, number_of_prompts, rows_of, shown


def norm_filter(
    given: Given, ax: Any = None, only: str | None = None, final_norm: bool = True
) -> Any:
    """Mean I_k of the stream before and after each norm, by layer, beside the same of random
    vectors; returns the axes.

    Args:
        given: a study with `norm_filter`, or its rows.
        ax: to draw into.
        only: "correct" or "incorrect" prompts.
        final_norm: whether vectors are read with the final norm.
    """
    rows = [r for r in rows_of(given, "norm_filter", only) if r["final_norm"] is final_norm]
    ax = axes(ax)
    for colour, norm in zip(COLOURS, ("ln1", "ln2"), strict=False):
        for vector, dash in (("stream", "-"), ("random", ":")):
            mine = [r for r in rows if r["norm"] == norm and r["vector"] == vector]
            if mine:
                mean_lines(ax, mine, "overlap", f"{norm}, {vector}", colour=colour, dash=dash)
    ax.set_ylim(0, 1.02)
    how = "with" if final_norm else "without"
    title = f"What norms leave of the stream, {how} final norm ({number_of_prompts(rows)})"
    return finish(ax, title, "layer", "$I_k$(before, after)")


def norm_targets(given: Given, ax: Any = None, only: str | None = None, norm: str = "ln2") -> Any:
    """The rank of the model's prediction before and after a norm, by layer: geometric means over
    prompts, on a logarithmic axis; returns the axes. Arguments as in `norm_filter`.

    Args:
        given: as above.
        ax: as above.
        only: as above.
        norm: "ln1" or "ln2".
    """
    rows = _of(given, only, norm)
    ax, logged = axes(ax), list[Row]()
    for row in rows:
        ranks = {k: log10(row[f"target_rank_{k}"]) for k in ("before", "after")}
        logged.append({**row, **ranks})
    for colour, name in zip(COLOURS, ("before", "after"), strict=False):
        dash = "-" if name == "before" else "--"
        mean_lines(ax, logged, name, f"{name} {norm}", colour=colour, dash=dash)
    ax.yaxis.get_major_locator().set_params(integer=True)
    ax.yaxis.set_major_formatter(lambda value, _: f"{10**value:,.0f}")
    ax.invert_yaxis()
    title = f"Rank of the prediction across {norm} ({number_of_prompts(rows)})"
    return finish(ax, title, "layer", "rank, geometric mean")


def norm_tokens(
    given: Given, ax: Any = None, only: str | None = None, norm: str = "ln2", n: int = 12
) -> Any:
    """The tokens that a norm takes most from, and gives most to: in how many of the layers and
    prompts they are its biggest loser or winner; returns the axes. Arguments as in `norm_targets`.
    """
    rows = _of(given, only, norm)
    lost = Counter(row["losers"][0] for row in rows)
    gained = Counter(row["winners"][0] for row in rows)
    ax = axes(ax, (6.4, 4.2))
    bars = [(t, -c / len(rows)) for t, c in lost.most_common(n)]
    bars += [(t, c / len(rows)) for t, c in gained.most_common(n)][::-1]
    for y, (_, share) in enumerate(reversed(bars)):
        colour = COLOURS[1] if share < 0 else COLOURS[0]
        ax.barh(y, share, color=colour, hatch="//" if share < 0 else None, edgecolor="white")
    ax.set_yticks(range(len(bars)), [shown(t) for t, _ in reversed(bars)], fontsize=7)
    ax.axvline(0, color="#444444", linewidth=0.8)
    ax.xaxis.set_major_formatter(lambda value, _: f"{abs(value):.0%}")
    title = f"Biggest losers (left) and winners of {norm} ({number_of_prompts(rows)})"
    return finish(ax, title, "share of layers and prompts", "", legend=False, whole=False)


def _of(given: Given, only: str | None, norm: str) -> list[Row]:
    """Rows of one norm, of the stream, read with the final norm."""
    rows = [
        r
        for r in rows_of(given, "norm_filter", only)
        if r["final_norm"] and r["vector"] == "stream" and r["norm"] == norm
    ]
    if not rows:
        raise VisitError(f"There are no rows of {norm!r}: the norms are 'ln1' and 'ln2'.")
    return rows
