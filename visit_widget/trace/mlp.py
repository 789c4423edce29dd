"""One position's MLP as neurons, re-run for one layer and position.

    mlp_out = Σ_n a_n · W_out[n] + b_out

`a_n` is whatever enters the down projection, so gated MLPs (a_n = act(gate_n) · up_n) need nothing
special. In a mixture of experts it has the router's weight in it, and the neurons of the experts
that were not chosen are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ..model import BlockAnatomy, VisitError
from ..model.exclusive import exclusive
from ..model.linear import input_dtype, is_plain, linear_map
from ..model.loaded import eval_mode
from ..model.watch import first_tensor
from ..model.writers import writer_directions, writers_at
from .outlet import Outlet
from .summands import Summands

if TYPE_CHECKING:
    from .trace import Trace


@dataclass(frozen=True)
class MlpRow:
    """What one layer's MLP does at one position.

    Attributes:
        input: (d_model,) the normed stream that it reads.
        activations: (n,) a_n of the neurons that can fire here: all of them, or those of the
            experts that the router chose.
        matrix: (n, d_model) their rows of W_out.
        index: (n,) their numbers among the layer's neurons, ascending; None where these are all.
        experts: (n,) their expert's number, −1 for neurons of no expert; None without experts.
        outlet: the way from W_out to the stream.
        total: (d_model,) what the MLP adds to the stream.
    """

    input: Tensor
    activations: Tensor
    matrix: Tensor
    index: Tensor | None
    experts: Tensor | None
    outlet: Outlet
    total: Tensor

    @property
    def bias(self) -> Tensor | None:
        """(d_model,) what is added whatever fires; None where there is nothing."""
        return self.outlet.bias

    def number(self, row: int) -> int:
        """The number among the layer's neurons of a row of `activations`."""
        return row if self.index is None else int(self.index[row])

    @property
    def neurons(self) -> Summands:
        """What each neuron adds to the stream."""
        return Summands(self.activations, self.matrix, self.outlet)

    def along(self, direction: Tensor) -> Tensor:
        """⟨part, direction⟩ of every neuron's part: (n,)."""
        return self.neurons.along(direction)

    def parts(self) -> Tensor:
        """(n, d_model) what each neuron adds to the stream."""
        return self.neurons.every()


def mlp_row(trace: Trace, layer: int, position: int) -> MlpRow:
    """Re-run one layer's MLP on one position."""
    part = trace.anatomy.blocks[layer]
    mid = trace.record.layers[layer].mid
    assert part.mlp is not None
    assert mid is not None
    stream = trace.into(part.mlp_entry, mid[position])
    index = experts = None
    with torch.no_grad(), exclusive(trace.model):
        normed = stream if part.mlp_norm is None else part.mlp_norm(stream[None, None])[0, 0]
        normed = trace.into(part.mlp, normed)
        if part.down_projection is not None:
            inputs = _run_until(part.mlp, part.down_projection, normed[None, None])
            activations = trace.work(inputs[0].reshape(-1))
            if trace.edits is not None:
                edited = trace.edits.columns(part.down_projection, [position], activations[None])
                activations = edited[0]
            matrix, bias = linear_map(part.down_projection, activations.numel(), trace.dtype)
        else:
            assert part.writers is not None
            found = writers_at(part.mlp, part.writers, normed, trace.dtype)
            activations, matrix, bias = trace.work(found.activations), found.matrix, found.bias
            index, experts = found.index, found.expert
            if trace.edits is not None:
                activations = trace.edits.fired(part, position, index, experts, activations)
    matrix = trace.work(matrix)
    written = activations @ matrix
    bias = None if bias is None else trace.work(bias)
    outlet = Outlet.at(part.mlp_join, trace.norm, trace.work(stream), written, bias)
    total = outlet.to_stream(written)
    return MlpRow(
        input=trace.work(normed),
        activations=activations,
        matrix=matrix,
        index=index,
        experts=experts,
        outlet=outlet,
        total=total if outlet.bias is None else total + outlet.bias,
    )


