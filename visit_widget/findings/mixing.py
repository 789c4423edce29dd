"""How much of a token's stream comes from other tokens, and how much is its own, preserved."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..trace import Trace
from ..trace.stream import carry
from .results import Row

if TYPE_CHECKING:
    from ..model.norms import Norm


def mixing_ratio(trace: Trace, positions: Sequence[int] | str = "all") -> list[Row]:
    """The norm-based mixing ratio of context and preserved input in each attention block.

        r_i = ‖Σ_{j≠i} f_ij‖ / (‖Σ_{j≠i} f_ij‖ + ‖x_i + f_ii‖)
        f_ij = Σ_h α[h, i, j] v[h, j] W_O[h]

    1 where all comes from other tokens, 0 where the token's own stream is all there is. Constants
    (the bias of W_O) belong to neither.

    The published form is for post-norm blocks, y_i = LN(x_i + Σ_j f_ij): the norm is split exactly,
    since with its scale at the observed vector it is linear but for its bias. That is what is done
    here where a model has such a norm on the stream. In pre-norm blocks no norm follows the sum:
    `ratio` is of the sum itself, and `ratio_normed` of what the next norm (the MLP's) makes of its
    two summands, split in the same way.

    Source: Kobayashi, Kuribayashi, Yokoi & Inui (2021), "Incorporating Residual and Normalization
    Layers into Analysis of Masked Language Models", arXiv 2109.07152.

    Args:
        trace: of a prompt.
        positions: which, or "all".

    Returns:
        A row for each layer with attention and position: `layer`, `position`, `context` and
        `preserved` (the two lengths), `ratio`, `ratio_normed` (None where no norm follows that can
        be told).
    """
    rows: list[Row] = []
    where = range(len(trace)) if isinstance(positions, str) else map(trace.position, positions)
    for at in where:
        for layer in filter(trace.attends, range(trace.n_layers)):
            parts = mixed_parts(trace, layer, at)
            context = parts.sum(0) - parts[at]
            part = trace.anatomy.blocks[layer]
            norm = None if part.parallel else trace.norm(part.mlp_norm)
            row: Row = {"layer": layer, "position": at}
            row |= {"context": float(context.norm()), "preserved": float(parts[at].norm())}
            row["ratio"] = ratio_of(context, parts[at])
            row["ratio_normed"] = None
            if norm is not None:
                split = through(norm, trace.mid(layer, at), torch.stack([context, parts[at]]))
                row["ratio_normed"] = ratio_of(split[0], split[1])
            rows.append(row)
    return rows


def mixed_parts(trace: Trace, layer: int, position: int) -> Tensor:
    """(T, d_model) what each source adds to the stream between attention and MLP; the token's own
    stream, as it is carried past attention, is added at its own place. Constants are left out.
    """
    at = trace.position(position)
    parts = trace.head_parts(layer, at).sum(0)
    past = carry(trace, layer, at, "attention").forward(trace.residual(layer, "pre")[at])
    parts[at] = parts[at] + past
    return parts


def through(norm: Norm, whole: Tensor, summands: Tensor) -> Tensor:
    """What summands of a stream become in a norm whose scale is that of the whole; shapes (…,
    d_model).
    """
    return norm.linear(summands, norm.scale(whole))


def ratio_of(context: Tensor, preserved: Tensor) -> float:
    """‖context‖ / (‖context‖ + ‖preserved‖); 0 where there is neither."""
    lengths = context.norm(), preserved.norm()
    total = float(lengths[0] + lengths[1])
    return float(lengths[0]) / total if total else 0.0
