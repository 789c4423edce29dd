"""What wrote the stream before a block, part by part.

    pre_L = embed + Σ_l (attention_l + mixer_l + MLP_l)

Each part is as it arrives there: through all that carries the stream on past later sublayers, with
every norm on the way frozen at its observed scale.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from ..model import VisitError
from .attention import AttentionRows, attention_rows
from .mlp import mlp_rows
from .rounding import has_mid, rounds
from .stream import carry_rows, mixer_output

if TYPE_CHECKING:
    from .trace import Trace

By = Literal["layer", "part", "head"]


@dataclass(frozen=True)
class StreamParts:
    """The parts of the stream before a block at n positions.

    Attributes:
        names: "embed" (what stands before the first block), then node ids; with by="layer" the
            layers, "L0" and on.
        vectors: (n_parts, n, d_model); they sum to the stream, but for what rounding adds in half
            precision.
    """

    names: tuple[str, ...]
    vectors: Tensor


def stream_parts(trace: Trace, layer: int, positions: Sequence[int], by: By) -> StreamParts:
    """Split the stream before a block.

    Args:
        trace: the traced pass.
        layer: the block, from 0.
        positions: n of them, from 0.
        by: how finely: "layer" (what each earlier layer wrote), "part" (its attention, mixer and
            MLP), or "head" (its heads, and what its attention adds whatever it attends to).
    """
    if by not in ("layer", "part", "head"):
        raise VisitError(
            f"by={by!r} is not a way to split a stream: use 'layer', 'part' or 'head'."
        )
    trace.needs_model("What wrote a stream")
    # In order, each once: some models' attention takes its rows for the last of the prompt, and
    # hides from each what the row in that place does not see.
    places, names = sorted(set(positions)), ["embed"]
    vectors = trace.work(trace.record.layers[0].pre[places])[None]
    for earlier in range(layer):
        found, vectors = _carried(trace, earlier, places, by, vectors)
        written = torch.stack(list(found.values())) if found else vectors[:0]
        if by == "layer":
            names.append(f"L{earlier}")
            written = written.sum(0, keepdim=True)
        else:
            names += [f"L{earlier}.{name}" for name in found]
        vectors = torch.cat([vectors, written])
    return StreamParts(tuple(names), vectors[:, [places.index(place) for place in positions]])


def _carried(
    trace: Trace, layer: int, positions: list[int], by: By, before: Tensor
) -> tuple[dict[str, Tensor], Tensor]:
    """What a block writes, by the end of its node's id, and what becomes of the parts that stood
    before it: all as they stand after it.
    """
    if by != "head" and _told_by_streams(trace, layer):
        pre, mid, post = (trace.residual(layer, at)[positions] for at in ("pre", "mid", "post"))
        return {"attn": mid - pre, "mlp": post - mid}, before
    part = trace.anatomy.blocks[layer]
    rows = None if part.attention is None else attention_rows(trace, layer, positions)
    outlet = None if rows is None else rows.outlet
    before = carry_rows(trace, layer, positions, outlet).forward(before)
    early: dict[str, Tensor] = {} if rows is None else _of_attention(rows, by)
    late: dict[str, Tensor] = {}
    mixed = mixer_output(trace, layer, positions)
    if mixed is not None:
        (late if part.mixer_late else early)["mix"] = mixed
    if part.mlp is not None:
        outlet, late["mlp"] = mlp_rows(trace, layer, positions)
        if not part.parallel:
            before = outlet.carry.forward(before)
            early = {name: outlet.carry.forward(vector) for name, vector in early.items()}
    return {**early, **late}, before


def _told_by_streams(trace: Trace, layer: int) -> bool:
    """Whether what attention and MLP add is all that lies between the streams that were kept."""
    part = trace.anatomy.blocks[layer]
    plain = part.attention_join.is_plain and part.mlp_join.is_plain and has_mid(trace, layer)
    return plain and part.attention is not None and part.mixer is None and not rounds(trace)


def _of_attention(rows: AttentionRows, by: By) -> dict[str, Tensor]:
    if by != "head":
        return {"attn": rows.total}
    found = {f"H{head}": vector for head, vector in enumerate(rows.heads.unbind(1))}
    if rows.outlet.bias is not None:
        found["attn.bias"] = rows.outlet.bias.expand_as(rows.total)
    return found
