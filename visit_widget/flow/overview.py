"""The all-layer overview: the stream as one river, and what attention, MLP and any other part write
to it at each layer.
"""

from __future__ import annotations

from torch import Tensor

from ..trace.stream import added, carry
from .reckoning import Parts
from .sheet import Sheet


def draw_overview(sheet: Sheet) -> None:
    """Add embed, pre, attn, mid, mlp and post of every layer, the final norm and the logits."""
    trace, at = sheet.trace, sheet.position
    # The stream after a block and before the next one is one vector: one tensor, projected once.
    stream = [trace.residual(layer, "pre")[at] for layer in range(trace.n_layers)]
    stream.append(trace.residual(trace.n_layers - 1, "post")[at])
    before = sheet.node("embed", "embed", stream[0], sheet.along(0, "pre"))
    for layer in range(trace.n_layers):
        along = sheet.along(layer, "pre")
        pre = sheet.node(f"L{layer}.pre", "residual", stream[layer], along, layer=layer)
        sheet.flow(pre, stream[layer], [(before, stream[layer], "residual")], along)
        before = _draw_layer(sheet, layer, stream[layer], stream[layer + 1])
    # The final norm and the logits show what the last stream shows; the logit of `logits` is the
    # model's own.
    last, along = stream[-1], sheet.along_last
    norm = sheet.node("norm", "norm", last, along)
    logits = sheet.node("logits", "logits", last, None, **sheet.ends(last, along))
    sheet.flow(norm, last, [(before, last, "residual")], along)
    sheet.flow(logits, last, [(norm, last, "residual")], along)
    for name, value in sheet.read.constants.items():
        sheet.constant(name, logits, value)


def _draw_layer(sheet: Sheet, layer: int, pre: Tensor, post: Tensor) -> str:
    """One layer's writers, and the streams they write to; returns the id of the stream after it."""
    trace, at, name = sheet.trace, sheet.position, f"L{layer}"
    part = trace.anatomy.blocks[layer]
    in_middle, at_end = sheet.along(layer, "mid"), sheet.along(layer, "post")
    two_steps = part.mlp is not None and not part.parallel
    early: Parts = [(f"{name}.pre", carry(trace, layer, at, "attention").forward(pre), "residual")]
    late: Parts = []
    if part.attention is not None:
        written = added(trace, layer, at, "attention")
        node = sheet.node(f"{name}.attn", "attention", written, in_middle, layer=layer)
        early.append((node, written, "write"))
    if part.mixer is not None:
        written = trace.mixer_output(layer, at)
        along = at_end if part.mixer_late else in_middle
        node = sheet.node(f"{name}.mix", "opaque", written, along, layer=layer)
        (late if part.mixer_late else early).append((node, written, "write"))
    if two_steps:
        mid = trace.mid(layer, at)
        sheet.node(f"{name}.mid", "residual", mid, in_middle, layer=layer)
        carried = carry(trace, layer, at, "mlp").forward(mid)
        late.insert(0, (f"{name}.mid", carried, "residual"))
    if part.mlp is not None:
        written = added(trace, layer, at, "mlp")
        node = sheet.node(f"{name}.mlp", "mlp", written, at_end, layer=layer)
        late.append((node, written, "write"))
    early += sheet.rounding(layer, "mid", in_middle)
    late += sheet.rounding(layer, "post", at_end)
    after = sheet.node(f"{name}.post", "residual", post, at_end, layer=layer)
    if two_steps:
        sheet.flow(f"{name}.mid", mid, early, in_middle)
        sheet.flow(after, post, late, at_end)
    else:
        sheet.flow(after, post, early + late, at_end)
    return after
