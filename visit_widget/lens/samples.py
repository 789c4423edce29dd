"""A sample of a model's own vectors on some texts, kind by kind and layer by layer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel

from ..model import Anatomy, UnsupportedModelError, VisitError
from ..trace import Trace
from ..trace.record import Half
from ..trace.stream import added
from ..trace.tracing import trace
from .sites import Site

# Of a passage so many positions give their streams, and one of them its parts: so many of a kind.
N_STREAMS = 3
N_OF_A_KIND = 4

Samples = dict[Site, list[Tensor]]


def samples(
    model: PreTrainedModel,
    anatomy: Anatomy,
    passages: Sequence[Tensor],
    tell: Callable[[int], None],
) -> Samples:
    """Vectors of every kind in every layer, (d_model,) on the CPU, by site.

    Args:
        model: that makes them.
        anatomy: where it keeps its parts.
        passages: (T,) token ids of each text.
        tell: called with how many passages are done.
    """
    taken: Samples = {}
    for n, ids in enumerate(passages):
        one = trace(model, None, ids, anatomy=anatomy)
        # Spread over the passage, without its first tokens.
        at = [p for p in _spread(len(one), N_STREAMS) if p > 0] or [len(one) - 1]
        for layer in range(one.n_layers):
            for site, vector in _of_layer(one, layer, at):
                taken.setdefault(site, []).append(vector.float().cpu())
        tell(n + 1)
    return taken


def _spread(n_tokens: int, count: int) -> list[int]:
    step = n_tokens / (count + 1)
    return sorted({min(n_tokens - 1, round(step * (k + 1))) for k in range(count)})


def _of_layer(one: Trace, layer: int, at: list[int]) -> Iterator[tuple[Site, Tensor]]:
    part = one.anatomy.blocks[layer]
    middle = part.mlp is not None and not part.parallel
    for position in at:
        yield Site(layer, "pre"), one.residual(layer, "pre")[position]
        if middle:
            yield Site(layer, "mid"), one.mid(layer, position)
        if layer + 1 < one.n_layers:
            # The last stream is the model's own prediction, and stays so.
            yield Site(layer, "post"), one.residual(layer)[position]
        mixed = one.mixer_output(layer, position)
        if part.mixer is not None:
            yield Site(layer, "mixer"), mixed
        if part.attention is not None:
            yield Site(layer, "attention"), _added(one, layer, position, "attention")
        if part.mlp is not None:
            yield Site(layer, "mlp"), _added(one, layer, position, "mlp")
    if part.attention is not None:
        yield from _of_attention(one, layer, at[-1])
    if part.mlp is not None:
        yield from _of_mlp(one, layer, at[-1])


def _added(one: Trace, layer: int, position: int, half: Half) -> Tensor:
    """What a sublayer adds to the stream: the difference of two streams where that is all."""
    part = one.anatomy.blocks[layer]
    join = part.attention_join if half == "attention" else part.mlp_join
    if not join.carries_as_is or part.mixer is not None or part.mlp is None or part.parallel:
        return added(one, layer, position, half)
    mid = one.mid(layer, position)
    if half == "attention":
        return mid - one.residual(layer, "pre")[position]
    return one.residual(layer)[position] - mid


def _of_attention(one: Trace, layer: int, position: int) -> Iterator[tuple[Site, Tensor]]:
    row = one.attention_row(layer, position)
    heads = _largest(row.heads.norm(dim=-1))
    for head in heads:
        yield Site(layer, "head"), row.heads[head]
        parts = row.sources(head)
        sources = _largest(row.weights[head], 2)
        for source in sources:
            yield Site(layer, "value"), parts[source]
    rows = row.rows(heads[0])
    for number in _largest(rows.norm(dim=-1)):
        yield Site(layer, "row"), rows[number]
    norm = in_stream(one, layer, "attention")
    strongest = int(row.scores[heads[0]].argmax())
    try:
        looks = [(head, strongest) for head in heads]
        both = one.look_directions(layer, position, looks, looks)
        asked, answered = (norm(directions) for directions in both)
    except VisitError:
        return
    for n in range(len(heads)):
        yield Site(layer, "query"), asked[n]
        yield Site(layer, "key"), answered[n]


def _of_mlp(one: Trace, layer: int, position: int) -> Iterator[tuple[Site, Tensor]]:
    row = one.mlp_row(layer, position)
    neurons = _largest(row.neurons.lengths())
    for vector in row.neurons[neurons]:
        yield Site(layer, "neuron"), vector
    keys = in_stream(one, layer, "mlp")(
        one.neuron_directions(layer, [row.number(n) for n in neurons], position)
    )
    for n in range(len(neurons)):
        yield Site(layer, "neuron_key"), keys[n]


def in_stream(one: Trace, layer: int, half: str) -> Callable[[Tensor], Tensor]:
    """What makes directions in a sublayer's normed input directions in the stream, so that a lens
    can read them: the norm's gain is folded in, where it can be told.
    """
    part = one.anatomy.blocks[layer]
    try:
        norm = one.norm(part.attention_norm if half == "attention" else part.mlp_norm)
    except UnsupportedModelError:
        norm = None
    if norm is None:
        return lambda directions: directions
    kept = norm
    return lambda directions: kept.pull_back(directions, directions.new_ones(()))


def _largest(sizes: Tensor, count: int = N_OF_A_KIND) -> list[int]:
    found: list[int] = torch.topk(sizes, min(count, len(sizes))).indices.tolist()
    return found
