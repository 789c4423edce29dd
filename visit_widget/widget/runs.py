"""The runs of a widget: each time that something was done to the pass, and what it then said.

`docs/protocol.md`, What if, has the shapes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import traitlets

from ..model import VisitError

# The oldest go first.
MOST_RUNS = 50
_KEYS = (
    "id", "interventions", "prompt", "against", "focus", "step", "branch", "target", "foil",
    "before", "after",
)  # fmt: skip
# What two runs have alike that are the same.
_SAME = (
    "interventions", "prompt", "against", "focus", "step", "branch", "target", "foil",
)  # fmt: skip
_STANDING = ("logit", "probability", "rank")


class Runs(traitlets.HasTraits):
    """The part of the widget that keeps its runs.

    Attributes:
        runs: what was done to the pass, and what it said before and after, the latest last. Set it
            to fewer of them to take some out; `widget.interventions = widget.runs[0]
            ["interventions"]` goes back to one.
    """

    runs: Any = traitlets.List().tag(sync=True)

    @traitlets.validate("runs")
    def _valid_runs(self, proposal: Any) -> list[dict[str, Any]]:
        return check_runs(proposal["value"])

    def _note_run(self, graph: dict[str, Any]) -> None:
        """Keep what a graph says of a run, unless it is known."""
        run = run_of(graph)
        if run is None or any(all(r[k] == run[k] for k in _SAME) for r in self.runs):
            return
        number = 1 + max((r["id"] for r in self.runs), default=0)
        self.runs = [*self.runs, {"id": number, **run}][-MOST_RUNS:]


def run_of(graph: dict[str, Any]) -> dict[str, Any] | None:
    """A run as it is kept; None of a pass as it is.

    Args:
        graph: as the `graph` trait carries it.
    """
    done, before = graph.get("interventions"), graph.get("before")
    if not done or before is None:
        return None
    return {
        "interventions": done,
        "prompt": graph["prompt"],
        "against": None if graph.get("against") is None else graph["against"]["prompt"],
        "focus": graph["position"],
        "step": graph.get("step"),
        "branch": graph.get("branch"),
        "target": _named(graph["target"]),
        "foil": _named(graph["foil"]),
        "before": _said(before["target"], before["foil"], before["prediction"]),
        "after": _said(graph["target"], graph["foil"], graph["prediction"]),
    }


def check_runs(value: Any) -> list[dict[str, Any]]:
    """Runs as they are kept.

    Raises:
        VisitError: they are none.
    """
    told = isinstance(value, (list, tuple)) and all(
        isinstance(r, Mapping)
        and set(r) == set(_KEYS)
        and isinstance(r["id"], int)
        and isinstance(r["interventions"], (list, tuple))
        for r in value
    )
    if not told:
        raise VisitError(
            "runs is the list of what was done to the pass, and only makes itself: set it to fewer "
            "of widget.runs to take some out, or set widget.interventions to run something."
        )
    return [dict(r) for r in value]


def _named(token: dict[str, Any] | None) -> dict[str, Any] | None:
    return None if token is None else {name: token[name] for name in ("id", "text")}


def _said(
    target: dict[str, Any], foil: dict[str, Any] | None, prediction: list[dict[str, Any]]
) -> dict[str, Any]:
    """What a pass said: how target and foil stood, and its first choice."""
    kept = [None if t is None else {k: t.get(k) for k in _STANDING} for t in (target, foil)]
    first = {k: prediction[0][k] for k in ("id", "text", "probability")} if prediction else None
    return {"target": kept[0], "foil": kept[1], "first": first}
