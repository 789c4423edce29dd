"""What one head reads of every earlier head: as the weights allow it, and as it happened."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..trace import Trace
from ..trace.projection import Projection
from .composition import READS, maps_of
from .results import Row


def head_reads(
    trace: Trace,
    layer: int,
    head: int,
    position: int = -1,
    progress: Callable[[int, int], None] | None = None,
) -> list[Row]:
    """How much each earlier head has to say to one head.

    Scores and traced shares are those of `composition`, of all pairs that end at this head:

        score = ‖W_OV^A M‖_F / (‖W_OV^A‖_F ‖M‖_F)        traced = ⟨W N(a), whole⟩ / ⟨whole, whole⟩

    with M the head's W_QK, its transpose, or its W_OV, and whole its query at the position, or the
    key or value of the source that it looks at most there.

    Source: Elhage et al. (2021), "A Mathematical Framework for Transformer Circuits".

    Args:
        trace: of a prompt.
        layer: of the head that reads.
        head: its number.
        position: of its query.
        progress: called with how many layers are done, and of how many.

    Returns:
        A row for each earlier head and reading, the largest |traced| first: `reads` ("query",
        "key", "value"), `writer_layer`, `writer`, `layer`, `head`, `score`, `source` (where the
        key and value stand; the position for queries), `traced` (None where the stream is changed
        on its way between the two).
    """
    layer, at = trace.layer(layer), trace.position(position)
    head = trace.head(layer, head)
    looks = int(trace.attention(layer, at)[head].argmax())
    where = {"query": at, "key": looks, "value": looks}
    pulls = {reads: _pull(trace, layer, head, reads, where[reads]) for reads in READS}
    mine = maps_of(trace, layer, at)
    into = {"query": (mine.query, mine.key), "key": (mine.key, mine.query)}
    into["value"] = (mine.value, mine.out)
    rows: list[Row] = []
    earlier = [n for n in range(layer) if trace.attends(n)]
    for done, n in enumerate(earlier):
        if progress is not None:
            progress(done, len(earlier))
        theirs = maps_of(trace, n, at, ("value",))
        reading = theirs.value @ theirs.value.mT
        lengths = (reading * (theirs.out @ theirs.out.mT)).sum((1, 2)).clamp_min(0).sqrt()
        straight = _straight(trace, n, layer)
        for reads in READS:
            first, second = (m[head] for m in into[reads])
            onward = second @ second.mT
            length = ((first @ first.mT) * onward).sum().clamp_min(0).sqrt()
            between = theirs.out @ first.mT
            squares = torch.einsum("huv,hvd,de,hue->h", reading, between, onward, between)
            scores = squares.clamp_min(0).sqrt() / (lengths * length).clamp_min(1e-30)
            traced = pulls[reads](trace.head_outputs(n, where[reads])).tolist()
            rows += [
                {
                    "reads": reads, "writer_layer": n, "writer": writer, "layer": layer,
                    "head": head, "score": score, "source": where[reads],
                    "traced": traced[writer] if straight else None,
                }
                for writer, score in enumerate(scores.tolist())
            ]  # fmt: skip
    if progress is not None:
        progress(len(earlier), len(earlier))
    return sorted(rows, key=lambda row: -abs(row["traced"] or 0.0))


def _straight(trace: Trace, first: int, last: int) -> bool:
    """Whether what a layer writes reaches another as it was written."""
    blocks = trace.anatomy.blocks[first:last]
    return all(b.attention_join.carries_as_is and b.mlp_join.carries_as_is for b in blocks)


@torch.inference_mode(False)
def _pull(
    trace: Trace, layer: int, head: int, reads: str, position: int
) -> Callable[[Tensor], Tensor]:
    """What share of a head's query, key or value parts of the stream at a position make up, the
    norm's scale held: (n, d_model) → (n,).
    """
    part = trace.anatomy.blocks[layer]
    projection = Projection(trace, layer, [position])
    x = projection.input.clone().requires_grad_()
    with torch.enable_grad():
        made = projection.values(x) if reads == "value" else projection(x)[reads == "key"]
        shared = trace.attention_record(layer).query.shape[0] // made.shape[0]
        vector = made[head // shared, 0]
        (back,) = torch.autograd.grad(vector @ vector.detach(), x)
    square = trace.work(vector).square().sum().clamp_min(1e-30)
    direction = trace.work(back)[0] * (part.attention_input_scale / square)
    norm = trace.norm(part.attention_norm)
    stream = trace.residual(layer, "pre")[position]

    def shares(written: Tensor) -> Tensor:
        read = written if norm is None else norm.linear(written, norm.scale(stream))
        return read @ direction

    return shares
