"""Figures of how predictions come up through the layers."""

from __future__ import annotations

from typing import Any

from .frame import COLOURS, Given, axes, finish, mean_lines, rows_of


def prediction_by_layer(given: Given, ax: Any = None, of: str = "prediction") -> Any:
    """Mean probability that the stream after each block gives to the final prediction, of prompts
    that are answered correctly and of the others; returns the axes.

    Args:
        given: a study with `prediction_by_layer`, or its rows.
        ax: to draw into.
        of: "prediction", or "answer" for the right answer's probability.
    """
    value = "probability" if of == "prediction" else "answer_probability"
    rows = [r for r in rows_of(given, "prediction_by_layer") if r["at"] == "post"]
    ax = axes(ax)
    groups = [(True, "answered correctly", "-"), (False, "answered otherwise", "--")]
    if any(row.get("correct") is None for row in rows):
        groups.append((None, "no answer known", ":"))  # type: ignore[arg-type]
    for colour, (correct, words, dash) in zip(COLOURS, groups, strict=False):
        mine = [row for row in rows if row.get("correct") is correct]
        if mine and any(row[value] is not None for row in mine):
            n = len({row.get("prompt", 0) for row in mine})
            mean_lines(ax, mine, value, f"{words} ({n})", colour=colour, dash=dash)
    what = "final prediction" if of == "prediction" else "right answer"
    return finish(ax, f"The {what}, layer by layer", "layer", f"probability of the {what}")
