"""What a saved page or picture is made of: the traits, and the answers to what is asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..model import VisitError
from .session import Session
from .view_state import PLAIN

Progress = Callable[[int, int], None]
REDRAWS = (
    "branch", "step", "against", "focus", "target", "foil", "keep", "measure", "lens",
    "interventions",
)  # fmt: skip
SETTABLE = ("prompt", *REDRAWS, *PLAIN, "view", "runs")
# The traits of the widget that are saved.
SAVED = (*SETTABLE, "graph", "status", "lenses", "generation")
# Those of them that are saved of a generation alone.
OF_GENERATIONS = ("generation", "branch", "step")


def saved(
    session: Session,
    traits: dict[str, Any],
    expand: str | Sequence[int],
    progress: Progress | None,
    audit: bool,
    view_state: dict[str, Any],
) -> dict[str, Any]:
    """The data of a page (docs/protocol.md).

    Args:
        session: answers the requests.
        traits: those of the widget.
        expand: "visible" for the layers open now, "all", or a list of layers.
        progress: called with (layers done, layers in all).
        audit: whether to audit the graph for it.
        view_state: of the widget, with which it can be made again.

    Raises:
        VisitError: `expand` names no layers.
    """
    layers = _layers(session, traits["expanded"], expand)
    ids = [n["id"] for n in traits["graph"]["nodes"]]
    blocks = {}
    for done, layer in enumerate(layers):
        if progress is not None:
            progress(done, len(layers))
        block = session.expand(layer)
        blocks[str(layer)] = block
        ids += [n["id"] for n in block["nodes"]]
    if progress is not None:
        progress(len(layers), len(layers))
    # What the reader has chosen may be of a layer that is not open.
    chosen = [i for i in (*traits["selection"], *traits["pins"]) if i not in ids]
    project = session.project(ids)
    details, other = project["nodes"], project.get("against")
    if chosen:
        details.update(session.project(chosen, lenient=True)["nodes"])
    shown = [layer for layer in traits["expanded"] if str(layer) in blocks]
    return {
        "traits": {**traits, "expanded": shown if isinstance(expand, str) else layers},
        "expand": blocks,
        "project": details,
        "audit": session.audit() if audit and not session.edited else session.known_audit(),
        "attribution": None if session.edited else session.attribution(),
        "predictions": session.predictions(),
        "routes": _routes(session, wanted=traits["view"] == "routes"),
        "view_state": view_state,
        **({} if other is None else {"against": other}),
    }


def drawn(session: Session, traits: dict[str, Any], layers: Sequence[int] | None) -> dict[str, Any]:
    """The data of a picture: what of a page's is drawn.

    Args:
        session: answers the requests.
        traits: those of the widget.
        layers: layers to show open; None for those that are.

    Raises:
        VisitError: there are no such layers, or the routes are too many to read.
    """
    wanted = _layers(session, traits["expanded"], "visible" if layers is None else layers)
    routes = traits["view"] == "routes"
    return {
        "traits": {**traits, "expanded": wanted},
        "expand": {} if routes else {str(layer): session.expand(layer) for layer in wanted},
        "attribution": None if session.edited else session.attribution(),
        "predictions": session.predictions(),
        "routes": session.routes() if routes else None,
    }


def _layers(session: Session, expanded: list[int], expand: str | Sequence[int]) -> list[int]:
    if not isinstance(expand, str):
        return sorted({session.trace.layer(layer) for layer in expand})
    if expand not in ("visible", "all"):
        raise VisitError(
            f"expand={expand!r} is not known: use 'visible', 'all' or a list of layers."
        )
    return list(expanded) if expand == "visible" else list(range(session.trace.n_layers))


def _routes(session: Session, wanted: bool) -> dict[str, Any] | None:
    """The routes; none where they are too many to read, unless they are on screen."""
    try:
        return session.routes()
    except VisitError:
        if wanted:
            raise
        return None
