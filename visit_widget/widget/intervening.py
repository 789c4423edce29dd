"""Interventions of a widget: from the trait to a rerun, and what a graph says of the pass before.

`docs/protocol.md`, What if, has the shapes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor

from ..model import VisitError
from ..trace import Trace
from ..what_if import Rerun
from ..what_if.actions import ActionLike, action_of
from ..what_if.parts import part_of
from ..what_if.rerun import positions_of

if TYPE_CHECKING:
    from ..flow import Painter
    from .against import Against

_OF_A_TOKEN = re.compile(r"^P\d|\.[VKA]\d+$")
_KEYS = ("id", "action", "positions", "label")
# What a patch from the other prompt is called.
OTHER = "against"
_MEASURED = ("head", "value", "neuron", "row", "attention", "mlp")


class Interventions:
    """What is done to the parts of a widget's pass.

    What only Python can say, a vector or a trace, is kept here by the name that the browser knows
    it by. A patch without a name is from the other prompt, where there is one.

    Args:
        against: the other prompt.
    """

    def __init__(self, against: Against) -> None:
        self._given: dict[str, Tensor | Trace] = {}
        self._against = against

    def listed(self, value: Any, trace: Trace) -> list[dict[str, Any]]:
        """The trait's value as it is kept, checked against a trace.

        Args:
            value: a list of {"id", "action", "positions"}, or {id: action}, as `Trace.rerun` takes.
            trace: the pass that they are done to.

        Raises:
            VisitError: it means nothing here; the message says what does.
        """
        if isinstance(value, Mapping):
            value = [{"id": name, "action": action} for name, action in value.items()]
        if not isinstance(value, (list, tuple)):
            raise VisitError(
                "Interventions are a list such as [{'id': 'L3.H4', 'action': 'zero'}], or a dict "
                f"{{'L3.H4': 'zero'}}, not {str(value)[:40]!r}."
            )
        return [self._one(item, trace) for item in value]

    def _one(self, item: Any, trace: Trace) -> dict[str, Any]:
        known = isinstance(item, Mapping) and set(item) <= set(_KEYS)
        if not known or not isinstance(item.get("id"), str):
            raise VisitError(
                "An intervention is {'id': …, 'action': …} and perhaps 'positions': an id such as "
                f"'L3.H4', not {str(item)[:60]!r}."
            )
        part, positions = part_of(trace, item["id"]), item.get("positions", "focus")
        if positions not in ("focus", "all"):
            positions = positions_of(trace, positions)
        action, label = item.get("action", "zero"), item.get("label")
        if isinstance(action, (Tensor, Trace)):
            kind = action_of(trace, action).kind
            label = f"{kind} {len(self._given)}"
            self._given[label] = action
            action = kind
        elif action in ("replace", "patch"):
            if action == "patch" and label in (None, OTHER) and self._against.trace is not None:
                label = OTHER
            elif label not in self._given:
                raise VisitError(
                    f"What replaces {part.id} is not known any more: set it from Python again."
                )
        else:
            action_of(trace, action)
        found = {"id": part.id, "action": action, "positions": positions}
        return found if label is None else {**found, "label": str(label)}

    def rerun(self, listed: Sequence[dict[str, Any]], trace: Trace, focus: int) -> Trace:
        """The pass with these interventions: itself, where there are none."""
        if not listed:
            return trace
        run = Rerun(trace)
        for item in listed:
            where = [focus] if item["positions"] == "focus" else item["positions"]
            action: ActionLike = self._given.get(item.get("label", ""), item["action"])
            if action == "patch":
                pair = self._against.pair(trace)
                if pair is None:
                    raise VisitError(f"There is no other prompt to patch {item['id']} from.")
                action = pair.patch
            run.add(item["id"], action, where)
        return run.trace()


def of_any_prompt(listed: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The interventions that mean the same in another prompt: those that name no token of it."""
    kept = (item for item in listed if isinstance(item["positions"], str))
    return [
        item for item in kept
        if item["action"] != "patch" and not _OF_A_TOKEN.search(item["id"])
    ]  # fmt: skip


def of_no_other(listed: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The interventions that take nothing from the other prompt."""
    return [item for item in listed if item.get("label") != OTHER]


def before_of(painter: Painter, focus: int) -> dict[str, Any]:
    """What a graph says of the pass as it was: (docs/protocol.md).

    Args:
        painter: of the pass as it was.
        focus: from 0.
    """
    graph = painter.graph()
    streams = {
        node.id: {
            "label": node.label,
            "target_rank": node.target_rank,
            "target_probability": node.target_probability,
            "logit": node.logit,
        }
        for node in graph.nodes
        if node.kind in ("residual", "embed", "norm", "logits")
    }
    kept = ("logit", "probability", "rank")
    told = {
        name: None if token is None else {key: token.get(key) for key in kept}
        for name, token in (("target", graph.target), ("foil", graph.foil))
    }
    return {**told, "position": focus, "prediction": graph.prediction, "streams": streams}


def measured_in(painter: Painter, layer: int) -> dict[str, Any]:
    """The effects of what is drawn of a layer, foretold and measured (docs/protocol.md)."""
    trace, layer = painter.trace, painter.trace.layer(layer)
    nodes = [*painter.block(layer)[0], *painter.overview()[0]]
    ids = [n.id for n in nodes if n.layer == layer and n.kind in _MEASURED]
    found = trace.effects(
        ids, painter.target, painter.foil, positions=[painter.position], position=painter.position
    )
    told = {name: vars(effect) for name, effect in found.items()}
    of = min(10, len(told))
    return {"layer": layer, "nodes": told, "rho": found.rho, "found": found.found(of), "of": of}


def effects_map(painter: Painter, over: str) -> dict[str, Any]:
    """Effects of every head, or every sublayer, layer by layer (docs/protocol.md)."""
    if over not in ("heads", "sublayers"):
        raise VisitError(f"over={over!r} is no map of effects: use 'heads' or 'sublayers'.")
    trace = painter.trace
    found = trace.effects(
        over, painter.target, painter.foil, positions=[painter.position], position=painter.position
    )
    heads = over == "heads"
    names = [f"H{n}" for n in range(trace.n_heads)] if heads else ["attn", "mix", "mlp"]
    columns = [n for n in names if any(i.endswith(f".{n}") for i in found)]
    ids = [[f"L{layer}.{name}" for name in columns] for layer in range(trace.n_layers)]
    rows = {
        kind: [[getattr(found[i], kind) if i in found else None for i in row] for row in ids]
        for kind in ("predicted", "measured")
    }
    shown = [[i if i in found else None for i in row] for row in ids]
    layers = list(range(trace.n_layers))
    return {"over": over, "layers": layers, "columns": columns, "ids": shown, **rows}
