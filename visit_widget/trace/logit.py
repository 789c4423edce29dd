"""Direct logit attribution: a logit as an exact sum over what wrote to the stream.

    logit[t] = U[t] · N_f(final) + b[t]

With N_f frozen at the observed scale, every summand of `final` has an exact share of the logit.
Elhage et al. (2021),
"A Mathematical Framework for Transformer Circuits", is where the field has the reading from.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from ..model import VisitError
from ..model.linear import linear_row
from ..model.precision import wide
from .rounding import OWN_ROUNDINGS, Where, rounding, rounds, said
from .stream import Reading, added, mixer_output, readings
from .target import Followed, TargetLike, followed

if TYPE_CHECKING:
    from .trace import Trace

By = Literal["component", "head", "neuron"]


@dataclass(frozen=True)
class LogitDirection:
    """How a logit (or the difference of two) reads the stream at one position.

    Attributes:
        direction: (d_model,) at the last stream; ⟨direction, part⟩ is what a part of it adds to
            the logit.
        norm_bias: what the final norm's bias adds.
        head_bias: what the unembedding's bias adds.
        layers: how it reads the stream of each layer, through all that carries the stream on.
        entropy: of a log-sum-exp of several logits, what the tangent at the observed ones leaves
            of its value: −Σ p log p of their softmax among themselves.
        rounding: what rounding after the last stream added, in half precision.
    """

    direction: Tensor
    norm_bias: float
    head_bias: float
    layers: list[Reading]
    entropy: float = 0.0
    rounding: float = 0.0

    @property
    def constants(self) -> dict[str, float]:
        """What adds to the logit whatever the stream holds, by node id; what is 0 is left out."""
        every = {
            "norm.bias": self.norm_bias,
            "logits.bias": self.head_bias,
            "logits.entropy": self.entropy,
            "logits.rounding": self.rounding,
        }
        return {name: value for name, value in every.items() if value}

    @property
    def constant(self) -> float:
        """The sum of these."""
        return self.norm_bias + self.head_bias + self.entropy + self.rounding


def logit_direction(
    trace: Trace,
    target: TargetLike | Followed,
    foil: TargetLike | Followed | None,
    position: int,
) -> LogitDirection:
    """The direction of the target's logit, or of that minus the foil's, at one position."""
    final = trace.work(trace.record.final[position])
    row, bias, entropy = _difference(trace, target, foil, final)
    norm = trace.final_norm
    norm_bias = 0.0
    if norm is not None:
        norm_bias = float(row @ norm.bias)
        row = norm.pull_back(row, norm.scale(final))
    read = LogitDirection(row, norm_bias, bias, readings(trace, row, position), entropy)
    if not rounds(trace):
        return read
    off = _rounding_of(trace, followed(trace, target), position)
    if foil is not None:
        off -= _rounding_of(trace, followed(trace, foil), position)
    return replace(read, rounding=off)


def logit_slope(
    trace: Trace,
    target: TargetLike | Followed,
    foil: TargetLike | Followed | None,
    position: int,
) -> Tensor:
    """∂ (the target's logit, or that minus the foil's, before any softcapping) / ∂ (last stream):
    (d_model,). As `LogitDirection.direction`, but that the scale of the final norm reacts.
    """
    final = trace.work(trace.record.final[position])
    row, _, _ = _difference(trace, target, foil, final)
    norm = trace.final_norm
    if norm is None:
        return row
    with torch.inference_mode(False), torch.enable_grad():
        x = final.clone().requires_grad_()
        (slope,) = torch.autograd.grad(norm(x), x, row.clone())
    return slope


def _difference(
    trace: Trace, target: TargetLike | Followed, foil: TargetLike | Followed | None, final: Tensor
) -> tuple[Tensor, float, float]:
    """How a target minus a foil reads the normed stream, with the model's factors on the logits: a
    row, a bias, and `LogitDirection.entropy`.
    """
    row, bias, entropy = _row(trace, followed(trace, target), final)
    if foil is not None:
        other, other_bias, other_entropy = _row(trace, followed(trace, foil), final)
        row, bias, entropy = row - other, bias - other_bias, entropy - other_entropy
    scale = trace.anatomy.logit_scale
    return row * (trace.anatomy.head_scale * scale), bias * scale, entropy


def _rounding_of(trace: Trace, target: Followed, position: int) -> float:
    """What rounding after the last stream added to a target's value."""
    if target.vector is not None:
        return 0.0
    own = said(trace, position)
    off = _value_in(target, own) - _derived_value(trace, target, position)
    nil = OWN_ROUNDINGS * torch.finfo(trace.dtype).eps * float(own.abs().max())
    return off if abs(off) > nil else 0.0


def _value_in(target: Followed, logits: Tensor) -> float:
    """A target's value in the model's logits (n_vocab,)."""
    chosen = wide(logits[list(target.ids)])
    if target.kind == "logsumexp":
        return float(chosen.logsumexp(-1))
    return float(chosen @ chosen.new_tensor(target.weights))


def logit_value(trace: Trace, target: TargetLike | Followed, position: int) -> float:
    """The target's logit (before any softcapping) at one position, without its parts."""
    target = followed(trace, target)
    if rounds(trace) and target.vector is None:
        return _value_in(target, said(trace, position))
    return _derived_value(trace, target, position)


