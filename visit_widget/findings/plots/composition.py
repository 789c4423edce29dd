"""Figures of which heads read which."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .frame import COLOURS, axes, finish, rows_of


def composition(rows: Iterable[Mapping[str, Any]], ax: Any = None) -> Any:
    """Composition scores of pairs of heads against what was read in this prompt; returns the axes.

    Args:
        rows: of `visit_widget.findings.composition`.
        ax: to draw into.
    """
    every = rows_of(list(rows), "composition")
    ax = axes(ax, (6.4, 4.2))
    for n, (reads, marker) in enumerate((("query", "o"), ("key", "^"), ("value", "s"))):
        mine = [r for r in every if r["reads"] == reads and r["traced"] is not None]
        ax.scatter(
            [r["score"] for r in mine], [r["traced"] for r in mine], color=COLOURS[n],
            marker=marker, s=20, alpha=0.7, label=f"{reads} reads",
        )  # fmt: skip
    known = [r for r in every if r["traced"] is not None]
    # Names where they do not meet one another.
    ends = sorted(known, key=lambda r: -abs(r["traced"]))[:3]
    for row in ends:
        name = f"{row['writer_layer']}.{row['writer']} → {row['layer']}.{row['head']}"
        ax.annotate(name, (row["score"], row["traced"]), (4, 3), textcoords="offset points",
                    fontsize=7)  # fmt: skip
    ax.axhline(0, color="#444444", linewidth=0.8)
    title = "Heads that read heads: by weights, and in this prompt"
    return finish(ax, title, "composition score", "share of what is read", whole=False)
