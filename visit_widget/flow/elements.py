"""What a flow graph is made of."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

MEASURES = ("share", "logit", "norm", "proximity", "effect")
# Routes know one more, which needs all layers and positions.
ROUTE_MEASURES = (*MEASURES, "linear")
# The kinds of edges that carry summands; what the others carry is looked at, not added.
FLOWS = ("residual", "write", "part", "split", "through")
Measure = Literal["share", "logit", "norm", "proximity", "effect", "linear"]


@dataclass(frozen=True)
class Node:
    """One node. Fields that a kind has no use for are None.

    Attributes:
        id: stable public name, such as ``L23.H4``.
        kind: residual, head, query, key, value, neuron, …
        layer, head, source, neuron: where it sits; `source` is the position that a memory was left
            at.
        expert: the number of the expert that a neuron belongs to, in a mixture of experts.
        position: the position whose computation it is part of.
        label: the token it projects to, as a person reads it.
        top, bottom: the tokens it writes most and least: dicts of id, text, score (what the lens
            orders them by, in `unit`) and probability (None where none was made); and word, the
            whole word of which the token is the first piece, where the prompt makes that sure.
        unit: what the scores are: "logit", "sd" or "nats" (docs/lenses.md).
        target_probability, target_rank: of the target in this node's own projection; None where
            none was made.
        norm: length of its vector.
        logit: what it adds to the target's logit (target − foil with a foil).
        effect: by how much that logit would fall without it, to first order, everything later
            reacting; None where no effects were asked for.
        activation: of a neuron, or of a W_O row's input.
        weight: attention weight of a memory.
        score: a memory's score before the softmax.
        rest: of a rest node, {"of": kind, "count": how many parts it sums}.
        influence: in a routes graph, how much of the prediction comes by it along the kept ways.
    """

    id: str
    kind: str
    position: int
    layer: int | None = None
    head: int | None = None
    source: int | None = None
    neuron: int | None = None
    expert: int | None = None
    label: str | None = None
    top: list[dict[str, Any]] = field(default_factory=list)
    bottom: list[dict[str, Any]] = field(default_factory=list)
    unit: str | None = None
    target_probability: float | None = None
    target_rank: int | None = None
    norm: float | None = None
    logit: float | None = None
    effect: float | None = None
    activation: float | None = None
    weight: float | None = None
    score: float | None = None
    rest: dict[str, Any] | None = None
    influence: float | None = None


@dataclass(frozen=True)
class Edge:
    """One ribbon.

    Attributes:
        source, target: node ids.
        kind: residual, write, part, split, through, read, score, weight or activation.
        share: ⟨part, whole⟩ / ⟨whole, whole⟩, signed; the shares into a node sum to 1.
        logit: what it adds to the target's logit; the logits into a node sum to the node's.
        norm: the part's length.
        proximity: max(‖w‖₁ − ‖w − p‖₁, 0), normalised over the parts drawn (Ferrando & Voita 2024).
        effect: by how much that logit would fall without the part, to first order, everything later
            reacting; the effects into a node sum to the node's. None where none were asked for.
        value: score, attention weight or activation, on the edges that carry one.
        influence: in a routes graph, how much of the prediction it carries.
    """

    source: str
    target: str
    kind: str
    share: float | None = None
    logit: float | None = None
    norm: float | None = None
    proximity: float | None = None
    effect: float | None = None
    value: float | None = None
    influence: float | None = None
