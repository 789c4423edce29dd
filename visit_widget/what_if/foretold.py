"""What the gradient says that the prediction loses by a part, to first order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..model import VisitError
from ..trace import Trace
from ..trace.effect import Everywhere, effect_direction, effects_everywhere
from ..trace.logit import logit_direction
from ..trace.target import Followed
from .actions import Action, drawn, put_of
from .parts import Part


def foretold(
    trace: Trace,
    parts: Sequence[Part],
    action: Action,
    positions: Sequence[int],
    told: Sequence[Followed],
    at: int,
) -> list[float | None]:
    """The predicted effects; none where no derivative can be taken."""
    target, foil = told[0], told[1] if len(told) > 1 else None
    try:
        if {p.position for p in parts} <= {None, at} and list(positions) == [at]:
            read = logit_direction(trace, target, foil, at)
            layers = effect_direction(trace, read, target, foil, at).layers
            slopes = _AtFocus(layers)
        else:
            slopes = effects_everywhere(trace, target, foil, at)  # type: ignore[assignment]
    except VisitError:
        return [None] * len(parts)
    return [_first_order(trace, part, action, positions, slopes) for part in parts]


class _AtFocus:
    """As `Everywhere`, at one position."""

    def __init__(self, layers: Sequence[Any]) -> None:
        self.layers = layers

    def at(self, layer: int, at: Any, positions: Sequence[int]) -> Tensor:
        """(1, d_model) of one stream."""
        row: Tensor = getattr(self.layers[layer], at)
        return row.expand(len(positions), -1)


def _first_order(
    trace: Trace,
    part: Part,
    action: Action,
    positions: Sequence[int],
    slopes: Everywhere | _AtFocus,
) -> float | None:
    if part.kind in ("query", "key", "weight") or (part.kind == "value" and not part.heads):
        return None
    where = [part.position] if part.position is not None else list(positions)
    half = part.where if part.kind == "stream" else "mid" if part.half == "attention" else "post"
    if part.kind == "sublayer" and part.where == "mixer":
        half = "post" if trace.anatomy.blocks[part.layer].mixer_late else "mid"
    slope = slopes.at(part.layer, half, where)  # type: ignore[arg-type]
    was = torch.stack([drawn(trace, part, p) for p in where])
    lost = was * (1 - action.factor)
    if action.kind == "replace":
        assert action.vector is not None
        if action.vector.numel() != trace.d_model:
            return None
        lost = was - action.vector
    elif action.kind in ("mean", "patch"):
        new = _drawn_after(trace, part, action, where)
        if new is None:
            return None
        lost = was - new
    return float((lost * slope.to(lost)).sum())


def _drawn_after(trace: Trace, part: Part, action: Action, where: Sequence[int]) -> Tensor | None:
    """What a part adds to the stream after it was exchanged: (n, d_model)."""
    if action.kind == "mean":
        return torch.stack([drawn(trace, part, p) for p in range(len(trace))]).mean(0)
    assert action.source is not None
    if put_of(trace, part, action, where) is None:
        return None
    there, places = action.there(trace, part, where)
    return torch.stack([drawn(action.source, there, p) for p in places])
