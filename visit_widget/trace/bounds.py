"""How far rounding alone may take what a model gives from what is derived exactly.

Each number that the model stores is off by at most u of its size, u half the machine epsilon of the
dtype it computes in, independently of others. A sum of terms that were each off by some multiple of
u is then off by the root of the sum of squares; sums of n terms that are accumulated in float32 and
stored in float32 grow with √n, those stored in half precision do not. So, with sizes as norms:

    attention    u √(‖out‖² + Σ ‖W_O rows‖² + Σ ((2 + 2 |score|) ‖source parts‖)²)
    MLP          u √(‖out‖² + Σ (2 ‖neurons‖)²)
    stream       u √(Σ (2 ‖what is added‖)²)        3 where it is scaled, 4 where it is normed
    rows         u ‖α (2 + 2 |score|)‖
    directions   8 u ‖√Σ (q k)²‖                    16 where queries and keys are normed
    logits       4 u ‖logits‖

times a confidence of 1.5. With every number off by u and no sum of errors ever cancelling but by
chance, these are √3 standard deviations of evenly spread rounding, and a norm of many numbers stays
near its mean. Over all families, dtypes and seeds tried no error came above half of this.
Where what is derived rounds as coarsely as the model, both do, and it is twice that.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..model.joins import Join
from .rounding import Where, has_mid, rounds
from .stream import added, carry, mixer_output

if TYPE_CHECKING:
    from .trace import Trace

CONFIDENCE = 1.5
# What torch may round factors of float32 products to, by its setting.
_PRODUCTS = {"high": 2.0**-10, "medium": 2.0**-7}


def unit(trace: Trace) -> float:
    """u, times the confidence: half the machine epsilon of the coarsest dtype that the model
    computes in; not below that of float32, in which transformers computes norms and softmax
    whatever the model's dtype, nor below what products are set to round to.
    """
    eps = max(torch.finfo(trace.coarsest_dtype).eps, torch.finfo(torch.float32).eps)
    if trace.coarsest_dtype != torch.float64:
        eps = max(eps, products_round(trace.device))
    return CONFIDENCE * eps / (1 if not rounds(trace) else 2)


def products_round(device: torch.device) -> float:
    """The relative rounding of factors of float32 products that torch is set to allow."""
    found = _PRODUCTS.get(torch.get_float32_matmul_precision(), 0.0)
    tf32 = device.type == "cuda" and torch.backends.cuda.matmul.allow_tf32
    return max(found, _PRODUCTS["high"] if tf32 else 0.0)


def summed(trace: Trace, n_terms: int) -> float:
    """How much the rounding of a sum grows with its terms."""
    return float(n_terms) ** 0.5 if trace.coarsest_dtype == torch.float32 else 1.0


def of_attention(trace: Trace, layer: int, position: int) -> float:
    """On what attention adds to the stream."""
    row = trace.attention_row(layer, position)
    n_heads, n_values = row.mixed.shape
    scores = torch.where(row.weights > 0, row.scores.abs(), 0.0)
    squares = row.heads.sum(0).square().sum()
    for head in range(n_heads):
        squares = squares + row.rows(head).square().sum()
        lengths = row.sources(head).norm(dim=-1)
        squares = squares + ((2 + 2 * scores[head]) * lengths).square().sum()
    return unit(trace) * summed(trace, n_heads * n_values) * float(squares.sqrt())


def of_mlp(trace: Trace, layer: int, position: int) -> float:
    """On what the MLP adds to the stream."""
    row = trace.mlp_row(layer, position)
    squares = row.total.square().sum() + 4 * row.neurons.lengths().square().sum()
    return unit(trace) * summed(trace, len(row.activations)) * float(squares.sqrt())


def of_stream(trace: Trace, layer: int, at: Where, position: int, derived: bool = False) -> float:
    """On the stream at mid or post, or on what a sublayer adds, as `rounding.parts_at` sums it."""
    if at == "attn":
        return of_attention(trace, layer, position)
    if at == "mlp":
        return of_mlp(trace, layer, position)
    part = trace.anatomy.blocks[layer]
    second = at == "post" and has_mid(trace, layer)
    terms: list[Tensor] = []
    inner: float = 0.0
    if second:
        terms.append(carry(trace, layer, position, "mlp").forward(trace.mid(layer, position)))
    else:
        before = trace.residual(layer, "pre")[position]
        terms.append(carry(trace, layer, position, "attention").forward(before))
    if part.attention is not None and not second:
        terms.append(added(trace, layer, position, "attention"))
        if derived or not _as_given(trace, layer, position, "attention"):
            inner += of_attention(trace, layer, position) ** 2
    if part.mlp is not None and at == "post":
        terms.append(added(trace, layer, position, "mlp"))
        if derived or not _as_given(trace, layer, position, "mlp"):
            inner += of_mlp(trace, layer, position) ** 2
    mixed = mixer_output(trace, layer, position)
    if mixed is not None:
        terms.append(mixed)
    join = part.mlp_join if second else part.attention_join
    roundings = 4 if _has_norm(join) else 2 if join.is_plain else 3
    sizes = roundings**2 * sum(float(t.square().sum()) for t in terms)
    if join.stream_norm is not None:
        whole = (
            trace.residual(layer, "post")[position] if at == "post" else trace.mid(layer, position)
        )
        sizes += roundings**2 * float(whole.square().sum())
    return math.sqrt(unit(trace) ** 2 * sizes + inner)


def of_rows(trace: Trace, layer: int, position: int) -> float:
    """On attention weights."""
    row = trace.attention_row(layer, position)
    scores = torch.where(row.weights > 0, row.scores.abs(), 0.0)
    grows = summed(trace, row.mixed.shape[1])
    return unit(trace) * grows * float((row.weights * (2 + 2 * scores)).norm())


def of_directions(trace: Trace, layer: int, position: int) -> float:
    """On the scores of a query."""
    kept = trace.attention_record(layer)
    query, key = trace.work(kept.query[:, position]), trace.work(kept.key[:, : position + 1])
    key = key.repeat_interleave(query.shape[0] // key.shape[0], 0)
    products = (query[:, None] * key).norm(dim=-1)
    scaling = query.shape[-1] ** -0.5 if kept.scaling is None else kept.scaling
    roundings = 16 if trace.anatomy.blocks[layer].inner_norms else 8
    bound = roundings * unit(trace) * summed(trace, trace.d_model) * abs(scaling)
    return float(bound * products.norm())


def of_sums(trace: Trace, n_terms: int) -> float:
    """On sums of ours alone, relative to their size."""
    eps = max(torch.finfo(trace.dtype).eps, torch.finfo(torch.float32).eps)
    return float(2 * CONFIDENCE * max(eps, products_round(trace.device)) * n_terms**0.5)


def of_logits(trace: Trace) -> float:
    """On logits, relative to their size."""
    return 4 * unit(trace) * summed(trace, trace.d_model)


def _has_norm(join: Join) -> bool:
    norms = (join.post_norm, join.carry_norm, join.stream_norm)
    return any(norm is not None for norm in norms)


def _as_given(trace: Trace, layer: int, position: int, half: str) -> bool:
    """Whether what a sublayer adds there is what the pass itself gave."""
    return half in trace.record.layers[layer].added and position == len(trace) - 1
