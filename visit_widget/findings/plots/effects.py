"""Figures of effects over many prompts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from .frame import COLOURS, axes, finish, rows_of, shown


def rank_effects(rows: Iterable[Mapping[str, Any]], ax: Any = None, n: int = 15) -> Any:
    """Mean measured and predicted effects of the strongest parts, with their intervals; returns the
    axes.

    Args:
        rows: of `visit_widget.findings.rank_effects`.
        ax: to draw into.
        n: how many parts.
    """
    every = rows_of(list(rows), "rank_effects")[:n]
    ax = axes(ax, (6.4, 0.22 * len(every) + 1.4))
    at = np.arange(len(every))
    for shift, name, marker, colour in (
        (-0.14, "measured", "o", COLOURS[0]), (0.14, "predicted", "^", COLOURS[1]),
    ):  # fmt: skip
        known = [i for i in at if every[i][name] is not None]
        means = np.array([every[i][name] for i in known])
        rims = np.array([[every[i][f"{name}_{rim}"] for i in known] for rim in ("low", "high")])
        ax.errorbar(means, np.array(known) + shift, xerr=np.abs(rims - means), fmt=marker,
                    color=colour, markersize=4, linewidth=1, label=name)  # fmt: skip
    ax.set_yticks(at, [shown(row["part"]) for row in every], fontsize=7)
    ax.invert_yaxis()
    ax.axvline(0, color="#444444", linewidth=0.8)
    stable = every[0]["stability"]
    title = f"Strongest effects (the strongest are the same by {stable:.0%} in other samples)"
    ax = finish(ax, title, "effect on target − foil, logits", "", legend=False, whole=False)
    # The strongest stand above, with the widest intervals.
    ax.legend(fontsize=8, frameon=False, loc="lower right")
    return ax
