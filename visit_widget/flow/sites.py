"""Where the vectors of a graph's nodes stand, as lenses know it."""

from __future__ import annotations

import re

from ..lens import Site
from ..trace import Trace
from .elements import Node

STREAMS = ("pre", "mid", "post")
_PLACES = {"attn": "attention", "mlp": "mlp"}
_RESTS = {"head": "attention", "value": "head", "neuron": "mlp"}
_EDITED = {"attn": "attention", "mid": "attention", "mlp": "mlp", "post": "mlp", "pre": "pre"}
_KINDS = {"expert": "mlp", "opaque": "mixer"}


def site_of(node: Node, trace: Trace) -> Site:
    """Where a node's vector stands, as lenses know it."""
    last = trace.n_layers - 1
    if node.layer is None:
        own = re.match(r"P\d+\.L(\d+)\.(mid|post)$", node.id)
        if own:
            return Site(int(own[1]), own[2])
        return Site(0, "pre") if node.kind == "embed" else Site(last, "post")
    name = node.id.rpartition(".")[2]
    if node.kind == "edit":
        return Site(node.layer, _EDITED.get(node.id.split(".")[1], "value"))
    if node.kind == "residual":
        return Site(node.layer, name)
    if node.kind == "norm":
        late = name == "ln2" and not trace.anatomy.blocks[node.layer].parallel
        return Site(node.layer, "mid" if late else "pre")
    if node.kind == "bias":
        return Site(node.layer, _PLACES.get(node.id.split(".")[-2], "value"))
    if node.kind == "rest":
        assert node.rest is not None
        # In routes, of all that flows into a stream.
        return Site(node.layer, _RESTS.get(node.rest["of"], "mlp"))
    return Site(node.layer, _KINDS.get(node.kind, node.kind))
