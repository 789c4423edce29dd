"""One position's MLP as neurons, re-run for one layer and position.

    mlp_out = Σ_n a_n · W_out[n] + b_out

`a_n` is whatever enters the down projection, so gated MLPs (a_n = act(gate_n) · up_n) need nothing
special.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ..model import VisitError
from ..model.attention import MODEL_LOCK
from ..model.linear import linear_map
from .outlet import Outlet

if TYPE_CHECKING:
    from .trace import Trace


@dataclass(frozen=True)
class MlpRow:
    """What one layer's MLP does at one position.

    Attributes:
        input: (d_model,) the normed stream that it reads.
        activations: (d_mlp,) a_n.
        matrix: (d_mlp, d_model) W_out.
        outlet: the way from W_out to the stream.
        total: (d_model,) what the MLP adds to the stream.
    """

    input: Tensor
    activations: Tensor
    matrix: Tensor
    outlet: Outlet
    total: Tensor

    @property
    def bias(self) -> Tensor | None:
        """(d_model,) what is added whatever fires; None where there is nothing."""
        return self.outlet.bias

    def along(self, direction: Tensor) -> Tensor:
        """⟨part, direction⟩ of every neuron's part, without making the parts: (d_mlp,)."""
        return self.activations * (self.matrix @ self.outlet.from_stream(direction))

    def parts(self) -> Tensor:
        """(d_mlp, d_model) what each neuron adds to the stream."""
        return self.outlet.to_stream(self.activations[:, None] * self.matrix)


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
    activations, matrix = trace.work(activations), trace.work(matrix)
    written = activations @ matrix
    norm = trace.norm(part.mlp_post_norm, f"the MLP post-norm of layer {layer}")
    outlet = Outlet.at(norm, written, None if bias is None else trace.work(bias))
    total = outlet.to_stream(written)
    return MlpRow(
        input=trace.work(normed),
        activations=activations,
        matrix=matrix,
        outlet=outlet,
        total=total if outlet.bias is None else total + outlet.bias,
    )


@torch.inference_mode(False)
def neuron_directions(trace: Trace, layer: int, row: MlpRow, neurons: Tensor) -> Tensor:
    """What neurons look for: (len(neurons), d_model) directions d_n in the MLP's normed input.

    ⟨d_n, x⟩ (plus a constant) is what enters the activation function of neuron n: the input row of
    W_in, or of the gate where the MLP is gated. Where the activation function is no module of its
    own, it is the gradient of a_n.
    """
    part = trace.anatomy.blocks[layer]
    like = next(part.mlp.parameters())
    x = row.input.to(like).clone().requires_grad_()
    with torch.enable_grad(), MODEL_LOCK:
        before = _run_until(part.mlp, part.activation or part.down_projection, x[None, None])[0][
            0
        ].reshape(-1)
        chosen = before[neurons.clone()]
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
