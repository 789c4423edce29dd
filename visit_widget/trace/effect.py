"""How a followed logit hangs on the streams, to first order, with nothing frozen.

    effect(p) = ⟨∂m / ∂s, p⟩,     m = the target's logit (minus the foil's), s the stream of p

is by how much m would fall, per unit, if a little less of a part p of the stream s were there, and
everything later reacted: attention patterns, MLPs and norms. It is linear in p, so the parts of a
whole sum to it. The derivative is the same for every part: one backward pass gives all of them.

The usual name is attribution patching, or gradient × activation (Nanda 2023; Kramár et al. 2024,
arXiv 2403.00745).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..model import VisitError
from .gradients import Gradients, gradients
from .logit import LogitDirection, logit_slope
from .stream import Reading
from .tape import At, Place, Tape
from .target import Followed

if TYPE_CHECKING:
    from .trace import Trace

# Prompts of more tokens are taped frugally: below, memory is no matter.
FRUGAL_ABOVE = 256
# So many targets' derivatives stay with a trace: 3 × n_layers × d_model numbers each.
KEPT = 4


def effect_direction(
    trace: Trace,
    read: LogitDirection,
    target: Followed,
    foil: Followed | None,
    position: int,
    known: Gradients | None = None,
) -> LogitDirection:
    """As `logit_direction`, but that everything later reacts: derivatives in the place of frozen
    readings, at one position.

    Args:
        trace: the traced pass.
        read: how the target's logit (minus the foil's) reads the stream there, by itself.
        target: what is followed.
        foil: what it is compared against.
        position: from 0.
        known: the derivatives, one row, if they are at hand.

    Raises:
        VisitError: no derivative can be taken through this model.
    """
    key = position, target.key, None if foil is None else foil.key
    if key not in trace.hangs_on:
        slope = logit_slope(trace, target, foil, position)
        found = gradients(trace, slope[None], position) if known is None else known
        rows = zip(*(t[:, 0] for t in (found.pre, found.mid, found.post)), strict=True)
        trace.hangs_on[key] = slope, [Reading(*row) for row in rows]
    trace.hangs_on.move_to_end(key)
    while len(trace.hangs_on) > KEPT:
        trace.hangs_on.popitem(last=False)
    slope, layers = trace.hangs_on[key]
    return replace(read, direction=slope, layers=layers)


@dataclass(frozen=True)
class Everywhere:
    """∂m / ∂ stream at every position up to the focus.

    Attributes:
        streams: {(layer, "pre" | "mid" | "post"): (focus + 1, d_model)}; "pre" of the first layer
            alone, "mid" only where a layer has a stream between its sublayers.
    """

    streams: dict[Place, Tensor]

    def at(self, layer: int, at: At, positions: Sequence[int] | Tensor) -> Tensor:
        """(n, d_model) of one stream at some positions, none after the focus."""
        place: Place = (layer - 1, "post") if at == "pre" and layer else (layer, at)
        return self.streams[place if place in self.streams else (layer, "post")][positions]


def effects_everywhere(
    trace: Trace,
    target: Followed,
    foil: Followed | None,
    position: int,
    frugal: bool | None = None,
) -> Everywhere:
    """The derivatives of the target's logit (minus the foil's) at one position by the streams of
    every position before it, in one pass and back.

    Args:
        trace: the traced pass.
        target: what is followed.
        foil: what it is compared against.
        position: the focus, from 0.
        frugal: whether to run each block once more instead of keeping what happens in it; by
            default for long prompts.

    Raises:
        VisitError: no derivative can be taken through this model, or there is not enough memory.
    """
    trace.needs_model("A gradient")
    slope = logit_slope(trace, target, foil, position)
    frugal = position >= FRUGAL_ABOVE if frugal is None else frugal
    try:
        tape = Tape(trace.model, trace.anatomy, trace.input_ids[: position + 1], frugal)
        given = slope.new_zeros(1, position + 1, trace.d_model)
        given[0, -1] = slope
        places = [p for p in tape.streams if p == (0, "pre") or p[1] != "pre"]
        found = tape.pull(given, places)
    except torch.OutOfMemoryError as error:
        raise VisitError(
            f"There is not enough memory to take the effects of {position + 1} tokens: shorten the "
            'prompt, or rank by measure="logit".'
        ) from error
    return Everywhere({p: trace.work(g[0]) for p, g in zip(places, found, strict=True)})
