"""Reading a flow graph as data: its strongest paths, its largest parts, and as tables."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import fields
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING, Any

from ..model import VisitError
from .elements import FLOWS, MEASURES, Edge, Node

if TYPE_CHECKING:
    import networkx as nx
    import pandas as pd

    from .graph import FlowGraph

# Kinds of nodes that flow into a whole, and those that are only looked at or are the end.
PARTS = (
    "embed", "attention", "mlp", "opaque", "head", "value", "row", "neuron", "expert", "bias",
    "rounding", "edit",
)  # fmt: skip
STREAM, REST = ("residual", "norm"), "rest"
NO_PARTS = ("query", "key", "neuron_key", "logits")


def strongest_path(graph: FlowGraph, start: str, end: str, measure: str) -> list[Edge]:
    """See `FlowGraph.path`."""
    _check(graph, measure)
    graph.node(start)
    graph.node(end)
    if start == end:
        return []
    into: dict[str, list[tuple[Edge, float]]] = {}
    for edge, carried in _fractions(graph, measure):
        into.setdefault(edge.target, []).append((edge, carried))
    sources = {target: [edge.source for edge, _ in edges] for target, edges in into.items()}
    try:
        order = list(TopologicalSorter(sources).static_order())
    except CycleError as error:
        circle = " → ".join(error.args[1])
        raise VisitError(
            f"The edges of this graph go round in a circle ({circle}), so no path is the strongest."
        ) from None
    # Best so far by node: (−log of the product, edges, (node, edge kind) of each step), and edges.
    Key = tuple[float, int, tuple[tuple[str, str], ...]]
    best: dict[str, tuple[Key, list[Edge]]] = {start: ((0.0, 0, ()), [])}
    for node in order:
        for edge, carried in into.get(node, ()):
            if edge.source not in best:
                continue
            (loss, length, steps), edges = best[edge.source]
            key = (loss - math.log2(carried), length + 1, (*steps, (node, edge.kind)))
            if node not in best or key < best[node][0]:
                best[node] = (key, [*edges, edge])
    if end not in best:
        if _leads(graph, start, end):
            raise VisitError(
                f"Nothing flows from {start!r} to {end!r} by {measure}: every way there has an "
                "edge that carries 0. Other measures may find one."
            )
        raise VisitError(
            f"Nothing flows from {start!r} to {end!r}. Flows lead from parts to wholes and down "
            "the stream; queries, keys and the inputs of attention and MLP are looked at, not "
            "added."
        )
    return best[end][1]


def top_nodes(
    graph: FlowGraph, n: int, kind: str | Sequence[str] | None, measure: str, sign: int | None
) -> list[tuple[Node, float]]:
    """See `FlowGraph.top`."""
    _check(graph, measure)
    if isinstance(n, bool) or not isinstance(n, int) or n < 0:
        raise VisitError(f"n={n!r} is not a number of nodes.")
    if sign not in (None, 1, -1) or isinstance(sign, bool):
        raise VisitError(
            f"sign={sign!r}: use 1 for positive values, -1 for negative ones, or None."
        )
    kinds, flows = kinds_of(kind), Flows(graph)
    found = [(node, flows.value(node, measure)) for node in graph.nodes if node.kind in kinds]
    ranked = [(node, value) for node, value in found if value is not None]
    if sign is not None:
        ranked = [(node, value) for node, value in ranked if value * sign > 0]
    return sorted(ranked, key=lambda pair: -abs(pair[1]))[:n]


def kinds_of(kind: str | Sequence[str] | None) -> tuple[str, ...]:
    """The kinds of nodes that are ranked; all that are parts by default.

    Raises:
        VisitError: there is no such kind, or it carries nothing.
    """
    kinds = PARTS if kind is None else (kind,) if isinstance(kind, str) else tuple(kind)
    known = (*PARTS, *STREAM, REST)
    for name in kinds:
        if name in NO_PARTS:
            raise VisitError(f"Nodes of kind {name!r} flow into no whole, so they carry nothing.")
        if name not in known:
            raise VisitError(f"kind={name!r} is not known: use {', '.join(map(repr, known))}.")
    return kinds


def to_networkx(graph: FlowGraph) -> nx.DiGraph:
    """See `FlowGraph.to_networkx`."""
    try:
        import networkx as nx
    except ImportError as error:
        raise _missing("networkx") from error
    data = graph.to_dict()
    made = nx.DiGraph()
    nodes, edges = data.pop("nodes"), data.pop("edges")
    made.graph.update(data)
    for node in nodes:
        made.add_node(node["id"], **node)
    for edge in edges:
        if made.has_edge(edge["source"], edge["target"]):
            raise VisitError(
                f"Two edges lead from {edge['source']!r} to {edge['target']!r}, and a "
                "networkx.DiGraph holds one. No graph that this package draws has two; use "
                "to_pandas()."
            )
        made.add_edge(edge["source"], edge["target"], **edge)
    return made


def to_pandas(graph: FlowGraph) -> tuple[pd.DataFrame, pd.DataFrame]:
    """See `FlowGraph.to_pandas`."""
    try:
        import pandas as pd
    except ImportError as error:
        raise _missing("pandas") from error
    data = graph.to_dict()

    def table(rows: list[dict[str, Any]], kind: type[Node] | type[Edge]) -> pd.DataFrame:
        columns = {
            f.name: pd.Series([row[f.name] for row in rows], dtype=_DTYPES.get(str(f.type), object))
            for f in fields(kind)
        }
        return pd.DataFrame(columns)

    return table(data["nodes"], Node), table(data["edges"], Edge)


# By a field's annotation; anything else is kept as the object that it is.
_DTYPES = {
    "str": "string",
    "str | None": "string",
    "int": "int64",
    "int | None": "Int64",
    "float | None": "float64",
}


class Flows:
    """The edge by which each node flows into its whole, and the W_O rows split off it."""

    def __init__(self, graph: FlowGraph) -> None:
        self.out: dict[str, Edge] = {}
        self.split: dict[str, list[str]] = {}
        for edge in graph.edges:
            if edge.kind == "split":
                self.split.setdefault(edge.source, []).append(edge.target)
            elif edge.kind in FLOWS and edge.kind != "through":
                self.out.setdefault(edge.source, edge)

    def value(self, node: Node, measure: str) -> float | None:
        """What a node carries into its whole, the rows that were split off it included."""
        edge = self.out.get(node.id)
        value: float | None = None if edge is None else getattr(edge, measure)
        rows = self.split.get(node.id)
        if value is None or not rows:
            return value
        if measure == "norm":  # lengths do not add; the node knows its own
            return value if node.norm is None else node.norm
        if measure == "proximity":
            return value
        parts = (getattr(self.out[row], measure) for row in rows if row in self.out)
        return value + sum(part or 0.0 for part in parts)


def _leads(graph: FlowGraph, start: str, end: str) -> bool:
    """Whether flow edges lead from a node to another, whatever they carry."""
    reached, waiting = {start}, [start]
    while waiting:
        node = waiting.pop()
        new = {e.target for e in graph.out_of(node) if e.kind in FLOWS} - reached
        reached |= new
        waiting += new
    return end in reached


def _fractions(graph: FlowGraph, measure: str) -> list[tuple[Edge, float]]:
    """The flow edges that carry anything, and how much of the whole that each flows into."""
    carried = [
        (edge, abs(value))
        for edge in graph.edges
        if edge.kind in FLOWS and (value := getattr(edge, measure))
    ]
    if measure in ("share", "proximity"):
        return carried
    total: dict[str, float] = {}
    for edge, value in carried:
        total[edge.target] = total.get(edge.target, 0.0) + value
    parts = [(edge, value / total[edge.target]) for edge, value in carried]
    return [(edge, part) for edge, part in parts if part]


def _check(graph: FlowGraph, measure: str) -> None:
    if measure not in MEASURES:
        raise VisitError(f"measure={measure!r} is not known: use {', '.join(map(repr, MEASURES))}.")
    if measure == "effect" and all(edge.effect is None for edge in graph.edges):
        raise VisitError('This graph carries no effects: draw it with measure="effect".')


def _missing(package: str) -> VisitError:
    return VisitError(
        f"to_{package}() needs {package}, which is not installed: pip install {package}, or "
        'pip install "visit-widget[data]".'
    )
