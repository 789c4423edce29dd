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


# A head, and the position of a source.
HeadSources = Sequence[tuple[int, int]]


@torch.inference_mode(False)
def look_directions(
    trace: Trace, layer: int, position: int, asks: HeadSources, answers: HeadSources
) -> tuple[Tensor, Tensor]:
    """What each query asks for at one source, as `query_directions` of these (head, source) has it,
    (len(asks), d_model), and what it finds in a key, as `key_directions` has it, (len(answers),
    d_model): by one run of the attention module and one derivative, where the module can be run on
    some rows alone.
    """
    n = len(asks)
    projection = Projection(trace, layer, [*(j for _, j in asks), *[position] * len(answers)])
    if projection.cut is None:
        return (
            _picked(query_directions, trace, layer, position, asks),
            _picked(key_directions, trace, layer, position, answers),
        )
    kept = trace.attention_record(layer)
    shared = kept.query.shape[0] // kept.key.shape[0]
    scale = scale_of(kept.scaling, kept.query)
    x, query, key = projection.start()
    rows = torch.arange(len(x), device="cpu")
    heads, sources = torch.tensor([*asks, *answers], device="cpu").T
    queries = kept.query[heads[:n], position].to(x.device) * scale
    keys = kept.key[heads[n:] // shared, sources[n:]].to(x.device) * scale
    with torch.enable_grad():
        # Each row stands in one score alone, so that the derivative of their sum tells all.
        asked = (key[heads[:n] // shared, rows[:n]] * queries).sum()
        answered = (query[heads[n:], rows[n:]] * keys).sum()
        (found,) = trace.work(gradients_of((asked + answered)[None], x))
    return found[:n], found[n:]


def _picked(
    derive: Callable[..., tuple[Tensor, object]],
    trace: Trace,
    layer: int,
    position: int,
    looks: HeadSources,
) -> Tensor:
    """(len(looks), d_model) picked from the directions of all these heads at all these sources."""
    if not looks:
        return torch.zeros(0, trace.d_model, dtype=trace.dtype, device=trace.device)
    heads, sources = (sorted(set(each)) for each in zip(*looks, strict=True))
    found, _ = derive(trace, layer, position, heads, sources)
    return torch.stack([found[heads.index(h), sources.index(j)] for h, j in looks])


def scale_of(scaling: float | None, query: Tensor) -> float:
    """The factor on the scores, as a layer's record has it: 1/√d_head where it says nothing."""
    return float(query.shape[-1]) ** -0.5 if scaling is None else float(scaling)
