"""One position's MLP as neurons, re-run for one layer and position.

    mlp_out = Σ_n a_n · W_out[n] + b_out

`a_n` is whatever enters the down projection, so gated MLPs (a_n = act(gate_n) · up_n) need nothing
special.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ..model import VisitError
from ..model.attention import MODEL_LOCK
from ..model.linear import linear_map
from ..model.norms import Norm

if TYPE_CHECKING:
    from .trace import Trace


@dataclass(frozen=True)
class MlpRow:
    """What one layer's MLP does at one position.

    Attributes:
        input: (d_model,) the normed stream that it reads.
        activations: (d_mlp,) a_n.
        matrix: (d_mlp, d_model) W_out.
        raw_bias: (d_model,) b_out, or None.
        norm: the norm after the sublayer, if any.
    """

    input: Tensor
    activations: Tensor
    matrix: Tensor
    raw_bias: Tensor | None
    norm: Norm | None

    @cached_property
    def norm_scale(self) -> Tensor | None:
        """The post-norm's scale at what the MLP wrote here."""
        if self.norm is None:
            return None
        written = self.activations @ self.matrix
        return self.norm.scale(written if self.raw_bias is None else written + self.raw_bias)

    def to_stream(self, written: Tensor) -> Tensor:
        """What a summand of W_out's output becomes when added to the stream: (…, d_model) → (…,
        d_model).
        """
        if self.norm is None or self.norm_scale is None:
            return written
        return self.norm.linear(written, self.norm_scale)

    def along(self, direction: Tensor) -> Tensor:
        """⟨part, direction⟩ of every neuron's part without making the parts: (d_model,) →
        (d_mlp,).
        """
        if self.norm is not None and self.norm_scale is not None:
            direction = self.norm.pull_back(direction, self.norm_scale)
        return self.activations * (self.matrix @ direction)

    def parts(self, neurons: Tensor) -> Tensor:
        """(len(neurons), d_model) what these neurons add to the stream."""
        return self.to_stream(self.activations[neurons, None] * self.matrix[neurons])

    @cached_property
    def bias(self) -> Tensor | None:
        """(d_model,) what is added whatever fires; None where there is nothing."""
        bias = None if self.raw_bias is None else self.to_stream(self.raw_bias)
        if self.norm is not None and bool(self.norm.bias.any()):
            bias = self.norm.bias if bias is None else bias + self.norm.bias
        return bias

    @cached_property
    def total(self) -> Tensor:
        """(d_model,) what the MLP adds to the stream."""
        written = self.to_stream(self.activations @ self.matrix)
        return written if self.bias is None else written + self.bias


def mlp_row(trace: Trace, layer: int, position: int) -> MlpRow:
    """Re-run one layer's MLP on one position."""
    part = trace.anatomy.blocks[layer]
    stream = trace.record.layers[layer].mid[position].detach()
    with torch.no_grad(), MODEL_LOCK:
        normed = stream if part.mlp_norm is None else part.mlp_norm(stream[None, None])[0, 0]
        activations = _run_until(part.mlp, part.down_projection, normed[None, None])[0][0].reshape(
            -1
        )
    matrix, bias = linear_map(part.down_projection, activations.numel(), trace.dtype)
    return MlpRow(
        input=trace.work(normed),
        activations=trace.work(activations),
        matrix=trace.work(matrix),
        raw_bias=None if bias is None else trace.work(bias),
        norm=trace.norm(part.mlp_post_norm, f"the MLP post-norm of layer {layer}"),
    )


def neuron_directions(trace: Trace, layer: int, row: MlpRow, neurons: Tensor) -> Tensor:
    """What neurons look for: (len(neurons), d_model) directions d_n in the MLP's normed input.

    ⟨d_n, x⟩ (plus a constant) is what enters the activation function of neuron n: the input row of
    W_in, or of the
    gate where the MLP is gated. Where the activation function is no module of its own, it is the
    gradient of a_n.
    """
    part = trace.anatomy.blocks[layer]
    like = next(part.mlp.parameters())
    x = row.input.to(like).clone().requires_grad_()
    with torch.enable_grad(), MODEL_LOCK:
        before = _run_until(part.mlp, part.activation or part.down_projection, x[None, None])[0][
            0
        ].reshape(-1)
        chosen = before[neurons]
        grads = [torch.autograd.grad(value, x, retain_graph=True)[0] for value in chosen]
    return trace.work(torch.stack(grads)) if grads else row.input.new_zeros(0, row.input.numel())


class _ReachedError(Exception):
    pass


def _run_until(module: nn.Module, inner: nn.Module, x: Tensor) -> tuple[Tensor, ...]:
    """Run module(x) up to the call of `inner`, and give that call's arguments."""
    caught: list[tuple[Any, ...]] = []

    def stop(_: nn.Module, args: tuple[Any, ...]) -> None:
        caught.append(args)
        raise _ReachedError

    handle = inner.register_forward_pre_hook(stop)
    training = [m for m in module.modules() if m.training]
    try:
        module.eval()
        module(x)
    except _ReachedError:
        return caught[0]
    finally:
        handle.remove()
        for m in training:
            m.training = True
    raise VisitError(
        f"{type(module).__name__} did not call its {type(inner).__name__} when re-run on one "
        "position."
    )
