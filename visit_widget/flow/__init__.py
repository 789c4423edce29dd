"""The pruned flow graph, as plain data."""

from .build import Painter, flow_graph
from .graph import Edge, FlowGraph, Node
from .keep import Keep

__all__ = ["Edge", "FlowGraph", "Keep", "Node", "Painter", "flow_graph"]
