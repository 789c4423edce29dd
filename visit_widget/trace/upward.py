"""What users ask of a trace and rooms above it answer: graphs, routes, runs with parts edited.

The one look up the house: a trace is where people ask, and these are imported when they do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .target import Followed, TargetLike

if TYPE_CHECKING:
    from ..flow import FlowGraph, Keep
    from ..lens import Lens
    from ..what_if import Effects
    from ..what_if.actions import ActionLike
    from .trace import Trace


class Upward:
    """What `Trace` takes its questions from."""

    def flow(
        self: Any,
        position: int = -1,
        target: TargetLike | None = None,
        foil: TargetLike | None = None,
        layers: Sequence[int] = (),
        keep: Keep | None = None,
        measure: str = "share",
        lens: Lens | str | None = None,
    ) -> FlowGraph:
        """The pruned flow graph: every layer's overview, and the block graph of each layer in
        `layers`.

        See `visit_widget.flow.flow_graph`, which does the work.
        """
        from ..flow import flow_graph

        return flow_graph(self, position, target, foil, layers, keep, measure, lens)

    def routes(
        self: Any,
        position: int = -1,
        target: TargetLike | None = None,
        foil: TargetLike | None = None,
        measure: str = "share",
        keep: Keep | None = None,
        lens: Lens | str | None = None,
    ) -> FlowGraph:
        """The routes by which a prediction comes from the tokens: positions × layers, pruned by
        influence.

        See `visit_widget.flow.routes_graph`, which does the work.
        """
        from ..flow import routes_graph

        return routes_graph(self, position, target, foil, measure, keep, lens)

    def rerun(
        self: Any,
        interventions: Mapping[str, ActionLike],
        positions: str | int | Sequence[int] = "focus",
        freeze: Sequence[str] = (),
    ) -> Trace:
        """The pass once more, with parts taken away, scaled, or exchanged.

            without = trace.rerun({"L23.H4": "zero"})
            trace.rerun({"L5.mlp": 0.5, "L7.H1.A3": "zero"}, positions="all", freeze=("norms",))

        See `visit_widget.what_if.rerun`, which does the work.
        """
        from ..what_if import rerun

        return rerun(self, interventions, positions, freeze)

    def effects(
        self: Any,
        parts: str | Sequence[str] = "heads",
        target: TargetLike | Followed | None = None,
        foil: TargetLike | Followed | None = None,
        action: ActionLike = "zero",
        positions: str | int | Sequence[int] = "focus",
        position: int = -1,
        **more: Any,
    ) -> Effects:
        """What the prediction loses by each part: foretold by the gradient, and measured.

            found = trace.effects("heads")
            found["L23.H4"]             # Effect(predicted=…, measured=…)

        See `visit_widget.what_if.effects`, which does the work.
        """
        from ..what_if import effects

        return effects(self, parts, target, foil, action, positions, position, **more)
