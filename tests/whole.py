"""Every sum that a routes graph promises, whatever was pruned."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable

import jsonschema

from visit_widget.flow import Edge, FlowGraph, Node

STREAMS = ("embed", "residual")
# What nothing flows into; a value or an MLP only where it cannot be told what it is made of.
ENDS = ("embed", "bias", "rest", "opaque")
SCHEMA = FlowGraph.schema()


def unread(graph: FlowGraph) -> list[Node]:
    """The values and MLPs that nothing flows into."""
    entered = {e.target for e in graph.edges}
    return [n for n in graph.nodes if n.kind in ("value", "mlp") and n.id not in entered]


def assert_routes_whole(graph: FlowGraph, total: float, exact: float = 1e-9) -> None:
    """What flows into and out of every node sums to it, and all of it to `total`.

    Args:
        graph: a routes graph.
        total: what the prediction's influence should be.
        exact: how far a sum may be off, in units of the sizes that are summed (of 1 at least).
    """
    ids = [n.id for n in graph.nodes]
    assert len(set(ids)) == len(ids)
    assert {i for e in graph.edges for i in (e.source, e.target)} == set(ids)
    assert len({(e.source, e.target) for e in graph.edges}) == len(graph.edges)
    into, out = defaultdict(list), defaultdict(list)
    for edge in graph.edges:
        into[edge.target].append(edge)
        out[edge.source].append(edge)
    closed = {n.id for n in unread(graph)}
    for node in graph.nodes:
        assert (node.id in into) == (node.kind not in ENDS and node.id not in closed), node.id
        if node.id in into:
            _assert_made_of(node, into[node.id], exact)
        if node.id != "logits":
            assert len(out[node.id]) == 1 or node.kind in STREAMS, node.id
            carried = [e.influence for e in out[node.id]]
            # A stream's effect is by all that reads it, queries and keys too.
            if graph.measure != "effect" or node.kind not in STREAMS:
                assert_sum(carried, node.influence, exact, f"out of {node.id}")
    _assert_attributed(graph, closed, total, exact)


def assert_data(graph: FlowGraph) -> None:
    """The graph is data: valid, and the same again when it is read from its own text."""
    text = graph.to_json()
    assert FlowGraph.from_json(text) == graph
    jsonschema.validate(json.loads(text), SCHEMA)


def assert_sum(values: Iterable[float], expected: float, exact: float, what: str) -> None:
    """The values sum to what is expected."""
    values = list(values)
    size = max(1.0, sum(map(abs, values)))
    assert abs(sum(values) - expected) <= exact * size, f"{what}: {sum(values)}, not {expected}"


def _assert_made_of(node: Node, edges: list[Edge], exact: float) -> None:
    assert_sum([e.influence for e in edges], node.influence, exact, f"into {node.id}")
    assert_sum([e.logit for e in edges], node.logit, exact, f"logits into {node.id}")
    if node.effect is not None:
        assert_sum([e.effect for e in edges], node.effect, exact, f"effects into {node.id}")
    parts = [e for e in edges if e.share is not None]
    assert len(parts) == len(edges) or node.id == "logits"
    assert_sum([e.share for e in parts], 1, exact, f"shares into {node.id}")
    nearness = sum(e.proximity for e in parts)
    assert nearness == 0 or abs(nearness - 1) <= exact, f"proximities into {node.id}: {nearness}"


def _assert_attributed(graph: FlowGraph, closed: set[str], total: float, exact: float) -> None:
    found = graph.attribution
    if graph.measure == "effect":
        _assert_effects(graph, total, exact)
        return
    assert [t["position"] for t in found["tokens"]] == list(range(len(graph.tokens)))
    values = [t["value"] for t in found["tokens"]]
    ends = [found[name] for name in ("bias", "opaque", "rest")]
    influence = {n.id: n.influence for n in graph.nodes}
    assert abs(found["total"] - total) <= exact * max(1, abs(total))
    assert found["total"] == influence["logits"]
    sizes = sum(abs(v) for n, v in influence.items() if n != "logits")
    assert abs(sum(values + ends) - total) <= exact * max(1, sizes), "attribution"
    for position, value in enumerate(values):
        assert value == influence.get(f"P{position}.embed", 0)
    for name, kinds in (("bias", ["bias"]), ("rest", ["rest"]), ("opaque", ["opaque"])):
        own = [n.influence for n in graph.nodes if n.kind in kinds]
        if name == "opaque":
            own += [influence[i] for i in closed]
        assert_sum(own, found[name], exact, name)


def _assert_effects(graph: FlowGraph, total: float, exact: float) -> None:
    """Influences are effects, and what no embedding accounts for is `bias`."""
    for one in (*graph.nodes, *graph.edges):
        assert_sum([one.effect], one.influence, exact, str(one))
    found = graph.attribution
    values = [t["value"] for t in found["tokens"]]
    assert len(values) == len(graph.tokens)
    assert values[graph.position + 1 :] == [0.0] * (len(values) - graph.position - 1)
    assert_sum([*values, found["bias"]], total, exact, "attribution")
    assert_sum([found["total"]], total, exact, "total")
    assert found["rest"] == found["opaque"] == 0
    for node in graph.nodes:
        if node.kind == "embed":
            assert_sum([values[node.position]], node.influence, exact, node.id)
