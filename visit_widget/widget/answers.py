"""What windows and panels ask of a pass as it is: effects, maps of them, and why a head looks
there.

`docs/protocol.md`, Requests, has the shapes.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from torch import stack

from ..model import VisitError
from ..what_if.variants import Progress

if TYPE_CHECKING:
    from ..flow import Painter

_MEASURED = ("head", "value", "neuron", "row", "attention", "mlp")
_LOOK = re.compile(r"L(\d+)\.H(\d+)$")
# Rows and columns of a score that are shown apart.
_SHOWN = 6


def measured_in(painter: Painter, layer: int, progress: Progress | None = None) -> dict[str, Any]:
    """The effects of what is drawn of a layer, foretold and measured (docs/protocol.md)."""
    trace, layer = painter.trace, painter.trace.layer(layer)
    nodes = [*painter.block(layer)[0], *painter.overview()[0]]
    ids = [n.id for n in nodes if n.layer == layer and n.kind in _MEASURED]
    found = trace.effects(
        ids, painter.target, painter.foil, positions=[painter.position], position=painter.position,
        progress=progress,
    )  # fmt: skip
    told = {name: vars(effect) for name, effect in found.items()}
    of = min(10, len(told))
    return {"layer": layer, "nodes": told, "rho": found.rho, "found": found.found(of), "of": of}


def effects_map(
    painter: Painter, over: str = "heads", progress: Progress | None = None
) -> dict[str, Any]:
    """Effects of every head, every sublayer, or the stream at every position, layer by layer
    (docs/protocol.md).
    """
    trace, position = painter.trace, painter.position
    layers = list(range(trace.n_layers))
    names = {
        "heads": [f"L{{layer}}.H{n}" for n in range(trace.n_heads)],
        "sublayers": ["L{layer}.attn", "L{layer}.mix", "L{layer}.mlp"],
        "streams": [f"P{p}.L{{layer}}.post" for p in range(position + 1)],
    }
    if over not in names:
        raise VisitError(f"over={over!r} is no map of effects: use {', '.join(names)}.")
    ids = [[name.format(layer=layer) for name in names[over]] for layer in layers]
    found = trace.effects(
        [i for row in ids for i in row] if over == "streams" else over,
        painter.target, painter.foil, positions=[position], position=position, progress=progress,
    )  # fmt: skip
    here = [n for n in range(len(names[over])) if any(row[n] in found for row in ids)]
    ids = [[row[n] for n in here] for row in ids]
    columns = [names[over][n].split(".")[over != "streams"] for n in here]
    rows = {
        kind: [[getattr(found[i], kind) if i in found else None for i in row] for row in ids]
        for kind in ("predicted", "measured")
    }
    shown = [[i if i in found else None for i in row] for row in ids]
    return {"over": over, "layers": layers, "columns": columns, "ids": shown, **rows}


def score_matrix(painter: Painter, head: str, source: int) -> dict[str, Any]:
    """Why a head looks at a token: who wrote what its query and its key read (docs/protocol.md).

    Args:
        painter: of the pass.
        head: its id, such as "L23.H4".
        source: the token that is looked at, from 0.
    """
    trace, position = painter.trace, painter.position
    named = _LOOK.match(head)
    if named is None:
        raise VisitError(f"{head!r} is no head: ask with an id such as 'L3.H4'.")
    found = trace.score_parts(int(named[1]), int(named[2]), source, position, "head")
    matrix = found.matrix
    sides: list[list[dict[str, Any]]] = []
    for dim, names in ((0, found.query_parts), (1, found.key_parts)):
        order = found.matrix.sum(1 - dim).abs().argsort(descending=True).tolist()
        shown, others = order[:_SHOWN], order[_SHOWN:]
        parts = [matrix.select(dim, n) for n in shown]
        sums = [float(part.sum()) for part in parts]
        side = [{"id": names[n], "sum": s} for n, s in zip(shown, sums, strict=True)]
        if others:
            rest = matrix.index_select(dim, matrix.new_tensor(others).long()).sum(dim)
            parts.append(rest)
            side.append({"id": None, "sum": float(rest.sum()), "count": len(others)})
        matrix = stack(parts, dim)
        sides.append(side)
    return {
        "head": head, "position": position, "source": source, "score": found.score,
        "weight": found.weight, "query": sides[0], "key": sides[1], "matrix": matrix.tolist(),
    }  # fmt: skip
