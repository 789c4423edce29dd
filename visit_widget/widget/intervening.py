"""Interventions of a widget: from the trait to a rerun, and what a graph says of the pass before.

`docs/protocol.md`, What if, has the shapes.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor

from ..model import VisitError
from ..trace import Trace
from ..trace import trace as trace_of
from ..what_if import Rerun
from ..what_if.actions import ActionLike, action_of
from ..what_if.parts import part_of
from ..what_if.rerun import positions_of

if TYPE_CHECKING:
    from ..flow import Painter
    from .against import Against

_OF_A_TOKEN = re.compile(r"^P\d|\.[VKA]\d+$")
_KEYS = ("id", "action", "positions", "label", "prompt")
# What a patch from the other prompt is called.
OTHER = "against"
# Other prompts whose passes are kept to take parts from.
_MOST_OTHERS = 4


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
        self._others: OrderedDict[str, Trace] = OrderedDict()

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
        prompt = item.get("prompt")
        if prompt is not None:
            self._check_patch(trace, item, prompt)
            return {"id": part.id, "action": "patch", "positions": positions, "prompt": prompt}
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

    def _check_patch(self, trace: Trace, item: Mapping[str, Any], prompt: Any) -> None:
        if item.get("action", "patch") != "patch" or not isinstance(prompt, str) or not prompt:
            raise VisitError(
                "An intervention with a 'prompt' takes the part from that prompt's pass: give "
                "{'id': …, 'action': 'patch', 'prompt': a text}."
            )
        self._other(prompt, trace)

    def _other(self, prompt: str, trace: Trace) -> Trace:
        """The pass of another prompt; the latest few are kept."""
        found = self._others.pop(prompt, None)
        if found is None or found.model is not trace.model:
            given = trace.anatomy if trace.anatomy_given else None
            found = trace_of(
                trace.model, trace.tokenizer, prompt, anatomy=given, keep_on=trace.keep_on
            )
        self._others[prompt] = found
        while len(self._others) > _MOST_OTHERS:
            self._others.popitem(last=False)
        return found

    def rerun(self, listed: Sequence[dict[str, Any]], trace: Trace, focus: int) -> Trace:
        """The pass with these interventions: itself, where there are none."""
        if not listed:
            return trace
        run = Rerun(trace)
        for item in listed:
            where = [focus] if item["positions"] == "focus" else item["positions"]
            action: ActionLike = self._given.get(item.get("label", ""), item["action"])
            if "prompt" in item:
                action = self._other(item["prompt"], trace)
            elif isinstance(action, str) and action == "patch":
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
        if (item["action"] != "patch" or "prompt" in item) and not _OF_A_TOKEN.search(item["id"])
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
