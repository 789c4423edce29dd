"""Figures of neurons that are active whatever is read, and of those that turn confidence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ...model import VisitError
from .frame import COLOURS, axes, finish, rows_of


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


def confidence_neurons(rows: Iterable[Mapping[str, Any]], ax: Any = None) -> Any:
    """Length of neurons' values against the variance of the logits that they write, shaded by the
    share in the null space of the unembedding; returns the axes.

    Args:
        rows: of `visit_widget.findings.confidence_neurons`.
        ax: to draw into.
    """
    every, ax = rows_of(list(rows), "confidence_neurons"), axes(ax)
    points = ax.scatter(
        [r["norm"] for r in every], [r["logit_var"] for r in every], c=[r["null"] for r in every],
        cmap="viridis", s=12,
    )  # fmt: skip
    ax.figure.colorbar(points, ax=ax, label="share in the null space")
    for row in sorted(every, key=lambda r: -r["null"])[:3]:
        ax.annotate(f"N{row['neuron']}", (row["norm"], row["logit_var"]), (4, 3),
                    textcoords="offset points", fontsize=7)  # fmt: skip
    ax.set_yscale("log")
    title = f"Neurons of layer {every[0]['layer']} and the unembedding"
    return finish(
        ax, title, "length of the value", "variance among logits", legend=False, whole=False
    )
