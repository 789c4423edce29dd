"""The routes graph: the streams of all positions that a prediction comes by, and what flows between
them (after Ferrando & Voita 2024, arXiv 2403.00824).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import Tensor

from ..model import VisitError
from ..trace.rounding import rounds
from .elements import Edge, Node
from .labels import finish
from .measures import Along
from .reckoning import Parts
from .sheet import Sheet
from .stage import Single, Stage
from .walk import Walk

# Nodes that get a label at once, the most influential first; the others get one when asked for.
N_LABELLED = 400
_KINDS = {"attn.bias": ("bias", "part"), "mix": ("opaque", "write"), "mlp": ("mlp", "write")}
# More parts than any picture or table of a graph is for; each has a vector.
PARTS_LIMIT = 200_000
# A part this small beside what it belongs to is rounding.
NOTHING = 1e-12


def draw_routes(sheet: Sheet, walk: Walk) -> tuple[list[Node], list[Edge], dict[str, Any]]:
    """Draw all that a walk passes; returns nodes, edges and the attribution by token.

    Raises:
        VisitError: there is more than can be drawn.
    """
    tally, parts = Tally(walk), 0
    _draw_prediction(sheet, walk)
    for stage in walk:
        tally.add(stage)
        parts += len(stage.positions) if stage.memories is None else len(stage.memories.rows)
        if parts > PARTS_LIMIT:
            raise VisitError(
                f"These routes have more than {PARTS_LIMIT:,} parts: raise the threshold of what "
                "is kept, as in keep=vw.Keep(routes=vw.Limit(threshold=0.001))."
            )
        for row, position in enumerate(stage.positions):
            _draw_whole(sheet, stage, row, position)
    embeddings = sheet.trace.residual(0, "pre")
    for position, (credit, influence) in walk.embeddings.items():
        effects = walk.effects(0, "pre", [position])
        along = Along(credit.direction[0], None if effects is None else effects[0])
        sheet.node(
            f"P{position}.embed", "embed", embeddings[position], along, position=position,
            influence=influence,
        )  # fmt: skip
    ranked = sorted(sheet.vectors, key=lambda i: -abs(sheet.nodes[i].influence or 0.0))
    ((nodes, edges),) = finish([sheet], ranked[:N_LABELLED])
    return nodes[::-1], edges[::-1], tally.attribution()


class Tally:
    """Where the influence of a walk comes from: the tokens' embeddings along kept ways, and what
    ends elsewhere. All of it sums to the total.

    Args:
        walk: every stage of it is to be added.
    """

    def __init__(self, walk: Walk) -> None:
        self.walk, self.rest = walk, 0.0
        self.rounding = walk.read.rounding if walk.in_logits else 0.0
        self.bias = walk.read.constant - walk.read.rounding if walk.in_logits else 0.0

    def add(self, stage: Stage) -> None:
        """One more stage."""
        self.rest += float(stage.rest.sum())
        for single in stage.singles:
            if single.name.endswith(".rounding"):
                self.rounding += float((single.influence * single.kept).sum())
            elif single.name == "attn.bias":
                self.bias += float((single.influence * single.kept).sum())
            elif single.from_stream is not None:
                own = single.influence - single.from_stream
                self.bias += float((own * single.kept).sum())
        memories = stage.memories
        if memories is not None and memories.readable:
            self.bias += float((memories.influence - memories.from_stream).sum())

    def attribution(self) -> dict[str, Any]:
        """As `FlowGraph.attribution`."""
        known = self.walk.embeddings
        tokens = [
            {
                "position": p,
                "value": known[p][1] if p in known else 0.0,
                "direct": self.walk.direct(p),
            }
            for p in range(len(self.walk.trace))
        ]
        found = {
            "tokens": tokens, "bias": self.bias, "opaque": self.walk.opaque, "rest": self.rest,
            "total": self.walk.total,
        }  # fmt: skip
        return self.walk.told(
            {**found, "rounding": self.rounding} if rounds(self.walk.trace) else found
        )


def attribution_of(walk: Walk) -> dict[str, Any]:
    """The attribution alone, of any number of parts."""
    tally = Tally(walk)
    for stage in walk:
        tally.add(stage)
    return tally.attribution()


def _stream(layer: int, name: str, position: int) -> str:
    """The id of a stream; that before a block is the one after the block before."""
    if name != "pre":
        return f"P{position}.L{layer}.{name}"
    return f"P{position}.embed" if layer == 0 else f"P{position}.L{layer - 1}.post"


def _draw_whole(sheet: Sheet, stage: Stage, row: int, position: int) -> None:
    """One stream and the parts of it that are kept."""
    layer, before = stage.layer, _stream(stage.layer, stage.before, position)
    whole, along = stage.wholes[row], stage.along(row)
    node = sheet.node(
        _stream(layer, stage.name, position), "residual", whole, along, position=position,
        layer=layer, influence=float(stage.influence[row]),
    )  # fmt: skip
    parts: Parts = []
    influences: list[float] = []
    for single in stage.singles:
        if not single.kept[row]:
            continue
        vector, influence = single.vectors[row], float(single.influence[row])
        source, kind = before, "residual"
        if single.name != "residual":
            node_kind, kind = _KINDS.get(single.name, ("rounding", "part"))
            source = sheet.node(
                f"P{position}.L{layer}.{single.name}", node_kind, vector, along,
                position=position, layer=layer, influence=influence,
            )  # fmt: skip
        if single.name == "mlp":
            _draw_mlp(sheet, stage, single, row, source, before)
        parts.append((source, vector, kind))
        influences.append(influence)
    if stage.memories is not None:
        for source, vector, influence in _draw_memories(sheet, stage, row, position, along):
            parts.append((source, vector, "part"))
            influences.append(influence)
    if int(stage.left_out[row]):
        vector = whole - sum(v for _, v, _ in parts) if parts else whole
        rest, influence = {"of": "part", "count": int(stage.left_out[row])}, float(stage.rest[row])
        source = sheet.node(
            f"{node}.rest", "rest", vector, along, position=position, layer=layer, rest=rest,
            influence=influence,
        )  # fmt: skip
        parts.append((source, vector, "part"))
        influences.append(influence)
    sheet.flow(node, whole, parts, along, influences)


def _draw_mlp(sheet: Sheet, stage: Stage, single: Single, row: int, node: str, before: str) -> None:
    """What an MLP is made of."""
    vector, influence = single.vectors[row], float(single.influence[row])
    along, inner = stage.along(row), single.inner
    if inner is None:
        # Of the stream that it reads, in ways that no sum tells.
        sheet.flow(node, vector, [(before, vector, "through")], along, [influence])
    elif single.from_stream is not None and inner.constants is not None:
        constant, from_stream = inner.constants[row], float(single.from_stream[row])
        parts: Parts = [(before, vector - constant, "through")]
        influences = [from_stream]
        if float(constant.norm()) > NOTHING * float(vector.norm()):
            own = influence - from_stream
            bias = sheet.node(
                f"{node}.bias", "bias", constant, along, position=stage.positions[row],
                layer=stage.layer, influence=own,
            )  # fmt: skip
            parts.append((bias, constant, "part"))
            influences.append(own)
        sheet.flow(node, vector, parts, along, influences)


def _draw_memories(
    sheet: Sheet, stage: Stage, row: int, position: int, along: Along
) -> Iterator[tuple[str, Tensor, float]]:
    """What heads bring to one stream, and what that is made of: (node id, vector, influence)."""
    assert stage.memories is not None
    memories = stage.memories.of(row)
    vectors, constants = memories.vectors(), memories.constants()
    columns = (memories.heads, memories.sources, memories.weights, memories.influence)
    numbers = zip(*(c.tolist() for c in (*columns, memories.from_stream)), strict=True)
    for n, (head, source, weight, influence, from_stream) in enumerate(numbers):
        where = {"position": position, "layer": stage.layer, "head": head, "source": source}
        node = sheet.node(
            f"P{position}.L{stage.layer}.H{head}.V{source}", "value", vectors[n], along,
            weight=weight, influence=influence, **where,
        )  # fmt: skip
        yield node, vectors[n], influence
        if not memories.readable:
            continue
        before = _stream(stage.layer, "pre", source)
        parts: Parts = [(before, vectors[n] - constants[n], "through")]
        influences = [from_stream]
        if float(constants[n].norm()) > NOTHING * float(vectors[n].norm()):
            own = influence - from_stream
            bias = sheet.node(f"{node}.bias", "bias", constants[n], along, influence=own, **where)
            parts.append((bias, constants[n], "part"))
            influences.append(own)
        sheet.flow(node, vectors[n], parts, along, influences)


def _draw_prediction(sheet: Sheet, walk: Walk) -> None:
    """The logits, and what adds to them after the last stream."""
    read, last = walk.read, _stream(sheet.trace.n_layers - 1, "post", walk.focus)
    effects = walk.effects(sheet.trace.n_layers - 1, "post", [walk.focus])
    along = Along(read.direction, None if effects is None else effects[0])
    ends = sheet.ends(walk.final, along)
    own = walk.total - (read.constant if walk.in_logits else 0.0)
    node = sheet.node("logits", "logits", walk.final, None, influence=walk.total, **ends)
    sheet.flow(node, walk.final, [(last, walk.final, "residual")], along, [own])
    for name, value in read.constants.items():
        sheet.constant(name, node, value, value if walk.in_logits else 0.0)
