"""What all figures share: axes, colours, and lines of means with their intervals.

matplotlib is imported when something is drawn: `pip install "visit-widget[plots]"`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ...model import VisitError
from ..results import Row, Study
from ..statistics import Summary, summarise

# Okabe & Ito's, told apart by the colour-blind; the first ones are the darkest.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#4D4D4D")
DASHES = ("-", "--", ":", "-.")
Given = Study | Iterable[Mapping[str, Any]]


def axes(ax: Any = None, size: tuple[float, float] = (6.4, 3.6)) -> Any:
    """The axes to draw into: those given, or new ones.

    Raises:
        VisitError: matplotlib is not installed.
    """
    try:
        from matplotlib import pyplot as plt
    except ImportError as error:
        raise VisitError('A figure needs matplotlib: pip install "visit-widget[plots]".') from error
    if ax is not None:
        return ax
    return plt.subplots(figsize=size, layout="constrained")[1]


def rows_of(given: Given, name: str, only: str | None = None) -> list[Row]:
    """The rows to draw: of a study, those of a finding; else as they are given.

    Args:
        given: a study, or rows.
        name: of the finding in the study.
        only: "correct" or "incorrect" prompts; all by default.

    Raises:
        VisitError: there are none.
    """
    rows = given.rows(name) if isinstance(given, Study) else given
    if only not in (None, "correct", "incorrect"):
        raise VisitError(f"only={only!r} is no choice of prompts: use 'correct' or 'incorrect'.")
    wanted = only == "correct"
    found = [dict(r) for r in rows if only is None or r.get("correct") is wanted]
    if not found:
        of = "" if only is None else f" of {only} prompts"
        raise VisitError(f"There are no rows{of} to draw: pass those of {name}.")
    return found


def mean_lines(
    ax: Any,
    rows: Sequence[Row],
    value: str,
    label: str,
    *,
    by: str = "layer",
    colour: str = COLOURS[0],
    dash: str = "-",
    band: bool = True,
) -> list[Summary]:
    """Draw the mean over prompts of a column, by another one, with its bootstrap interval."""
    found = sorted(summarise(rows, value, [by]), key=lambda s: s[by])
    at = [s[by] for s in found]
    ax.plot(at, [s.mean for s in found], dash, color=colour, label=label, linewidth=1.6)
    if band and all(s.n_prompts > 1 for s in found):
        low, high = [s.low for s in found], [s.high for s in found]
        ax.fill_between(at, low, high, color=colour, alpha=0.18, linewidth=0)
    return found


def finish(ax: Any, title: str, x: str, y: str, *, legend: bool = True, whole: bool = True) -> Any:
    """Words of the axes, a quiet frame, and the legend where it hides least."""
    ax.set_title(title, fontsize=10, loc="left")
    ax.set_xlabel(x)
    ax.set_ylabel(y)
    ax.spines[["top", "right"]].set_visible(False)
    if whole:
        from matplotlib.ticker import MaxNLocator

        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    if legend:
        ax.legend(fontsize=8, frameon=False)
    return ax


def number_of_prompts(rows: Sequence[Row]) -> str:
    """How many prompts rows are of, in words."""
    count = len({row.get("prompt", 0) for row in rows})
    return "1 prompt" if count == 1 else f"{count} prompts"


def shown(token: str) -> str:
    """A token's text as matplotlib is to print it: a dollar would begin a formula."""
    return token.replace("$", r"\$")
