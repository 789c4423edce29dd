"""The pruned flow graph, as plain data."""

from .build import Painter, flow_graph, routes_graph
from .elements import MEASURES, Edge, Node
from .graph import FlowGraph
from .keep import Keep, Limit

__all__ = [
    "MEASURES",
    "Edge",
    "FlowGraph",
    "Keep",
    "Limit",
    "Node",
    "Painter",
    "flow_graph",
    "routes_graph",
]
