"""Direct logit attribution: a logit as an exact sum over what wrote to the stream.

    logit[t] = U[t] · N_f(final) + b[t]

With N_f frozen at the observed scale, every summand of `final` has an exact share of the logit.
Elhage et al. (2021),
"A Mathematical Framework for Transformer Circuits", is where the field has the reading from.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn

from ..model import VisitError
from ..model.linear import linear_map

if TYPE_CHECKING:
    from .trace import Trace

By = Literal["component", "head", "neuron"]


@dataclass(frozen=True)
class LogitDirection:
    """How a logit (or the difference of two) reads the stream at one position.

    Attributes:
        direction: (d_model,); ⟨direction, part⟩ is what a part of the stream adds to the logit.
        norm_bias: what the final norm's bias adds.
        head_bias: what the unembedding's bias adds.
    """

    direction: Tensor
    norm_bias: float
    head_bias: float


def logit_direction(trace: Trace, target: int, foil: int | None, position: int) -> LogitDirection:
    """The direction of logit[target], or of logit[target] − logit[foil], at one position."""
    row, bias = _unembedding_row(trace, target)
    if foil is not None:
        other, other_bias = _unembedding_row(trace, foil)
        row, bias = row - other, bias - other_bias
    norm = trace.final_norm
    if norm is None:
        return LogitDirection(row, 0.0, bias)
    final = trace.work(trace.record.final[position])
    return LogitDirection(norm.pull_back(row, norm.scale(final)), float(row @ norm.bias), bias)


def logit_parts(
    trace: Trace, target: int, foil: int | None, position: int, by: By
) -> dict[str, float]:
    """Every part's share of the logit, by node id; the values sum to the logit (before any
    softcapping).
    """
    if by not in ("component", "head", "neuron"):
        raise VisitError(
            f"by={by!r} is not a way to split a logit: use 'component', 'head' or 'neuron'."
        )
    read = logit_direction(trace, target, foil, position)
    parts = {"embed": float(trace.residual(0, "pre")[position] @ read.direction)}
    for layer in range(trace.n_layers):
        prefix = f"L{layer}"
        attention = trace.attention_row(layer, position)
        if by == "head":
            for head, value in enumerate(attention.along(read.direction).sum(-1).tolist()):
                parts[f"{prefix}.H{head}"] = value
            if attention.bias is not None:
                parts[f"{prefix}.attn.bias"] = float(attention.bias @ read.direction)
        else:
            parts[f"{prefix}.attn"] = float(
                trace.attention_output(layer, position) @ read.direction
            )
        mlp = trace.mlp_row(layer, position)
        if by == "neuron":
            for neuron, value in enumerate(mlp.along(read.direction).tolist()):
                parts[f"{prefix}.N{neuron}"] = value
            if mlp.bias is not None:
                parts[f"{prefix}.mlp.bias"] = float(mlp.bias @ read.direction)
        else:
            parts[f"{prefix}.mlp"] = float(mlp.total @ read.direction)
    if read.norm_bias:
        parts["norm.bias"] = read.norm_bias
    if read.head_bias:
        parts["logits.bias"] = read.head_bias
    return parts


def _unembedding_row(trace: Trace, token: int) -> tuple[Tensor, float]:
    head = trace.anatomy.unembedding
    if isinstance(head, nn.Linear) and type(head) is nn.Linear:
        bias = 0.0 if head.bias is None else float(head.bias[token].detach())
        return trace.work(head.weight[token]), bias
    with torch.no_grad():
        matrix, vector = linear_map(head, trace.d_model, trace.dtype)
    return trace.work(matrix[:, token]), 0.0 if vector is None else float(vector[token])
