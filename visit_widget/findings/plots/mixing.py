"""Figures of how tokens are mixed, and of where their streams go."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..results import Row
from .frame import COLOURS, Given, axes, finish, mean_lines, number_of_prompts, rows_of, shown


def mixing_ratio(given: Given, ax: Any = None, only: str | None = None) -> Any:
    """Mean norm-based mixing ratio by layer, of the sum and of what the next norm makes of it; the
    first token, which has no context, is left out. Returns the axes.

    Args:
        given: a study with `mixing_ratio`, or its rows.
        ax: to draw into.
        only: "correct" or "incorrect" prompts.
    """
    rows = [r for r in rows_of(given, "mixing_ratio", only) if r["position"] > 0]
    ax = axes(ax)
    mean_lines(ax, rows, "ratio", "in the stream", colour=COLOURS[0])
    if any(row["ratio_normed"] is not None for row in rows):
        mean_lines(ax, rows, "ratio_normed", "as the MLP's norm splits it", colour=COLOURS[1],
                   dash="--")  # fmt: skip
    ax.set_ylim(0, 1)
    title = f"How much comes from other tokens ({number_of_prompts(rows)})"
    return finish(ax, title, "layer", "context / (context + preserved)")


def feed_forward_mixing(given: Given, ax: Any = None, only: str | None = None) -> Any:
    """Mean mixing ratio before the MLP, of what it writes, and after it, by layer; returns the
    axes. Arguments as in `mixing_ratio`.
    """
    rows = [r for r in rows_of(given, "feed_forward_mixing", only) if r["position"] > 0]
    ax = axes(ax)
    lines = {"before": "before the MLP", "written": "what the MLP writes", "after": "after the MLP"}
    for colour, dash, (name, words) in zip(COLOURS, ("-", ":", "--"), lines.items(), strict=False):
        mean_lines(ax, rows, name, words, colour=colour, dash=dash)
    ax.set_ylim(0, 1)
    title = f"What the MLP does to the mix ({number_of_prompts(rows)})"
    return finish(ax, title, "layer", "context / (context + preserved)")


def trajectories(rows: Iterable[Mapping[str, Any]], ax: Any = None) -> Any:
    """The way of each token through the layers in the shared plane; returns the axes.

    Args:
        rows: of `visit_widget.findings.trajectories`.
        ax: to draw into.
    """
    every, ax = rows_of(list(rows), "trajectories"), axes(ax, (6.4, 4.8))
    for position in sorted({row["position"] for row in every}):
        way = sorted((r for r in every if r["position"] == position), key=lambda r: r["layer"])
        colour = COLOURS[position % len(COLOURS)]
        first, last = way[0], way[-1]
        ax.plot([r["x"] for r in way], [r["y"] for r in way], "-", color=colour, alpha=0.7)
        ax.scatter(first["x"], first["y"], color=colour, marker="o", s=18)
        ax.scatter(last["x"], last["y"], color=colour, marker="s", s=22)
        ax.annotate(
            shown(first["token"]), (last["x"], last["y"]), (4, 3), textcoords="offset points",
            fontsize=8, color=colour,
        )  # fmt: skip
    share = every[0]["explained"]
    title = "Tokens on their way, from ● the embedding to ■ the last layer"
    along = f"first component ({share:.0%} of the variance in both)"
    return finish(ax, title, along, "second component", legend=False, whole=False)


def joint_embedding(rows: Iterable[Mapping[str, Any]], ax: Any = None) -> Any:
    """Queries and keys of a head in their shared plane; returns the axes.

    Args:
        rows: of `visit_widget.findings.joint_embedding`.
        ax: to draw into.
    """
    every, ax = rows_of(list(rows), "joint_embedding"), axes(ax, (6.4, 4.8))
    for n, (kind, marker) in enumerate((("query", "o"), ("key", "^"))):
        mine: list[Row] = [r for r in every if r["kind"] == kind]
        ax.scatter(
            [r["x"] for r in mine], [r["y"] for r in mine], color=COLOURS[n], marker=marker, s=26,
            label={"query": "queries", "key": "keys"}[kind],
        )  # fmt: skip
        for row in mine:
            ax.annotate(
                shown(row["token"]), (row["x"], row["y"]), (4, 3), textcoords="offset points",
                fontsize=7, color=COLOURS[n],
            )  # fmt: skip
    first = every[0]
    title = f"Queries and keys of a head (c = {first['scale']:.2f}, r = {first['correlation']:.2f})"
    x = f"first component ({first['explained']:.0%} of the variance in both)"
    return finish(ax, title, x, "second component", whole=False)
