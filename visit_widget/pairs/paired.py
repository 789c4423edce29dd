"""Nodes and edges of two graphs as one: both values, and their difference.

    difference = a − b

What has no partner counts as nothing on the other side: so the differences of what flows into a
whole sum to the difference of the wholes, in every measure that adds up.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from ..flow import Edge, FlowGraph, Node
from ..flow.reading import Flows
from ..model import VisitError
from .alignment import Alignment
from .pair import in_both

# What a node carries into its whole, and what it has of its own.
CARRIED = ("share", "logit", "norm", "proximity", "effect")
OWN = ("activation", "weight", "score", "target_probability", "target_rank")


class Values(NamedTuple):
    """One number of both.

    Attributes:
        a, b: None where there is none.
        difference: a − b; None where one of them is there but has no such number.
    """

    a: float | None
    b: float | None
    difference: float | None


@dataclass(frozen=True)
class NodePair:
    """One node of both graphs.

    Attributes:
        id: of the graph of both.
        a, b: the node in each; None where its token has no partner, or nothing of the kind is
            there (an expert that the router did not choose).
        share, proximity: of the whole that it flows into.
    """

    id: str
    a: Node | None
    b: Node | None
    share: Values
    proximity: Values

    @property
    def node(self) -> Node:
        """The node of a, or where there is none that of b."""
        found = self.a or self.b
        assert found is not None
        return found

    @property
    def kind(self) -> str:
        """What it is."""
        return self.node.kind

    @property
    def alone(self) -> Literal["a", "b"] | None:
        """The only one of the two that has it; None where both have."""
        return None if self.a and self.b else "a" if self.a else "b"

    def values(self, measure: str) -> Values:
        """Both values and their difference.

        Args:
            measure: "share", "logit", "norm", "proximity", "effect", "activation", "weight",
                "score", "target_probability" or "target_rank".

        Raises:
            VisitError: there is no such measure.
        """
        if measure in ("share", "proximity"):
            found: Values = getattr(self, measure)
            return found
        if measure not in (*CARRIED, *OWN):
            known = ", ".join(map(repr, (*CARRIED, *OWN)))
            raise VisitError(f"measure={measure!r} is not known: use {known}.")
        here, there = (None if n is None else getattr(n, measure) for n in (self.a, self.b))
        return values_of(here, there, (self.a is None or self.b is None) and measure in CARRIED)


@dataclass(frozen=True)
class EdgePair:
    """One edge of both graphs.

    Attributes:
        source, target: ids of the graph of both.
        kind: as `Edge`.
        a, b: the edge in each, or None.
    """

    source: str
    target: str
    kind: str
    a: Edge | None
    b: Edge | None

    @property
    def alone(self) -> Literal["a", "b"] | None:
        """The only one of the two that has it; None where both have."""
        return None if self.a and self.b else "a" if self.a else "b"

    def values(self, measure: str) -> Values:
        """Both values and their difference.

        Args:
            measure: "share", "logit", "norm", "proximity", "effect" or "value".

        Raises:
            VisitError: there is no such measure.
        """
        if measure not in (*CARRIED, "value"):
            known = ", ".join(map(repr, (*CARRIED, "value")))
            raise VisitError(f"measure={measure!r} is not known: use {known}.")
        here, there = (None if e is None else getattr(e, measure) for e in (self.a, self.b))
        return values_of(here, there, (self.a is None or self.b is None) and measure in CARRIED)


def values_of(a: float | None, b: float | None, alone: bool) -> Values:
    """Two values and their difference.

    Args:
        a: of the first.
        b: of the second.
        alone: whether the one that is missing counts as nothing.
    """
    if alone and (a is not None or b is not None):
        return Values(a, b, (a or 0.0) - (b or 0.0))
    return Values(a, b, None if a is None or b is None else a - b)


def paired_nodes(a: FlowGraph, b: FlowGraph, alignment: Alignment) -> dict[str, NodePair]:
    """The nodes of both graphs, by their ids in the graph of both: a's in its order, then those
    that b alone has.
    """
    mine = {node.id: node for node in a.nodes}
    theirs = {in_both(node.id, alignment): node for node in b.nodes}
    flows = Flows(a), Flows(b)
    found = {}
    for name in dict.fromkeys((*mine, *theirs)):
        here, there = mine.get(name), theirs.get(name)
        carried = [
            values_of(
                None if here is None else flows[0].value(here, measure),
                None if there is None else flows[1].value(there, measure),
                here is None or there is None,
            )
            for measure in ("share", "proximity")
        ]
        found[name] = NodePair(name, here, there, *carried)
    return found


def paired_edges(
    a: FlowGraph, b: FlowGraph, alignment: Alignment
) -> dict[tuple[str, str], EdgePair]:
    """The edges of both graphs, by the ids of their ends in the graph of both."""
    mine = {(e.source, e.target): e for e in a.edges}
    theirs = {(in_both(e.source, alignment), in_both(e.target, alignment)): e for e in b.edges}
    found = {}
    for ends in dict.fromkeys((*mine, *theirs)):
        here, there = mine.get(ends), theirs.get(ends)
        one = here or there
        assert one is not None
        found[ends] = EdgePair(*ends, one.kind, here, there)
    return found
