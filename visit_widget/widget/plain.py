"""What travels: plain data with short numbers."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..flow import FlowGraph

SIGNIFICANT = 6


def compact(value: Any) -> Any:
    """Plain data of the same content with floats at six significant digits: what a screen can show,
    at half the bytes.
    """
    # A graph is made of thousands of values: the commonest kinds come first.
    kind = type(value)
    if value is None or kind is str or kind is int:
        return value
    if isinstance(value, float):
        return float(f"{value:.{SIGNIFICANT}g}") if isfinite(value) else None
    if isinstance(value, dict):
        return {k: compact(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [compact(v) for v in value]
    names = getattr(kind, "__dataclass_fields__", None)
    return value if names is None else {k: compact(getattr(value, k)) for k in names}


def compact_graph(graph: FlowGraph) -> dict[str, Any]:
    """A graph as it travels: what only some prompts have is left out of others'."""
    data: dict[str, Any] = compact(graph)
    return data if graph.turns is not None else {k: v for k, v in data.items() if k != "turns"}


def present(value: Any) -> dict[str, Any]:
    """A node or an edge without what it has none of: routes have many."""
    return {k: v for k, v in compact(value).items() if v is not None and v != []}
