"""What `show` is given, as the data of a saved page (docs/protocol.md).

Files may come from anywhere. They are read as data alone: JSON is parsed, nothing is unpickled,
and no script of a page is run or kept.
"""

from __future__ import annotations

import binascii
import json
import os
import re
import zlib
from base64 import b64decode
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import VisitError

VERSION = 1
# Bytes of JSON that a file may hold, packed or not: the largest pages have a tenth of it.
MOST_BYTES = 256 * 2**20
_DATA = re.compile(r'<script type="application/gzip;base64" id="visit-data">([A-Za-z0-9+/=]*)<')
_BODY = re.compile(r"^\{.*\}$", re.MULTILINE)
_GRAPH = ("model", "prompt", "tokens", "position", "target", "nodes", "edges")
# What an overview has of a layer, after its name; the rest is in the layer's block.
_STREAM = ("pre", "mid", "post", "attn", "mix", "mlp")
_ASK = "Pass a FlowGraph, its JSON, or a page that save_html wrote."


def saved_data(what: Any) -> dict[str, Any]:
    """The data of a saved page.

    Args:
        what: a FlowGraph, what its `to_dict` or `to_json` gives, or the path of a file: that JSON,
            a page of `save_html`, or the `flow.md` of `save_myst`.

    Raises:
        VisitError: it is none of these, or was made by another version.
    """
    if hasattr(what, "to_dict"):
        what = what.to_dict()
    if isinstance(what, (str, os.PathLike)):
        what = _parsed(_text(what))
    if not isinstance(what, Mapping):
        raise VisitError(f"There is no graph in a {type(what).__name__}. {_ASK}")
    what = what.get("saved", what)
    traits = what.get("traits") if isinstance(what, Mapping) else None
    if isinstance(traits, Mapping):
        _check(traits.get("graph"))
        return dict(what)
    return _of_graph(_check(what))


def _text(given: str | os.PathLike[str]) -> str:
    text = os.fspath(given)
    if isinstance(text, str) and text.lstrip()[:1] in ("{", "<"):
        return text
    place = Path(text)
    try:
        if place.stat().st_size > MOST_BYTES:
            raise VisitError(f"{place} is larger than any page that this package writes.")
        return place.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise VisitError(f"{str(place)[:200]} cannot be read: {reason}. {_ASK}") from None


def _parsed(text: str) -> Any:
    packed = _DATA.search(text)
    try:
        if packed:
            text = _unpacked(packed[1])
        elif text.lstrip().startswith("`"):  # a directive
            body = _BODY.search(text)
            text = body[0] if body else text
        # Halves of surrogate pairs, which JSON can say and no message can carry, are replaced.
        return json.loads(json.dumps(json.loads(text), ensure_ascii=False).encode(errors="replace"))
    except (ValueError, zlib.error, RecursionError) as error:
        reason = str(error)[:100]
        raise VisitError(f"There is no graph that can be read here ({reason}). {_ASK}") from None


def _unpacked(packed: str) -> str:
    """What a page carries; a small file may not become a huge one."""
    try:
        content = b64decode(packed, validate=True)
    except binascii.Error as error:
        raise ValueError(str(error)) from None
    reader = zlib.decompressobj(wbits=31)
    text = reader.decompress(content, MOST_BYTES)
    if not reader.eof:
        raise ValueError("it was cut, or is larger than any page that this package writes")
    return text.decode("utf-8")


def _check(graph: Any) -> Mapping[str, Any]:
    if not isinstance(graph, Mapping) or any(name not in graph for name in _GRAPH):
        raise VisitError(f"This is no flow graph. {_ASK}")
    if graph.get("version") != VERSION:
        raise VisitError(
            f"This is a flow graph of version {graph.get('version')!r}; this package reads version "
            f"{VERSION}."
        )
    listed = (graph[name] for name in ("tokens", "nodes", "edges"))
    if not all(
        isinstance(many, (list, tuple)) and all(isinstance(one, Mapping) for one in many)
        for many in listed
    ):
        raise VisitError("The tokens, nodes and edges of this flow graph are no lists of objects.")
    return graph


def _of_graph(graph: Mapping[str, Any]) -> dict[str, Any]:
    """A graph as a page carries it: the overview apart from the layers that are open."""
    if graph.get("view") == "routes":
        raise VisitError(
            "A routes graph alone has no layers to stand beside: save a page with "
            "widget.save_html, which carries both, and show that."
        )
    layers, nodes, edges = list(graph.get("layers") or ()), graph["nodes"], graph["edges"]
    stream = {str(n.get("id")) for n in nodes if _in_overview(n)}
    layer_of = {str(n.get("id")): n.get("layer") for n in nodes}

    def layers_of(edge: Mapping[str, Any]) -> set[Any]:
        """The layers whose blocks an edge belongs to; none if it is the overview's."""
        ends = {str(edge.get("source")), str(edge.get("target"))}
        return set() if ends <= stream else {layer_of.get(end) for end in ends}

    overview = {
        **graph,
        "layers": [],
        "revision": 1,
        "nodes": [n for n in nodes if str(n.get("id")) in stream],
        "edges": [e for e in edges if {str(e.get("source")), str(e.get("target"))} <= stream],
    }
    blocks = {
        str(layer): {
            "layer": layer,
            "revision": 1,
            "nodes": [
                n for n in nodes if n.get("layer") == layer and str(n.get("id")) not in stream
            ],
            "edges": [e for e in edges if layer in layers_of(e)],
        }
        for layer in layers
    }
    named = {name: graph.get(name) for name in ("target", "foil")}
    traits = {
        "graph": overview,
        "prompt": graph["prompt"],
        "focus": graph["position"],
        "measure": graph.get("measure", "logit"),
        "lens": graph.get("lens", "logit"),
        "lenses": [graph.get("lens", "logit")],
        "keep": graph.get("keep", {}),
        "expanded": layers,
        **{
            name: value and {k: value[k] for k in ("id", "text", "combine") if k in value}
            for name, value in named.items()
        },
    }
    return {"traits": traits, "expand": blocks, "project": {}}


def _in_overview(node: Mapping[str, Any]) -> bool:
    if node.get("layer") is None or node.get("kind") in ("rounding", "edit"):
        return True
    return str(node.get("id")).partition(".")[2] in _STREAM
