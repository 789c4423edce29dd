"""What a node of a routes graph is and brings, in one or two sentences with its numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .elements import Node
from .words import (
    followed_logit,
    listed,
    number,
    percent,
    quoted,
    rounding_of,
    says,
    signed,
    without,
)

if TYPE_CHECKING:
    from .graph import FlowGraph

N_SOURCES = 2
# Measures by which influence is in logits.
IN_LOGITS = ("logit", "linear", "effect")


def explain_route(graph: FlowGraph, node: Node) -> str:
    """See `FlowGraph.explain`."""
    if node.kind == "logits":
        return _prediction(graph)
    if graph.measure == "effect":
        return _missed(graph, node)
    told, amount = _subject(graph, node), f"{_size(graph, node.influence)} of {_whole(graph)}"
    many = node.kind == "rest" and (node.rest or {}).get("count") != 1
    carries = "carry" if many else "carries"
    plain = node.kind in ("embed", "bias", "rest", "rounding")
    text = f"{told} {carries if plain else 'and carries'} {amount} along the kept routes."
    if node.kind == "mlp":
        text += " It is handed on to the stream that the MLP reads."
    if node.kind == "residual":
        text += f" Most of it flows in by {_largest(graph, node)}."
    return text


def _missed(graph: FlowGraph, node: Node) -> str:
    """What would be without a node, of a graph of effects."""
    told, effect = _subject(graph, node), node.influence or 0.0
    if node.kind in ("embed", "bias", "rest", "rounding"):
        return without(graph, effect, f"{told[0].lower()}{told[1:]}")
    text = f"{told}. {without(graph, effect)}"
    if node.kind == "residual":
        text += f" The largest effects in it are of {_largest(graph, node)}."
    return text


def _largest(graph: FlowGraph, node: Node) -> str:
    came = sorted(graph.into(node.id), key=lambda e: -abs(e.influence or 0.0))[:N_SOURCES]
    return listed([f"{_source(graph.node(e.source))} ({_size(graph, e.influence)})" for e in came])


def _subject(graph: FlowGraph, node: Node) -> str:
    here, layer = _token(graph, node.position), f"layer {node.layer}"
    writes = "" if node.label is None else f" {quoted(node.label)}"
    if node.kind == "value":
        weight = "" if node.weight is None else f" with {percent(node.weight)} of its attention"
        return (
            f"Head {node.head} of {layer} brings{writes} from {_token(graph, node.source)} to "
            f"{here}{weight}"
        )
    if node.kind == "residual":
        place = "after" if node.id.endswith(".post") else "inside"
        reads = f" reads{writes}" if writes else " has no label yet"
        return f"The stream at {here} {place} {layer}{reads}"
    if node.kind == "rest":
        count = (node.rest or {}).get("count", 0)
        parts = "part" if count == 1 else "parts"
        whole = node.id.removesuffix(".rest")
        return f"The {count:,} {parts} of {whole} that pruning left out"
    if node.kind == "bias":
        return f"What {node.id.removesuffix('.bias')} holds whatever the prompt says (its biases)"
    if node.kind == "rounding":
        return f"{rounding_of(node.id)} at {here}"
    if node.kind == "embed":
        return f"The embedding of {here}"
    what = "MLP" if node.kind == "mlp" else "part without attention"
    does = "writes" if node.label is None else says(node, graph.lens)
    return f"The {what} of {layer} at {here} {does}"


def _source(node: Node) -> str:
    return {
        "residual": "the stream before",
        "embed": "the embedding",
        "mlp": "the MLP",
        "value": f"head {node.head}",
        "rest": "what is not shown",
        "bias": "biases",
        "rounding": "rounding",
    }.get(node.kind, node.id)


def _size(graph: FlowGraph, influence: float | None) -> str:
    value = influence or 0.0
    return signed(value) if graph.measure in IN_LOGITS else percent(value)


def _whole(graph: FlowGraph) -> str:
    if graph.measure not in IN_LOGITS:
        return f"the prediction, measured by {graph.measure},"
    followed = followed_logit(graph)
    total = (graph.attribution or {}).get("total")
    return followed if total is None else f"{followed} ({signed(total)})"


def _prediction(graph: FlowGraph) -> str:
    after, target = _token(graph, graph.position), graph.target
    if target["probability"] is None:
        text = f"After {after} the stream says {number(target['logit'])} along "
        text += f"{quoted(target['text'])}."
    else:
        text = f"After {after} the model gives {quoted(target['text'])} "
        text += f"probability {percent(target['probability'])}."
    found = graph.attribution
    if found is None:
        return text
    tokens = sorted(found["tokens"], key=lambda t: -abs(t["value"]))[:N_SOURCES]
    largest = [
        f"{_token(graph, t['position'])} ({_size(graph, t['value'])})" for t in tokens if t["value"]
    ]
    if graph.measure == "effect":
        return f"{text} The tokens whose embeddings have the largest effects are {listed(largest)}."
    if largest:
        text += f" Along the kept routes most of {_whole(graph)} comes from {listed(largest)}."
    return f"{text} {_size(graph, found['rest'])} is in parts that pruning left out."


def _token(graph: FlowGraph, position: int | None) -> str:
    if position is None or position >= len(graph.tokens):
        return "a token"
    return f"{quoted(graph.tokens[position]['text'])} (token {position})"
