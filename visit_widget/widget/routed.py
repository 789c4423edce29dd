"""What the routes view is told: the routes of what is drawn, and beside them the other prompt's.

`docs/protocol.md`, Requests and Against, has the shapes.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ..flow import Painter
from ..flow.begun import begun
from ..model import VisitError
from ..pairs import PairPainter
from .plain import compact, present

ROUTES_LIMIT = 4000
# Of the other prompt's routes, what is told node by node: the rest is in its attribution.
_TOLD = ("embed", "residual", "mlp", "opaque", "value")


def routes_of(painter: Painter, both: PairPainter | None) -> dict[str, Any]:
    """The routes graph of what is drawn; what a node has none of is left out.

    Args:
        painter: of this prompt's pass.
        both: what draws it and the other; None where there is none.

    Raises:
        VisitError: there are more than can be read.
    """
    graph = painter.routes()
    if len(graph.nodes) > ROUTES_LIMIT:
        raise VisitError(
            f"These routes have {len(graph.nodes):,} nodes, more than can be read: raise "
            "the threshold of what is kept (keep.routes)."
        )
    other = {} if both is None else {"against": _other(both)}
    return {
        "position": graph.position,
        "measure": graph.measure,
        "total": compact(graph.attribution["total"] if graph.attribution else None),
        "nodes": [present(replace(n, top=begun(n.top), bottom=[])) for n in graph.nodes],
        "edges": [present(e) for e in graph.edges],
        "attribution": compact(graph.attribution),
        **other,
    }


def _other(both: PairPainter) -> dict[str, Any]:
    """The other prompt's routes, by the ids of here."""
    graph, name = both.b.routes(), both.pair.in_a
    nodes: list[dict[str, Any]] = [
        {"id": name(n.id), "kind": n.kind, "influence": n.influence, "label": n.label}
        for n in graph.nodes
        if n.kind in _TOLD
    ]
    told: dict[str, Any] = compact({
        "position": graph.position,
        "nodes": nodes,
        "attribution": graph.attribution,
    })  # fmt: skip
    return told
