"""What is done to a part: taken away, scaled, or exchanged for something else."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Union

import torch
from torch import Tensor

from ..model import VisitError
from ..trace import Trace
from ..trace.stream import added
from .parts import Part

# "zero", "mean", a factor, a vector, or the trace that the part is taken from.
ActionLike = Union[str, float, Tensor, Trace, "Action"]

_NAMED: dict[str, Literal["zero", "mean"]] = {"zero": "zero", "mean": "mean"}


@dataclass(frozen=True)
class Action:
    """What is done to a part.

    Attributes:
        kind: "zero", "mean" (of the part over this prompt's positions), "scale", "replace" (by a
            vector), or "patch" (by the same part of another trace).
        factor: what the part is multiplied with.
        vector: what replaces it: (d_model,), as the part is drawn.
        source: the trace that it is taken from.
        partners: {position: position there}; by default as many from the last token, for it is
            what the prompts have in common where one is longer.
    """

    kind: Literal["zero", "mean", "scale", "replace", "patch"]
    factor: float = 0.0
    vector: Tensor | None = None
    source: Trace | None = None
    partners: Mapping[int, int] | None = None

    def there(self, trace: Trace, part: Part, positions: Sequence[int]) -> tuple[Part, list[int]]:
        """The same part of the other trace, and the same places.

        Raises:
            VisitError: a place has no partner there.
        """
        moved, source = part, part.source
        if source is not None:
            moved = replace(part, source=self._partner(trace, source))
        return moved, [self._partner(trace, p) for p in positions]

    def _partner(self, trace: Trace, position: int) -> int:
        other = self.source
        assert other is not None
        if self.partners is not None:
            found = self.partners.get(position, -1)
            how = "by their tokens"
        else:
            found = position + len(other) - len(trace)
            how = "counted from the last one"
        if found < 0:
            raise VisitError(
                f"The trace to patch from has {len(other)} tokens, {how}, and position {position} "
                f"of the {len(trace)} of this prompt has no partner there: give prompts of the "
                "same length, positions that both have, or vw.compare(trace, other).patch, which "
                "knows the partners."
            )
        return found

    def __str__(self) -> str:
        return f"× {self.factor:g}" if self.kind == "scale" else self.kind


def action_of(trace: Trace, action: ActionLike) -> Action:
    """An action, however it was given.

    Raises:
        VisitError: it is none; the message says what is.
    """
    if isinstance(action, Action):
        return action
    if isinstance(action, str) and action in _NAMED:
        return Action(_NAMED[action])
    if isinstance(action, (int, float)) and math.isfinite(action):
        return Action("scale", float(action))
    if isinstance(action, Tensor):
        vector = trace.work(action.reshape(-1))
        if not bool(vector.isfinite().all()):
            raise VisitError("A vector that replaces a part has numbers that are not finite.")
        return Action("replace", vector=vector)
    if isinstance(action, Trace):
        if action.model is not trace.model and (
            (action.n_layers, action.d_model) != (trace.n_layers, trace.d_model)
        ):
            raise VisitError(
                "The trace to patch from is another model's: its parts are of another size."
            )
        return Action("patch", source=action)
    raise VisitError(
        f"{action!r} is nothing that can be done to a part: use 'zero', 'mean', a factor such as "
        "0.5, a vector, or a trace to take the same part from."
    )


def put_of(trace: Trace, part: Part, action: Action, positions: Sequence[int]) -> Tensor | None:
    """What takes a part's place, in its own unit: (1 or n, width); None where nothing does.

    Args:
        trace: the pass that is edited.
        part: which part.
        action: what is done to it.
        positions: n positions.

    Raises:
        VisitError: it has nothing to be exchanged for.
    """
    if action.kind in ("zero", "scale", "replace"):
        return None
    if part.kind == "weight":
        raise VisitError(
            f"{part.id} is one attention weight: it can be taken away or scaled, and the others "
            "share what is freed."
        )
    if action.kind == "mean":
        if part.kind in ("part", "key", "value") and part.source is None:
            raise VisitError(f"{part.id} names every source: give one, such as {part.id}0.")
        return raw(trace, part, range(len(trace))).mean(0, keepdim=True)
    assert action.source is not None
    return raw(action.source, *action.there(trace, part, positions))


def raw(trace: Trace, part: Part, positions: Sequence[int]) -> Tensor:
    """What a part is where it is edited: (n, width).

    That is the stream; what a sublayer adds to it; columns of what W_O or W_out read; a query, a
    key or a value.
    """
    layer, every = part.layer, list(positions)
    if part.kind == "stream":
        assert part.where in ("pre", "mid", "post")
        return trace.residual(layer, part.where)[every]
    if part.kind in ("sublayer", "bias", "expert"):
        return torch.stack([drawn(trace, part, p) for p in every])
    if part.kind == "neuron":
        if trace.anatomy.blocks[layer].down_projection is None:
            return torch.stack([drawn(trace, part, p) for p in every])
        return torch.stack([trace.neurons(layer, p)[part.number, None] for p in every])
    if part.kind in ("head", "row"):
        rows = [trace.attention_row(layer, p).mixed for p in every]
        if part.kind == "head":
            return torch.stack([row[part.heads[0]] for row in rows])
        return torch.stack([row.flatten()[part.number, None] for row in rows])
    kept = trace.attention_record(layer)
    if part.kind == "query":
        return trace.work(kept.query[part.heads[0]][every])
    if part.source is None:
        raise VisitError(f"{part.id} names every source: give one, such as {part.id}0.")
    if part.kind in ("key", "value"):
        tensor = kept.key if part.kind == "key" else kept.value
        return trace.work(tensor[part.number, part.source][None])
    found = [trace.attention_row(layer, p) for p in every]
    value = trace.work(kept.value[part.number, part.source])
    return torch.stack([(r.gain * r.weights)[part.heads[0], part.source] * value for r in found])


def drawn(trace: Trace, part: Part, position: int) -> Tensor:
    """What a part adds to the stream at a position, as a graph draws it: (d_model,).

    Raises:
        VisitError: it adds nothing by itself, as a query does not.
    """
    layer = part.layer
    if part.kind == "stream":
        assert part.where in ("pre", "mid", "post")
        return trace.residual(layer, part.where)[position]
    if part.kind == "sublayer":
        if part.where == "mixer":
            return trace.mixer_output(layer, position)
        return added(trace, layer, position, part.half)
    if part.kind == "bias":
        found = trace.attn_bias if part.half == "attention" else trace.mlp_bias
        return found(layer, position)
    if part.kind in ("neuron", "expert"):
        mlp = trace.mlp_row(layer, position)
        if part.kind == "expert":
            assert mlp.experts is not None
            mine = mlp.experts == part.number
        else:
            numbers = torch.arange(len(mlp.activations)) if mlp.index is None else mlp.index
            mine = numbers.to(mlp.activations.device) == part.number
        return mlp.outlet.to_stream(mlp.activations[mine] @ mlp.matrix[mine])
    row = trace.attention_row(layer, position)
    if part.kind == "head":
        return row.heads[part.heads[0]]
    if part.kind == "row":
        matrix = row.matrix.flatten(0, 1)[part.number]
        return row.outlet.to_stream(row.mixed.flatten()[part.number] * matrix)
    if part.kind == "part" or (part.kind == "value" and part.heads):
        sources = slice(None) if part.source is None else slice(part.source, part.source + 1)
        return torch.stack([row.sources(h)[sources].sum(0) for h in part.heads]).sum(0)
    raise VisitError(
        f"{part.id} adds nothing to the stream by itself: it changes where a head looks."
    )
