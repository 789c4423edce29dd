"""A generation and its branches in a view state: as tokens, to be said again without being drawn.

`docs/protocol.md`, The view state, has the shapes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..model import VisitError
from ..trace.generation import Generation
from ..trace.inputs import Prepared
from ..trace.resumed import resumed
from .generated import Branch, Said
from .prompt_state import FIELDS, REMAKE, is_whole, prompt_in, prompt_state

if TYPE_CHECKING:
    from .session import Session

_PLAIN = (bool, int, float, str)


def said_state(said: Said, step: int | None) -> dict[str, Any] | None:
    """What a state says of a generation; None where there is none.

    Args:
        said: of the widget.
        step: which new token's pass is shown.
    """
    if not said.branches:
        return None
    return {
        **prompt_state(said.branches[0].generation.traces[0]),
        "branch": said.now,
        "step": step,
        "branches": [
            {
                "of": branch.of,
                "at": branch.at,
                "token_ids": list(branch.generation.token_ids),
                "put": [one.put for one in branch.generation._said],
                "interrupted": branch.generation.interrupted,
                "in_one_pass": branch.generation._said[0].passes is not None,
                "max_new_tokens": branch.generation._asked.max_new_tokens,
                "options": _plain(branch.generation.options),
            }
            for branch in said.branches
        ],
    }


def check_said(value: Any) -> dict[str, Any] | None:
    """What a state says of a generation, as far as it can be checked without the model.

    Raises:
        VisitError: it says nothing that can be shown.
    """
    if value is None:
        return None
    wrong = VisitError(f"The view state's 'generation' is none that can be shown. {REMAKE}")
    if not isinstance(value, Mapping) or set(value) != {*FIELDS, "branch", "step", "branches"}:
        raise wrong
    branches, now, step = value["branches"], value["branch"], value["step"]
    if not isinstance(branches, (list, tuple)) or not branches or not _is_place(now, branches):
        raise wrong
    for n, branch in enumerate(branches):
        ids = branch.get("token_ids") if isinstance(branch, Mapping) else None
        if not isinstance(ids, (list, tuple)) or not ids or not all(map(is_whole, ids)):
            raise wrong
        put, of, at = branch.get("put", ()), branch.get("of"), branch.get("at")
        if not isinstance(put, (list, tuple)) or len(put) > len(ids):
            raise wrong
        if n and not (is_whole(of) and 0 <= of < n and _is_place(at, ids)):
            raise wrong
    if step is not None and not _is_place(step, branches[now]["token_ids"]):
        raise wrong
    return dict(value)


def take_said(wanted: dict[str, Any], session: Session) -> Said:
    """The generation and the branches of a state; those that the session has are not run again.

    Args:
        wanted: as `check_said` gives it.
        session: whose model says them.

    Raises:
        VisitError: the model cannot say these.
    """
    begun = prompt_in(wanted)
    known = session.said
    made = Said()
    for n, branch in enumerate(wanted["branches"]):
        at = None if n == 0 else branch.get("at")
        made.branches.append(
            Branch(_same(known, begun, branch) or _again(begun, branch, session),
                   branch.get("of") if n else None, at)
        )  # fmt: skip
    made.now = wanted["branch"]
    return made


def _same(known: Said, begun: Prepared, branch: Mapping[str, Any]) -> Generation | None:
    for each in known.branches:
        said = each.generation
        alike = said.input_ids.tolist() == begun.ids.tolist()
        if alike and said.token_ids == list(branch["token_ids"]):
            return said
    return None


def _again(begun: Prepared, branch: Mapping[str, Any], session: Session) -> Generation:
    options = branch.get("options")
    return resumed(
        session.model, session.tokenizer, begun, branch["token_ids"], branch.get("put", ()),
        dict(options) if isinstance(options, Mapping) else None, branch.get("max_new_tokens"),
        bool(branch.get("interrupted")), bool(branch.get("in_one_pass", True)),
        session.anatomy, session.keep_on,
    )  # fmt: skip


def _plain(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that JSON can hold; others are of Python alone."""

    def holds(value: Any) -> bool:
        if isinstance(value, (list, tuple)):
            return all(map(holds, value))
        return value is None or isinstance(value, _PLAIN)

    return {name: value for name, value in options.items() if holds(value)}


def _is_place(value: Any, among: Any) -> bool:
    return is_whole(value) and 0 <= value < len(among)
