"""What a query asks for and what a key answers to, as directions in the normed stream (the q/k
lens).

The score of query i for source j is affine in the source's normed input x_j once the query is held:

    score(i, j) = ⟨d, x_j⟩ + c        d = ∂ score(i, j) / ∂ x_j

and likewise in x_i once the key is held. The derivative is taken through the model's own
projection, so weight
layout, rotary positions, grouped heads and biases are the model's own; scales of norms on queries
and keys are frozen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .projection import Projection, gradients_of

if TYPE_CHECKING:
    from .trace import Trace


@torch.inference_mode(False)
def query_directions(
    trace: Trace, layer: int, position: int, heads: Sequence[int], sources: Sequence[int]
) -> tuple[Tensor, Callable[[], Tensor]]:
    """Directions (len(heads), len(sources), d_model), and what gives the constants (len(heads),
    len(sources)) to one who wants them.

    ⟨d[h, j], x_j⟩ + c[h, j] is the score that head h's query gives source j.
    """
    projection = Projection(trace, layer, sources)
    kept = trace.attention_record(layer)
    scale = scale_of(kept.scaling, kept.query)
    shared = kept.query.shape[0] // kept.key.shape[0]
    x, _, key = projection.start()
    query = kept.query[:, position].to(x.device) * scale
    with torch.enable_grad():
        values = torch.stack([(key[h // shared] @ query[h]).sum() for h in heads])
        directions = gradients_of(values, x)

    def constants() -> Tensor:
        with torch.no_grad():
            base = projection(torch.zeros_like(x))[1]
            return trace.work(torch.stack([base[h // shared] @ query[h] for h in heads]))

    return trace.work(directions), constants


@torch.inference_mode(False)
def key_directions(
    trace: Trace, layer: int, position: int, heads: Sequence[int], sources: Sequence[int]
) -> tuple[Tensor, Callable[[], Tensor]]:
    """Directions (len(heads), len(sources), d_model), and what gives the constants (len(heads),
    len(sources)) to one who wants them.

    ⟨d[h, j], x_i⟩ + c[h, j] is the score that head h gives source j, x_i the normed input at
    `position`.
    """
    # One copy of the row for each source, so that one derivative a head serves all sources.
    projection = Projection(trace, layer, [position] * len(sources))
    kept = trace.attention_record(layer)
    shared = kept.query.shape[0] // kept.key.shape[0]
    scale = scale_of(kept.scaling, kept.query)
    keys = kept.key[:, list(sources)].to(projection.input.device) * scale
    x, query, _ = projection.start()
    with torch.enable_grad():
        values = torch.stack([(query[h] * keys[h // shared]).sum() for h in heads])
        directions = gradients_of(values, x)

    def constants() -> Tensor:
        with torch.no_grad():
            base = projection(torch.zeros_like(x))[0]
            return trace.work(torch.stack([(base[h] * keys[h // shared]).sum(-1) for h in heads]))

    return trace.work(directions), constants


@torch.inference_mode(False)
def look_directions(
    trace: Trace, layer: int, position: int, heads: Sequence[int], sources: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """`query_directions` and `key_directions`, (len(heads), len(sources), d_model) each, by one run
    of the attention module where it can be run on some rows alone.
    """
    n = len(sources)
    projection = Projection(trace, layer, [*sources, *[position] * n])
    if projection.cut is None:
        both = query_directions, key_directions
        asked, answered = (d(trace, layer, position, heads, sources)[0] for d in both)
        return asked, answered
    kept = trace.attention_record(layer)
    shared = kept.query.shape[0] // kept.key.shape[0]
    scale = scale_of(kept.scaling, kept.query)
    x, query, key = projection.start()
    queries = kept.query[:, position].to(x.device) * scale
    keys = kept.key[:, list(sources)].to(x.device) * scale
    with torch.enable_grad():
        # Of other rows each: one derivative of their sum tells both.
        values = [
            (key[h // shared, :n] @ queries[h]).sum() + (query[h, n:] * keys[h // shared]).sum()
            for h in heads
        ]
        found = trace.work(gradients_of(torch.stack(values), x))
    return found[:, :n], found[:, n:]


def scale_of(scaling: float | None, query: Tensor) -> float:
    """The factor on the scores, as a layer's record has it: 1/√d_head where it says nothing."""
    return float(query.shape[-1]) ** -0.5 if scaling is None else float(scaling)
