"""Neurons that turn the model's confidence up or down without saying any token."""

from __future__ import annotations

import torch
from torch import Tensor

from ..model.exclusive import exclusive
from ..model.linear import linear_map
from ..model.precision import wide
from ..trace import Trace
from .results import Row

NULL_SHARE = 0.02


def confidence_neurons(
    trace: Trace, layer: int | None = None, null_share: float = NULL_SHARE, position: int = -1
) -> list[Row]:
    """How far each neuron of a layer writes where the unembedding does not read.

        logit_var = Var_t(⟨û_t, ŵ⟩)        null = ‖V_0ᵀ w‖² / ‖w‖²

    with w a neuron's value, u_t a token's direction in the unembedding, both of unit length under
    the hat, and V_0 the last right singular vectors of the unembedding.
    A long value with little variance among the logits and most of it in the null space changes the
    length of the last stream, and with it, through the final norm, how sharp the prediction is. The
    final norm's gain is folded into the unembedding, and what it centres away is taken out.

    Source: Stolfo et al. (2024), "Confidence Regulation Neurons in Language Models", arXiv
    2406.16254 (entropy neurons).

    Args:
        trace: of a prompt.
        layer: whose neurons; the last by default, where the final norm reads them next.
        null_share: share of the d_model directions, those that the unembedding reads least, that
            count as its null space.
        position: where the activation is read.

    Returns:
        A row for each neuron that can fire there: `layer`, `neuron`, `activation`, `norm` of its
        value, `logit_var`, `null` (of 1).
    """
    layer = trace.n_layers - 1 if layer is None else trace.layer(layer)
    row = trace.mlp_row(layer, position)
    values = row.outlet.to_stream(row.matrix)
    matrix = _reading(trace)
    squares = matrix.mT @ matrix  # (d_model, d_model)
    axes = torch.linalg.eigh(wide(squares)).eigenvectors
    count = max(1, round(null_share * trace.d_model))
    null = axes[:, :count].to(values)
    lengths = values.norm(dim=-1).clamp_min(1e-30)
    unit = values / lengths[:, None]
    columns = matrix / matrix.norm(dim=-1, keepdim=True).clamp_min(1e-30)
    spread = torch.cat([(columns @ chunk.mT).var(0) for chunk in unit.split(256)])
    inside = (unit @ null).square().sum(-1)
    return [
        {
            "layer": layer, "neuron": row.number(n), "activation": activation, "norm": length,
            "logit_var": variance, "null": share,
        }
        for n, (activation, length, variance, share) in enumerate(
            zip(
                row.activations.tolist(), lengths.tolist(), spread.tolist(), inside.tolist(),
                strict=True,
            )
        )
    ]  # fmt: skip


def _reading(trace: Trace) -> Tensor:
    """(n_vocab, d_model) the directions in the last stream that logits read, but for the scale."""
    with exclusive(trace.model):
        matrix, _ = linear_map(trace.anatomy.unembedding, trace.d_model, trace.dtype)
    rows: Tensor = trace.work(matrix).mT
    norm = trace.final_norm
    return rows if norm is None else norm.pull_back(rows, rows.new_ones(()))
