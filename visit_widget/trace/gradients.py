"""How what the model says at one position hangs on the streams there, to first order.

    J_L = ∂ (last stream) / ∂ (stream at layer L),     both at the focus

Rows of it are pulled back through the model's own modules by autograd, nothing frozen: attention
patterns, gates and norms all react. So a part's product with a row is what it adds, to first order,
to whatever that row reads.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..model.exclusive import exclusive
from .alone import Alone, NotAloneError
from .tape import At, Place, Tape, pulled
from .unbroken import unbroken

if TYPE_CHECKING:
    from .trace import Trace

# Directions that are pulled back together.
AT_ONCE = 64


@dataclass(frozen=True)
class Gradients:
    """How n numbers at the end of the stream hang on the streams before, at one position.

    Attributes:
        pre, mid, post: (n_layers, n, d_model); mid is post where a layer has no stream between its
            sublayers.
    """

    pre: Tensor
    mid: Tensor
    post: Tensor

    def at(self, layer: int, at: At) -> Tensor:
        """(n, d_model) of one stream."""
        found: Tensor = getattr(self, at)[layer]
        return found


def gradients(trace: Trace, directions: Tensor, position: int) -> Gradients:
    """Pull directions at the last stream back through everything that happens at one position.

    The position is run alone where that gives what the pass gave (`alone.py`), else the whole
    prompt up to it is run again.

    Args:
        trace: the traced pass.
        directions: (n, d_model) ∂ (some number) / ∂ (last stream).
        position: the focus, from 0.

    Raises:
        VisitError: no derivative can be taken through this model.
    """
    trace.needs_model("A gradient")
    pieces = directions.detach().split(AT_ONCE)
    with torch.inference_mode(False), exclusive(trace.model):
        try:
            if trace.edits is not None:
                raise NotAloneError("What is done to a pass is done to all of it.")
            alone = Alone(trace, position)
            with unbroken(trace.model):
                found = [_alone(alone, piece) for piece in pieces]
            trace.alone_at.add(position)
        except NotAloneError:
            tape = _taped(trace, position)
            found = [_in_full(trace, tape, piece, position) for piece in pieces]
    one, *more = found
    return Gradients(*(torch.cat(c, 1) for c in zip(*found, strict=True)) if more else one)


def _alone(alone: Alone, directions: Tensor) -> list[Tensor]:
    # One row, and all directions pulled back through it at once; where an operation cannot do
    # that, a row for each direction.
    try:
        return _through(alone, directions, 1)
    except RuntimeError:
        return _through(alone, directions, len(directions))


def _through(alone: Alone, directions: Tensor, n_rows: int) -> list[Tensor]:
    trace, streams = alone.trace, list[Tensor]()
    with torch.enable_grad():
        pre = alone.start().expand(n_rows, -1).detach().clone().requires_grad_()
        for layer in range(trace.n_layers):
            mid, post = alone.block(layer, pre, recorded=True)
            streams += [pre, mid, post]
            pre = post
        given = directions.to(post)[:, None] if n_rows == 1 else directions.to(post)[None]
        # Batched derivatives of one are slower than one, and fewer operations know them.
        found = pulled(post, streams, given, together=len(given) > 1)
    every = [trace.work(g[:, 0] if n_rows == 1 else g[0]) for g in found]
    return [torch.stack(every[k::3]) for k in range(3)]


def _taped(trace: Trace, position: int) -> Tape:
    """A pass of the prompt up to the position, of all of it where something is done to it."""
    if trace.edits is None:
        return Tape(trace.model, trace.anatomy, trace.input_ids[: position + 1])
    layers = trace.record.layers
    return Tape(trace.model, trace.anatomy, trace.input_ids, False, trace.edits, layers)


def _in_full(trace: Trace, tape: Tape, directions: Tensor, position: int) -> list[Tensor]:
    """By a pass of the whole prompt, up to the position at least."""
    n_tokens = len(tape.streams[0, "pre"])
    given = directions.new_zeros(len(directions), n_tokens, trace.d_model)
    given[:, position] = directions
    places = list(tape.streams)
    rows = dict(zip(places, tape.pull(given, places), strict=True))

    def at(layer: int, name: At) -> Tensor:
        place: Place = (layer, name) if (layer, name) in rows else (layer, "post")
        return trace.work(rows[place][:, position])

    names: tuple[At, ...] = ("pre", "mid", "post")
    return [torch.stack([at(layer, n) for layer in range(trace.n_layers)]) for n in names]
