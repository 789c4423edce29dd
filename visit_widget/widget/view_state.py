"""Everything that decides the picture of a widget, as plain data, so that it can be made again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from ..flow import Keep
from ..flow.elements import MEASURES
from ..model import VisitError
from ..model.loaded import unwrapped
from ..trace.fingerprint import fingerprint
from ..trace.inputs import Prepared
from ..trace.target import Followed
from .picture import checks
from .prompt_state import FIELDS, REMAKE, is_whole, prompt_in, prompt_state, short
from .runs import check_runs
from .said_state import check_said, said_state
from .sentences import check_view
from .session import Session

VERSION = 1
# What the state has beside the traits of these names.
PLAIN = ("expanded", "selection", "pins", "filters", "display")
KINDS = ("token", "mean", "logsumexp")
_DTYPES = {str(d).removeprefix("torch."): d for d in (
    torch.float64, torch.float32, torch.float16, torch.bfloat16,
)}  # fmt: skip


@dataclass(frozen=True)
class Wanted:
    """A view state that has been found to be of use here.

    Attributes:
        prompt: the prompt, as the model takes it.
        against: the other prompt, or None.
        target, foil: what is followed; the foil may be None.
        focus, measure, view, lens: as the traits.
        interventions: likewise, not checked yet.
        keep: likewise.
        traits: the state's values of `PLAIN`, not checked yet: that takes the prompt's trace.
        generation: what is said of a generation, or None.
        runs: those of it.
    """

    prompt: Prepared
    focus: int
    target: Followed
    foil: Followed | None
    measure: str
    keep: Keep
    view: str
    lens: str | None
    interventions: Any
    traits: dict[str, Any]
    against: Prepared | None = None
    generation: dict[str, Any] | None = None
    runs: Sequence[Mapping[str, Any]] = ()


def state_of(session: Session, traits: Mapping[str, Any]) -> dict[str, Any]:
    """The state of a widget (docs/protocol.md).

    Args:
        session: its session.
        traits: its traits, of `PLAIN` and "focus", "measure", "keep", "view" at least.
    """
    trace, painter = session.trace, session.painter
    names = ("focus", "measure", "keep", "view", "lens", "interventions", "runs", *PLAIN)
    return {
        "version": VERSION,
        "model": {**session.facts, "fingerprint": fingerprint(unwrapped(trace.model))},
        **prompt_state(trace),
        "against": _against_of(session),
        "generation": said_state(session.said, session.said.place(trace)),
        "target": _written(painter.target),
        "foil": None if painter.foil is None else _written(painter.foil),
        **{name: _plain(traits[name]) for name in names},
    }


def read(state: Any, session: Session) -> Wanted:
    """What a view state asks for, checked as far as it can be without a pass of the model.

    Raises:
        VisitError: it is no view state, or one of another version or model.
    """
    if not isinstance(state, Mapping):
        raise VisitError(
            f"A view state is a dict, as widget.view_state gives it, not {short(state)}."
        )
    version = state.get("version")
    if version != VERSION:
        raise VisitError(
            f"This view state is of version {short(version)}, and this visit_widget reads version "
            f"{VERSION}: {REMAKE[0].lower()}{REMAKE[1:]}"
        )
    unknown = [key for key in state if key not in (*_NAMES, *_LATER)]
    if unknown:
        raise VisitError(f"A view state has no {unknown[0]!r}: leave it out. {REMAKE}")
    missing = [name for name in _NAMES if name not in state]
    if missing:
        raise VisitError(f"This view state lacks {missing[0]!r}. {REMAKE}")
    _check_model(state["model"], session)
    measure = state["measure"]
    if measure not in MEASURES:
        raise VisitError(f"measure={measure!r} is not known: use {', '.join(map(repr, MEASURES))}.")
    focus, expanded = state["focus"], state["expanded"]
    if not is_whole(focus):
        raise VisitError(f"The view state's 'focus' is a position, not {short(focus)}. {REMAKE}")
    if not isinstance(expanded, (list, tuple)) or not all(map(is_whole, expanded)):
        raise VisitError(
            f"The view state's 'expanded' is a list of layers, not {short(expanded)}. {REMAKE}"
        )
    target = _followed("target", state["target"])
    if target is None:
        raise VisitError(f"The view state's 'target' is None: nothing is followed. {REMAKE}")
    return Wanted(
        prompt=prompt_in(state),
        focus=focus,
        target=target,
        foil=_followed("foil", state["foil"]),
        measure=measure,
        keep=Keep.of(state["keep"]),
        view=check_view(state["view"]),
        lens=_lens(state.get("lens")),
        interventions=state.get("interventions", []),
        traits={name: state[name] for name in PLAIN},
        against=_against(state.get("against"), session),
        generation=check_said(state.get("generation")),
        runs=check_runs(state.get("runs", ())),
    )


def checked_traits(wanted: Wanted, session: Session) -> dict[str, Any]:
    """The traits of `PLAIN` as they are to be set, for the trace that the session has now.

    Raises:
        VisitError: one cannot be used, or what is followed is of another model.
    """
    trace = session.trace
    for target in filter(None, (wanted.target, wanted.foil)):
        for token in target.ids:
            trace.token(token)
        if target.vector is not None and target.vector.numel() != trace.d_model:
            raise VisitError(
                f"The direction that this view state follows has {target.vector.numel()} numbers, "
                f"not the {trace.d_model} of this model's stream. {REMAKE}"
            )
    check = checks(trace)
    found = {name: check[name](wanted.traits[name]) for name in check}
    layers = [trace.layer(layer) for layer in wanted.traits["expanded"]]
    return {**found, "expanded": layers, "runs": list(wanted.runs)}


_NAMES = (
    "version", "model", "prompt", "as_text", "input_ids", "special", "target", "foil", "focus",
    "measure", "keep", "view", *PLAIN,
)  # fmt: skip


# What states did not have from the beginning.
_LATER = ("lens", "interventions", "against", "generation", "runs")


def _against_of(session: Session) -> dict[str, Any] | None:
    """The other prompt; of another model, with its fingerprint."""
    other = session.against.trace
    if other is None:
        return None
    same = other.model is session.trace.model
    return {**prompt_state(other), "model": None if same else fingerprint(other.model)}


def _against(value: Any, session: Session) -> Prepared | None:
    if value is None:
        return None
    names = {*FIELDS, "model"}
    if not isinstance(value, Mapping) or set(value) != names:
        raise VisitError(f"The view state's 'against' is no prompt but {short(value)}. {REMAKE}")
    now = session.against.trace
    if value["model"] is not None and (now is None or fingerprint(now.model) != value["model"]):
        raise VisitError(
            "This view state compares with another model: set widget.against to a trace of that "
            "model first."
        )
    return prompt_in(value)


def _lens(name: Any) -> str | None:
    if name is not None and not isinstance(name, str):
        raise VisitError(f"The view state's 'lens' is a name, not {short(name)}. {REMAKE}")
    return name


def _check_model(known: Any, session: Session) -> None:
    if not isinstance(known, Mapping):
        raise VisitError(f"The view state's 'model' is no dict but {short(known)}. {REMAKE}")
    mine = fingerprint(unwrapped(session.model))
    then = known.get("fingerprint")
    if mine is not None and then is not None and mine != then:
        raise VisitError(
            f"This view state is of another model, {known.get('name')!r}, or of one with other "
            "weights or another dtype: load the model that it was taken of."
        )


def check_facts(known: Mapping[str, Any], session: Session) -> None:
    """Whether the traced model has the sizes that the state names, for models without a
    fingerprint.

    Raises:
        VisitError: it has not.
    """
    for name, value in session.facts.items():
        if name != "name" and known.get(name) != value:
            raise VisitError(
                f"This view state is of another model, {known.get('name')!r}, whose {name} is "
                f"{short(known.get(name))}, not {value!r}: load the model that it was taken of."
            )


def _written(target: Followed) -> dict[str, Any]:
    """A target in full, unlike the trait, which only names it."""
    if target.vector is not None:
        return {
            "kind": "direction",
            "name": target.name,
            "dtype": str(target.vector.dtype).removeprefix("torch."),
            "vector": target.vector.tolist(),
        }
    return {"kind": target.kind, "ids": list(target.ids), "weights": list(target.weights)}


def _followed(name: str, value: Any) -> Followed | None:
    if value is None:
        return None
    wrong = VisitError(f"The view state's {name!r} says nothing that can be followed. {REMAKE}")
    if not isinstance(value, Mapping):
        raise wrong
    try:
        if value["kind"] == "direction":
            vector = torch.tensor(value["vector"], dtype=_DTYPES[value["dtype"]], device="cpu")
            if vector.ndim != 1 or not bool(vector.isfinite().all()) or not bool(vector.any()):
                raise wrong
            return Followed("direction", vector=vector, name=str(value["name"]))
        ids, weights = tuple(value["ids"]), tuple(value["weights"])
        plain = all(map(is_whole, ids)) and all(isinstance(w, (int, float)) for w in weights)
        few = value["kind"] != "token" or len(ids) == 1
        if (
            value["kind"] not in KINDS
            or not ids
            or len(ids) != len(weights)
            or not plain
            or not few
        ):
            raise wrong
        return Followed(value["kind"], ids, tuple(float(w) for w in weights))
    except (KeyError, TypeError, ValueError, RuntimeError):
        raise wrong from None


def _plain(value: Any) -> Any:
    """A copy that changes with nothing, as JSON would give it back."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def alone(**given: tuple[Any, Any]) -> None:
    """Whether nothing was said beside a view state that it says itself.

    Args:
        given: {name of an argument: what was passed, and what it is by default}.

    Raises:
        VisitError: something was.
    """
    for name, (value, default) in given.items():
        if value is not default and not (isinstance(value, type(default)) and value == default):
            raise VisitError(
                f"The view state says what {name}= would: leave {name}= out, and change the widget "
                "once it is there."
            )
