"""Queries and keys of a head in one space, where what is near attends."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ..model import VisitError
from ..trace import Trace
from ..trace.directions import scale_of
from .results import Row
from .trajectories import principal


def joint_embedding(
    trace: Trace, layer: int, head: int, n_dims: int = 2, first: int = 1
) -> list[Row]:
    """The queries and keys of one head, moved and scaled so that distance stands for attention,
    on the first principal components of both together.

        q' = c q        k' = (k − mean(k)) / c + c mean(q)

    Neither changes what the head attends to: scaling leaves every product as it was, moving the
    keys adds the same to all scores of a query. c is the one for which ⟨q, k − mean(k)⟩ and
    −‖q' − k'‖ are most correlated, over the pairs that the mask lets see each other.

    Source: Yeh et al. (2023), "AttentionViz: A Global View of Transformer Attention", arXiv
    2305.03210 (key translation and scaling). Components are linear here, where they offer t-SNE and
    UMAP as well. Queries and keys are those that are multiplied: after rotary embedding and q/k
    norms.

    Args:
        trace: of a prompt, better a long one.
        layer: from 0.
        head: of that layer.
        n_dims: components.
        first: from which position on tokens are embedded. The first token is often an attention
            sink, whose key is far from all others and would decide where the middle is.

    Returns:
        A row for each query and key: `kind` ("query", "key"), `position`, `token`, `x`, `y`, …,
        `scale` (c), `correlation` (of product and distance, with c), `explained` (share of the
        variance in these components).

    Raises:
        VisitError: fewer than three tokens are left.
    """
    count = len(trace) - first
    if first < 0 or count < 3:
        raise VisitError(
            f"There are {max(count, 0)} tokens from position {first} on, which make no picture: "
            "pass a longer prompt, or a smaller first=."
        )
    query, key = (t[first:] for t in queries_and_keys(trace, layer, head))
    seen = torch.isfinite(
        torch.stack(
            [trace.attention_row(layer, at).scores[head] for at in range(first, len(trace))]
        )
    )[:, first:]
    scale, correlation = best_scale(query, key, seen)
    both = torch.cat(together(query, key, scale))
    projected, explained = principal(both, n_dims)
    names = [*"xyz"[:n_dims], *(f"x{n}" for n in range(3, n_dims))]
    rows: list[Row] = []
    for n, numbers in enumerate(projected.tolist()):
        position = first + n % count
        rows.append(
            {
                "kind": "query" if n < count else "key", "position": position,
                "token": trace.tokens[position], **dict(zip(names, numbers, strict=True)),
                "scale": scale, "correlation": correlation, "explained": explained,
            }
        )  # fmt: skip
    return rows


def queries_and_keys(trace: Trace, layer: int, head: int) -> tuple[Tensor, Tensor]:
    """(T, d_head) queries and keys of a head; their products are its scores, scale included."""
    kept, head = trace.attention_record(layer), trace.head(layer, head)
    shared = kept.query.shape[0] // kept.key.shape[0]
    factor = math.sqrt(abs(scale_of(kept.scaling, kept.query)))
    query, key = trace.work(kept.query[head]), trace.work(kept.key[head // shared])
    return query.double() * factor, key.double() * factor


def best_scale(query: Tensor, key: Tensor, seen: Tensor) -> tuple[float, float]:
    """The factor c with which product and distance go against each other most, and their
    correlation then: found on a grid, and finer and finer around its best point.

    Args:
        query: (T, d).
        key: (T, d).
        seen: (T, T) which pairs count.
    """
    products = (query @ (key - key.mean(0)).T)[seen]

    def correlation(logged: float) -> float:
        return _correlation(products, torch.cdist(*together(query, key, math.exp(logged)))[seen])

    middle, width = 0.5 * math.log(float(key.norm() / query.norm().clamp_min(1e-30))), 3.0
    for _ in range(4):
        grid: Sequence[float] = [middle + width * (n - 12) / 12 for n in range(25)]
        middle = min(grid, key=correlation)
        width /= 6
    return math.exp(middle), correlation(middle)


def together(query: Tensor, key: Tensor, c: float) -> tuple[Tensor, Tensor]:
    """Q' and k' of the formula above: both clouds have their middle in the same place."""
    scaled = query * c
    return scaled, (key - key.mean(0)) / c + scaled.mean(0)


def _correlation(a: Tensor, b: Tensor) -> float:
    a, b = a - a.mean(), b - b.mean()
    size = a.norm() * b.norm()
    return float((a @ b) / size) if float(size) else 0.0
