"""Whether queries, the keys that they find, and the values behind these say the same."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ..lens.samples import in_stream
from ..model import VisitError
from ..trace import Trace
from .reading import K, Tops, has_places, in_own_place, overlap
from .results import Row

COMPARED = ("query_key", "key_value", "query_key_naive", "key_value_naive")


def query_key_overlap(
    trace: Trace, k: int = K, n_sources: int = 1, position: int = -1
) -> list[Row]:
    """How much a query has in common with the keys that it finds, and these with their values.

    Through the QK circuit, in the stream that the projections read:

        query  d = ∂ score(i, j) / ∂ x_j        what it asks for at source j      (W_K q_i)
        key    d = ∂ score(i, j) / ∂ x_i        what the key answers to           (W_Q k_j)
        value  v_j W_O                          what it writes
        I_k(query, key), I_k(key, value)

    with the gain of the norm before the projections folded into both directions. They come from
    derivatives of the model's own projection: rotary positions, biases, q/k norms, grouped heads
    and the layout of the weights are the model's. `naive` reads q, k and v directly, each at its
    head's place among the flattened heads, where these are as wide as the stream.

    Source: Katz & Belinkov (2023), arXiv 2305.13417, whose code transposes the circuit for models
    with `Conv1D` weights; the QK circuit is that of Elhage et al. (2021), "A Mathematical Framework
    for Transformer Circuits".

    Args:
        trace: of a prompt.
        k: how many tokens are compared.
        n_sources: of each head so many sources, by attention; the one that it looks at least is
            added as the control.
        position: whose queries.

    Returns:
        A row for each layer, head and source: `layer`, `head`, `source`, `rank` (1 for the one
        most looked at, 0 for the control), `attention`, `query_key`, `key_value`, and
        `query_key_naive`, `key_value_naive`; None where it cannot be told.
    """
    at, tops = trace.position(position), Tops(trace, k)
    attending = filter(trace.attends, range(trace.n_layers))
    layers = [_layer(trace, layer, at, n_sources, tops) for layer in attending]
    return [row for layer in layers for row in layer.rows(tops)]


@dataclass(frozen=True)
class _Layer:
    """What is compared in one layer.

    Attributes:
        layer: its number.
        chosen: (head, source, rank, attention) of each row.
        places: {how it is read: where the queries, keys and values are}.
    """

    layer: int
    chosen: list[tuple[int, int, int, float]]
    places: dict[str, list[slice] | None]

    def rows(self, tops: Tops) -> Iterator[Row]:
        shared: dict[str, list[float]] = {}
        for suffix, places in self.places.items():
            if places is not None:
                query, key, value = (tops.at(place) for place in places)
                shared[f"query_key{suffix}"] = overlap(query, key).tolist()
                shared[f"key_value{suffix}"] = overlap(key, value).tolist()
        for n, (head, source, rank, weight) in enumerate(self.chosen):
            row: Row = {
                "layer": self.layer, "head": head, "source": source, "rank": rank,
                "attention": weight,
            }  # fmt: skip
            for name in COMPARED:
                row[name] = shared[name][n] if name in shared else None
            yield row


def _layer(trace: Trace, layer: int, at: int, n_sources: int, tops: Tops) -> _Layer:
    found = trace.attention_row(layer, at)
    # What is out of a window is not looked at, and is no control either.
    seen = torch.isfinite(found.scores)
    chosen: list[tuple[int, int, int, float]] = []
    for head, weights in enumerate(found.weights):
        sources = seen[head].nonzero()[:, 0]
        order = sources[weights[sources].argsort(descending=True, stable=True)].tolist()
        ranked = [(source, n + 1) for n, source in enumerate(order[:n_sources])]
        if len(order) > n_sources:
            ranked.append((order[-1], 0))
        chosen += [(head, source, rank, float(weights[source])) for source, rank in ranked]
    places = torch.tensor([[h, s] for h, s, _, _ in chosen], device=found.weights.device).T
    values = found.values[places[0], places[1]]
    mixed = torch.einsum("nv,nvd->nd", values, found.matrix[places[0]])
    circuit = _through_circuit(trace, layer, at, places)
    read = {
        "": None if circuit is None else [*circuit, found.outlet.to_stream(mixed)],
        "_naive": _naive(trace, layer, at, places, values),
    }
    shelves = {"": None, "_naive": places[0].tolist()}
    put = {
        name: None if vectors is None else [tops.put(x, shelves[name]) for x in vectors]
        for name, vectors in read.items()
    }
    return _Layer(layer, chosen, put)


def _through_circuit(
    trace: Trace, layer: int, at: int, places: Tensor
) -> tuple[Tensor, Tensor] | None:
    """(n, d_model) what queries ask for and what keys answer to, in the stream; None where they
    are not made of it.
    """
    sources = sorted(set(places[1].tolist()))
    column = torch.tensor([sources.index(s) for s in places[1].tolist()], device=places.device)
    into = in_stream(trace, layer, "attention")
    try:
        asked = into(trace.query_directions(layer, at, sources=sources))
        answered = into(trace.key_directions(layer, at, sources=sources))
    except VisitError:
        return None
    return asked[places[0], column], answered[places[0], column]


def _naive(
    trace: Trace, layer: int, at: int, places: Tensor, values: Tensor
) -> list[Tensor] | None:
    """(n, d_model) queries, keys and values, each at its head's place; None where there is none."""
    kept, heads = trace.attention_record(layer), places[0]
    n_heads = kept.query.shape[0]
    query = trace.work(kept.query)[heads, at]
    key = trace.work(kept.key)[heads // (n_heads // kept.key.shape[0]), places[1]]
    three = query, key, values
    if not all(has_places(trace, n_heads, v.shape[-1]) for v in three):
        return None
    return [in_own_place(trace, v, heads.tolist(), n_heads) for v in three]