def values_of(trace: Trace, target: Followed, streams: Tensor) -> Tensor:
    """The target's logits (before any softcapping), (n,), that last streams (n, d_model) give."""
    if target.kind == "logsumexp":
        return torch.stack([_value_of(trace, target, final) for final in streams])
    anatomy, final = trace.anatomy, trace.work(streams)
    row, bias, _ = _row(trace, target, final[0])
    values: Tensor = (wide(_normed(trace, final)) @ wide(row)) * anatomy.head_scale + bias
    return values * anatomy.logit_scale


def _derived_value(trace: Trace, target: Followed, position: int) -> float:
    """The same, of the last stream by exact arithmetic."""
    return float(_value_of(trace, target, trace.work(trace.record.final[position])))


def _value_of(trace: Trace, target: Followed, final: Tensor) -> Tensor:
    anatomy = trace.anatomy
    row, bias, entropy = _row(trace, target, final)
    value: Tensor = wide(row) @ wide(_normed(trace, final)) * anatomy.head_scale + bias
    return value * anatomy.logit_scale + entropy


def logit_parts(
    trace: Trace,
    target: TargetLike | Followed,
    foil: TargetLike | Followed | None,
    position: int,
    by: By,
) -> dict[str, float]:
    """Every part's share of the logit, by node id; the values sum to the logit (before any
    softcapping).
    """
    if by not in ("component", "head", "neuron"):
        raise VisitError(
            f"by={by!r} is not a way to split a logit: use 'component', 'head' or 'neuron'."
        )
    read = logit_direction(trace, target, foil, position)
    parts = {"embed": float(trace.residual(0, "pre")[position] @ read.layers[0].pre)}
    for layer, at in enumerate(read.layers):
        prefix = f"L{layer}"
        if trace.attends(layer):
            parts.update(_of_attention(trace, layer, position, at.mid, by, prefix))
        mixed = mixer_output(trace, layer, position)
        if mixed is not None:
            late = trace.anatomy.blocks[layer].mixer_late
            parts[f"{prefix}.mix"] = float(mixed @ (at.post if late else at.mid))
        if trace.anatomy.blocks[layer].mlp is not None:
            parts.update(_of_mlp(trace, layer, position, at.post, by, prefix))
        parts.update(_of_rounding(trace, layer, "mid", position, at.mid))
        parts.update(_of_rounding(trace, layer, "post", position, at.post))
    return {**parts, **read.constants}


def _of_attention(
    trace: Trace, layer: int, position: int, direction: Tensor, by: By, prefix: str
) -> dict[str, float]:
    if by != "head":
        written = added(trace, layer, position, "attention")
        return {f"{prefix}.attn": float(written @ direction)}
    row = trace.attention_row(layer, position)
    heads = row.along(direction).sum(-1).tolist()
    parts = {f"{prefix}.H{head}": value for head, value in enumerate(heads)}
    if row.bias is not None:
        parts[f"{prefix}.attn.bias"] = float(row.bias @ direction)
    return {**parts, **_of_rounding(trace, layer, "attn", position, direction)}


def _of_mlp(
    trace: Trace, layer: int, position: int, direction: Tensor, by: By, prefix: str
) -> dict[str, float]:
    if by != "neuron":
        return {f"{prefix}.mlp": float(added(trace, layer, position, "mlp") @ direction)}
    row = trace.mlp_row(layer, position)
    values = row.along(direction).tolist()
    parts = {f"{prefix}.N{row.number(n)}": value for n, value in enumerate(values)}
    if row.bias is not None:
        parts[f"{prefix}.mlp.bias"] = float(row.bias @ direction)
    return {**parts, **_of_rounding(trace, layer, "mlp", position, direction)}


def _of_rounding(
    trace: Trace, layer: int, at: Where, position: int, direction: Tensor
) -> dict[str, float]:
    vector = rounding(trace, layer, at, position)
    return {} if vector is None else {f"L{layer}.{at}.rounding": float(vector @ direction)}


def _row(trace: Trace, target: Followed, final: Tensor) -> tuple[Tensor, float, float]:
    """How a target reads the normed stream: a row and a bias before the model's factors on the
    logits, and what is left of its value (`LogitDirection.entropy`).
    """
    if target.vector is not None:
        return trace.work(target.vector.to(trace.dtype)), 0.0, 0.0
    if target.kind == "token":
        return (*_unembedding_row(trace, target.ids[0]), 0.0)
    found = [_unembedding_row(trace, token) for token in target.ids]
    rows = torch.stack([row for row, _ in found])
    biases = wide(rows.new_tensor([bias for _, bias in found]))
    weights, entropy = wide(rows.new_tensor(target.weights)), 0.0
    if target.kind == "logsumexp":
        anatomy = trace.anatomy
        logits = wide(rows) @ wide(_normed(trace, final)) * anatomy.head_scale + biases
        logged = (logits * anatomy.logit_scale).log_softmax(-1)
        weights = logged.exp()
        entropy = -float((weights * logged).sum())
    return trace.work(weights @ wide(rows)), float(weights @ biases), entropy


def _normed(trace: Trace, final: Tensor) -> Tensor:
    norm = trace.final_norm
    return final if norm is None else norm.forward_frozen(final, norm.scale(final))


def _unembedding_row(trace: Trace, token: int) -> tuple[Tensor, float]:
    head = trace.anatomy.unembedding
    row, bias = linear_row(head, trace.d_model, token, trace.dtype)
    return trace.work(row), bias
