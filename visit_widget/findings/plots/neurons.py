"""Figures of neurons that are active whatever is read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ...model import VisitError
from .frame import COLOURS, axes, finish


def regularisation_neurons(rows: Iterable[Mapping[str, Any]], ax: Any = None) -> Any:
    """The neurons that are nearly always among the most activated: length of their value against
    the entropy of its projection, with the averages of their layers; returns the axes.

    Args:
        rows: of `visit_widget.findings.regularisation_neurons`.
        ax: to draw into.

    Raises:
        VisitError: there are none.
    """
    every = list(rows)
    mine = [r for r in every if r["neuron"] is not None]
    rest = [r for r in every if r["neuron"] is None]
    if not mine:
        raise VisitError("There are no such neurons: ask for a smaller share of the prompts.")
    ax = axes(ax)
    shade = [r["layer"] for r in mine]
    points = ax.scatter(
        [r["norm"] for r in mine], [r["entropy"] for r in mine], c=shade, cmap="viridis", s=18,
        label="nearly always among the most activated",
    )  # fmt: skip
    ax.scatter(
        [r["norm"] for r in rest], [r["entropy"] for r in rest], c=COLOURS[1], marker="x", s=28,
        label="average of a layer",
    )  # fmt: skip
    ax.figure.colorbar(points, ax=ax, label="layer")
    title = f"{len(mine)} neurons that are active whatever is read"
    y = "entropy of its projection, nats"
    return finish(ax, title, "length of the value", y, whole=False)