def mlp_rows(trace: Trace, layer: int, positions: Sequence[int]) -> tuple[Outlet, Tensor]:
    """One layer's MLP at n positions, whole: the way from what it writes to the stream, and
    (n, d_model) what it adds there.
    """
    part = trace.anatomy.blocks[layer]
    mid = trace.record.layers[layer].mid
    assert part.mlp is not None
    assert mid is not None
    stream = trace.into(part.mlp_entry, mid[list(positions)])
    with torch.no_grad(), exclusive(trace.model), eval_mode(part.mlp):
        normed = stream[None] if part.mlp_norm is None else part.mlp_norm(stream[None])
        written = first_tensor(part.mlp(trace.into(part.mlp, normed)))
    assert written is not None
    written = trace.work(written).reshape(len(stream), -1)
    outlet = Outlet.at(part.mlp_join, trace.norm, trace.work(stream), written, None)
    return outlet, outlet.total(written)


@torch.inference_mode(False)
def neuron_directions(trace: Trace, layer: int, row: MlpRow, neurons: Tensor) -> Tensor:
    """What neurons look for: (len(neurons), d_model) directions d_n in the MLP's normed input.

    ⟨d_n, x⟩ (plus a constant) is what enters the activation function of neuron n: the input row of
    W_in, or of the gate where the MLP is gated. Where the activation function is no module of its
    own, it is the gradient of a_n.
    """
    part = trace.anatomy.blocks[layer]
    assert part.mlp is not None
    if part.down_projection is None:
        assert part.writers is not None
        with exclusive(trace.model):
            found = writer_directions(part.mlp, part.writers, row.input, neurons.tolist())
        return trace.work(found)
    own = input_dtype(part.mlp, trace.record.final.dtype)
    if not len(neurons):
        return row.input.new_zeros(0, row.input.numel())
    entering = trace.into(part.mlp, row.input).to(own)
    reader = _reader(trace, part, entering.clone())
    if reader is not None:
        matrix, _ = linear_map(reader, row.input.numel(), own)
        return trace.work(matrix.T[neurons.to(matrix.device)])
    # One copy of the input for each neuron, so that one derivative serves all.
    x = entering.repeat(len(neurons), 1).requires_grad_()
    until = part.activation or part.down_projection
    with torch.enable_grad(), exclusive(trace.model):
        before = _run_until(part.mlp, until, x[None])[0].reshape(len(neurons), -1)
        chosen = before.gather(1, neurons.to(before.device)[:, None].clone()).sum()
        return trace.work(torch.autograd.grad(chosen, x)[0])


def _reader(trace: Trace, part: BlockAnatomy, x: Tensor) -> nn.Module | None:
    """The plain matrix of which the activation function reads each number as it comes, so that its
    columns are what neurons look for; None where something lies between, or before it.

    Args:
        trace: of the model.
        part: the layer's, with a down projection.
        x: (d_model,) the MLP's input.
    """
    if part.activation is None:
        return None
    read: list[tuple[nn.Module, Tensor, int]] = []

    def note(module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
        if _same(args[0], x, 0):
            read.append((module, output, output._version))

    assert part.mlp is not None
    with ExitStack() as stack, torch.no_grad(), exclusive(trace.model):
        for module in part.mlp.modules():
            if is_plain(module):
                stack.callback(module.register_forward_hook(note).remove)
        entering = _run_until(part.mlp, part.activation, x[None, None])[0]
    return next((m for m, output, version in read if _same(entering, output, version)), None)


def _same(one: Tensor, other: Tensor, version: int) -> bool:
    """Whether two are the same numbers in memory, not written to since another was so old."""
    alike = one.data_ptr() == other.data_ptr() and one.numel() == other.numel()
    return alike and other._version == version


class _ReachedError(Exception):
    pass


def _run_until(module: nn.Module, inner: nn.Module, x: Tensor) -> tuple[Tensor, ...]:
    """Run module(x) up to the call of `inner`, and give that call's arguments."""
    caught: list[tuple[Any, ...]] = []

    def stop(_: nn.Module, args: tuple[Any, ...]) -> None:
        caught.append(args)
        raise _ReachedError

    handle = inner.register_forward_pre_hook(stop)
    try:
        with eval_mode(module):
            module(x)
    except _ReachedError:
        return caught[0]
    finally:
        handle.remove()
    raise VisitError(
        f"{type(module).__name__} did not call its {type(inner).__name__} when re-run on one "
        "position."
    )
