"""The routes graph: the streams of all positions that a prediction comes by, and what flows between
them (after Ferrando & Voita 2024, arXiv 2403.00824).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from .graph import Edge, Node
from .sheet import Sheet
from .walk import Memories, Stage, Walk

# Nodes that get a label at once, the most influential first; the others get one when asked for.
N_LABELLED = 400
_KINDS = {"attn.bias": ("bias", "part"), "mix": ("opaque", "write"), "mlp": ("mlp", "write")}
# A part this small beside what it belongs to is rounding.
NOTHING = 1e-12

Parts = list[tuple[str, Tensor, str]]


def draw_routes(sheet: Sheet, walk: Walk) -> tuple[list[Node], list[Edge], dict[str, Any]]:
    """Draw all that a walk passes; returns nodes, edges and the attribution by token."""
    stages = list(walk)
    for position, (credit, influence) in sorted(walk.embeddings.items()):
        vector = sheet.trace.residual(0, "pre")[position]
        sheet.node(
            f"P{position}.embed", "embed", vector, credit.direction[0], position=position,
            influence=influence,
        )  # fmt: skip
    for stage in reversed(stages):
        for row, position in enumerate(stage.positions):
            _draw_whole(sheet, stage, row, position)
    _draw_prediction(sheet, walk)
    ranked = sorted(sheet.vectors, key=lambda i: -abs(sheet.nodes[i].influence or 0.0))
    nodes, edges = sheet.finish(ranked[:N_LABELLED])
    return nodes, edges, attribution_of(walk, stages)


def attribution_of(walk: Walk, stages: Sequence[Stage]) -> dict[str, Any]:
    """Where the influence of a walk comes from: the tokens' embeddings along kept ways, and what
    ends elsewhere. All of it sums to the total.
    """
    bias = walk.read.norm_bias + walk.read.head_bias if walk.in_logits else 0.0
    rest = 0.0
    for stage in stages:
        rest += float(stage.rest.sum())
        for single in stage.singles:
            if single.name == "attn.bias":
                bias += float((single.influence * single.kept).sum())
        if stage.memories is not None and stage.memories.readable:
            bias += float((stage.memories.influence - stage.memories.from_stream).sum())
    tokens = [
        {
            "position": p,
            "value": walk.embeddings[p][1] if p in walk.embeddings else 0.0,
            "direct": walk.direct(p),
        }
        for p in range(len(walk.trace))
    ]
    return {
        "tokens": tokens, "bias": bias, "opaque": walk.opaque, "rest": rest, "total": walk.total,
    }  # fmt: skip


def _stream(layer: int, name: str, position: int) -> str:
    """The id of a stream; that before a block is the one after the block before."""
    if name != "pre":
        return f"P{position}.L{layer}.{name}"
    return f"P{position}.embed" if layer == 0 else f"P{position}.L{layer - 1}.post"


def _draw_whole(sheet: Sheet, stage: Stage, row: int, position: int) -> None:
    """One stream and the parts of it that are kept."""
    layer, before = stage.layer, _stream(stage.layer, stage.before, position)
    whole, along = stage.wholes[row], stage.credit.direction[row]
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
            node_kind, kind = _KINDS[single.name]
            source = sheet.node(
                f"P{position}.L{layer}.{single.name}", node_kind, vector, along,
                position=position, layer=layer, influence=influence,
            )  # fmt: skip
        if single.name == "mlp":
            # What an MLP writes is made of the stream that it reads, in ways that no sum tells.
            sheet.flow(source, vector, [(before, vector, "through")], along, [influence])
        parts.append((source, vector, kind))
        influences.append(influence)
    if stage.memories is not None:
        for n in (stage.memories.rows == row).nonzero()[:, 0].tolist():
            source = _draw_memory(sheet, stage.memories, n, stage, position, along)
            parts.append((source, stage.memories.vectors[n], "part"))
            influences.append(float(stage.memories.influence[n]))
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


def _draw_memory(
    sheet: Sheet, memories: Memories, n: int, stage: Stage, position: int, along: Tensor
) -> str:
    """What one head brings from one source, and what that is made of."""
    head, source = int(memories.heads[n]), int(memories.sources[n])
    vector, constant = memories.vectors[n], memories.constants[n]
    influence, from_stream = float(memories.influence[n]), float(memories.from_stream[n])
    where = {"position": position, "layer": stage.layer, "head": head, "source": source}
    node = sheet.node(
        f"P{position}.L{stage.layer}.H{head}.V{source}", "value", vector, along,
        weight=float(memories.weights[n]), influence=influence, **where,
    )  # fmt: skip
    if not memories.readable:
        return node
    before = _stream(stage.layer, "pre", source)
    parts: Parts = [(before, vector - constant, "through")]
    influences = [from_stream]
    if float(constant.norm()) > NOTHING * float(vector.norm()):
        bias = sheet.node(
            f"{node}.bias", "bias", constant, along, influence=influence - from_stream, **where
        )
        parts.append((bias, constant, "part"))
        influences.append(influence - from_stream)
    sheet.flow(node, vector, parts, along, influences)
    return node


def _draw_prediction(sheet: Sheet, walk: Walk) -> None:
    """The logits, and what adds to them after the last stream."""
    read, last = walk.read, _stream(sheet.trace.n_layers - 1, "post", walk.focus)
    along, constant = read.direction, read.norm_bias + read.head_bias
    logit = float(walk.final @ along) + constant
    node = sheet.node("logits", "logits", walk.final, None, logit=logit, influence=walk.total)
    own = sheet.nodes[last].influence or 0.0
    sheet.flow(node, walk.final, [(last, walk.final, "residual")], along, [own])
    for name, bias in (("norm.bias", read.norm_bias), ("logits.bias", read.head_bias)):
        if bias:
            sheet.constant(name, node, bias, bias if walk.in_logits else 0.0)
