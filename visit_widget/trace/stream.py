"""The residual stream from block to block: what carries it on, and how a direction reads it.

    mid  = carry(pre) + attention (+ mixer)
    post = carry(mid) + MLP

where `carry` is the identity in most models, and a frozen norm or a factor in some.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from ..model.joins import Join
from .outlet import Outlet, Passage, like
from .record import Half

if TYPE_CHECKING:
    from .trace import Trace


@dataclass(frozen=True)
class Reading:
    """How a direction at the end of the stream reads it at one layer: ⟨pre, x⟩ is what a summand x
    of the stream before the block adds in the end, and so on.

    Attributes:
        pre, mid, post: (d_model,).
    """

    pre: Tensor
    mid: Tensor
    post: Tensor


def carry(trace: Trace, layer: int, position: int, half: Half) -> Passage:
    """What becomes of the stream on its way past a sublayer."""
    part = trace.anatomy.blocks[layer]
    join: Join = part.attention_join if half == "attention" else part.mlp_join
    if join.carries_as_is:
        return Passage()
    if half == "mlp":
        return trace.mlp_row(layer, position).outlet.carry
    if part.attention is not None:
        return trace.attention_row(layer, position).outlet.carry
    return _mixer_outlet(trace, layer, position).carry


def added(trace: Trace, layer: int, position: int, half: Half) -> Tensor:
    """What a sublayer adds to the stream: (d_model,).

    At the last position, and where it joins by a plain sum, as the pass itself gave it: the sum of
    the parts that are derived has to come out at that.
    """
    kept = trace.record.layers[layer].added.get(half)
    if kept is not None and position == len(trace) - 1:
        return trace.work(kept)
    found = trace.attention_output if half == "attention" else trace.mlp_output
    vector = found(layer, position)
    return vector if trace.edits is None else trace.edits.added(layer, half, position, vector)


def carry_rows(trace: Trace, layer: int, positions: list[int], attention: Outlet | None) -> Passage:
    """What becomes of the stream on its way past what stands in the attention's place, at several
    positions.

    Args:
        trace: the traced pass.
        layer: from 0.
        positions: from 0.
        attention: the way of the layer's attention to the stream there, if it has one.
    """
    if attention is not None:
        return attention.carry
    if trace.anatomy.blocks[layer].attention_join.carries_as_is:
        return Passage()
    return _mixer_outlet(trace, layer, positions).carry


def mixer_output(trace: Trace, layer: int, position: int | list[int]) -> Tensor | None:
    """What a mixer that is shown whole adds to the stream: (d_model,), or (n, d_model) at several
    positions; None where there is none.
    """
    part, mixed = trace.anatomy.blocks[layer], trace.record.layers[layer].mixed
    if mixed is None:
        return None
    written = trace.work(mixed[position])
    if part.attention is not None or part.mixer_late:
        return written * like(part.mixer_scale, written)
    outlet = _mixer_outlet(trace, layer, position)
    return outlet.total(written)


def _mixer_outlet(trace: Trace, layer: int, position: int | list[int]) -> Outlet:
    """The way to the stream of a mixer that stands in the attention's place."""
    part, kept = trace.anatomy.blocks[layer], trace.record.layers[layer]
    before = trace.work(kept.pre[position])
    written = before * 0 if kept.mixed is None else trace.work(kept.mixed[position])
    return Outlet.at(part.attention_join, trace.norm, before, written, None)


def readings(trace: Trace, direction: Tensor, position: int) -> list[Reading]:
    """How a direction that reads the last stream reads each layer's, through all that carries it.

    Args:
        trace: the traced pass.
        direction: (d_model,) at the stream after the last block.
        position: of the stream, from 0.
    """
    found: list[Reading] = []
    for layer in reversed(range(trace.n_layers)):
        mid = carry(trace, layer, position, "mlp").pull_back(direction)
        pre = carry(trace, layer, position, "attention").pull_back(mid)
        found.append(Reading(pre, mid, direction))
        direction = pre
    return found[::-1]
