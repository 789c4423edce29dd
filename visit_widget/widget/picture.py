"""The traits that only the browser draws with: pins, filters, and how the shell is set up."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..model import VisitError
from ..trace.trace import Trace

MOST_PINS = 4
UNDER = ("attribution", "predictions")
NO_FILTERS: dict[str, Any] = {"layers": None, "heads": {}}
DISPLAY: dict[str, Any] = {
    "under": list(UNDER),
    "least": False,
    "unfolded": False,
    "search": None,
}


def check_ids(name: str, value: Any) -> list[str]:
    """Node ids, each once.

    Raises:
        VisitError: it is no list of texts.
    """
    if not _is_list(value) or not all(isinstance(i, str) for i in value):
        raise VisitError(f"{name} is a list of node ids, as in ['L23.H4'], not {_short(value)}.")
    return list(dict.fromkeys(value))


def check_pins(value: Any) -> list[str]:
    """The ids of the pinned nodes.

    Raises:
        VisitError: they are no ids, or too many.
    """
    pins = check_ids("pins", value)
    if len(pins) > MOST_PINS:
        raise VisitError(
            f"At most {MOST_PINS} nodes can be pinned, not {len(pins)}: take some out."
        )
    return pins


def check_filters(trace: Trace, value: Any) -> dict[str, Any]:
    """{"layers": [first, last] or None, "heads": {"<layer>": [heads]}}; what is left out filters
    nothing.

    Raises:
        VisitError: it is no such mapping, or names layers or heads that there are none of.
    """
    given = _fields("filters", value, NO_FILTERS)
    layers = given["layers"]
    if layers is not None:
        if not _is_list(layers) or len(layers) != 2 or not all(map(_is_whole, layers)):
            raise VisitError(
                "filters['layers'] is a first and a last layer, as in [3, 8], or None, not "
                f"{_short(layers)}."
            )
        first, last = (trace.layer(layer) for layer in layers)
        if first > last:
            raise VisitError(
                f"filters['layers'] goes from {first} back to {last}: name the lower layer first."
            )
        layers = None if (first, last) == (0, trace.n_layers - 1) else [first, last]
    heads = given["heads"]
    if not isinstance(heads, Mapping):
        raise VisitError(
            "filters['heads'] maps layers to the heads that are shown, as in {23: [4]}, not "
            f"{_short(heads)}."
        )
    shown = {}
    for layer, chosen in sorted(heads.items(), key=lambda item: str(item[0]).zfill(9)):
        if not str(layer).isdecimal():
            raise VisitError(f"filters['heads'] has {layer!r} where a layer's number belongs.")
        if not _is_list(chosen) or not all(map(_is_whole, chosen)):
            raise VisitError(
                f"filters['heads'][{layer}] is a list of heads, as in [0, 4], not {_short(chosen)}."
            )
        at = trace.layer(int(layer))
        if chosen:
            shown[str(at)] = sorted({trace.head(at, head) for head in chosen})
    return {"layers": layers, "heads": shown}


def check_display(value: Any) -> dict[str, Any]:
    """{"under", "least", "unfolded", "search"}: what stands under the tokens, whether the panel's
    section of least tokens is open, whether a long prompt is unfolded, and what is looked for, as
    {"query", "hit"}, or None; what is left out is the default.

    Raises:
        VisitError: it is no such mapping.
    """
    given = _fields("display", value, DISPLAY)
    under = given["under"]
    if not _is_list(under) or not set(under) <= set(UNDER):
        raise VisitError(
            f"display['under'] is a list of {' and '.join(map(repr, UNDER))}, or of one of them, "
            f"or empty, not {_short(under)}."
        )
    for name in ("least", "unfolded"):
        if not isinstance(given[name], bool):
            raise VisitError(f"display[{name!r}] is True or False, not {_short(given[name])}.")
    search = given["search"]
    if search is not None:
        search = _fields("display['search']", search, {"query": "", "hit": None})
        query, hit = search["query"], search["hit"]
        if not isinstance(query, str) or not (hit is None or isinstance(hit, str)):
            raise VisitError(
                "display['search'] has a text as its 'query' and the id of what was found, or "
                f"None, as its 'hit', not {_short(query)} and {_short(hit)}."
            )
    return {**given, "under": [name for name in UNDER if name in under], "search": search}


def checks(trace: Trace) -> dict[str, Callable[[Any], Any]]:
    """What each of these traits is checked with, by name."""
    return {
        "selection": lambda value: check_ids("selection", value),
        "pins": check_pins,
        "filters": lambda value: check_filters(trace, value),
        "display": check_display,
    }


def _fields(name: str, value: Any, defaults: dict[str, Any]) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise VisitError(f"{name} is a mapping with {_listed(defaults)}, not {_short(value)}.")
    unknown = [key for key in value if key not in defaults]
    if unknown:
        raise VisitError(f"{name} has no {unknown[0]!r}; it has {_listed(defaults)}.")
    return {**defaults, **value}


def _listed(names: Mapping[str, Any]) -> str:
    *most, last = (repr(name) for name in names)
    return f"{', '.join(most)} and {last}"


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, (str, bytes))


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:40]}…"
