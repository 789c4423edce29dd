"""What a saved page or picture is made of: the traits, and the answers to what is asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..model import VisitError
from .session import Session

Progress = Callable[[int, int], None]
REDRAWS = ("focus", "target", "foil", "keep", "measure")
SETTABLE = ("prompt", *REDRAWS, "expanded", "selection", "view")
# The traits of the widget that are saved.
SAVED = (*SETTABLE, "graph", "status")


def saved(
    session: Session,
    traits: dict[str, Any],
    expand: str | Sequence[int],
    progress: Progress | None,
    audit: bool,
) -> dict[str, Any]:
    """The data of a page (docs/protocol.md).

    Args:
        session: answers the requests.
        traits: those of the widget.
        expand: "visible" for the layers open now, "all", or a list of layers.
        progress: called with (layers done, layers in all).
        audit: whether to audit the graph for it.

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
    shown = [layer for layer in traits["expanded"] if str(layer) in blocks]
    return {
        "traits": {**traits, "expanded": shown if isinstance(expand, str) else layers},
        "expand": blocks,
        "project": session.project(ids)["nodes"],
        "audit": session.audit() if audit else session.known_audit(),
        "attribution": session.attribution(),
        "predictions": session.predictions(),
        "routes": _routes(session, wanted=traits["view"] == "routes"),
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
        "attribution": session.attribution(),
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
