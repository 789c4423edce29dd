"""The all-layer overview: the stream as one river, and what attention, MLP and any other part write
to it at each layer.
"""

from __future__ import annotations

from torch import Tensor

from ..trace.stream import added, carry
from .sheet import Parts, Sheet


def draw_overview(sheet: Sheet) -> None:
    """Add embed, pre, attn, mid, mlp and post of every layer, the final norm and the logits."""
    trace, at = sheet.trace, sheet.position
    # The stream after a block and before the next one is one vector: one tensor, projected once.
    stream = [trace.residual(layer, "pre")[at] for layer in range(trace.n_layers)]
    stream.append(trace.residual(trace.n_layers - 1, "post")[at])
    before = sheet.node("embed", "embed", stream[0], sheet.read.layers[0].pre)
    for layer, read in enumerate(sheet.read.layers):
        pre = sheet.node(f"L{layer}.pre", "residual", stream[layer], read.pre, layer=layer)
        sheet.flow(pre, stream[layer], [(before, stream[layer], "residual")], read.pre)
        before = _draw_layer(sheet, layer, stream[layer], stream[layer + 1])
    # The final norm and the logits show what the last stream shows; the logit of `logits` is the
    # model's own.
    last, along = stream[-1], sheet.read.direction
    constant = sheet.read.constant
    norm = sheet.node("norm", "norm", last, along)
    logits = sheet.node("logits", "logits", last, None, logit=float(last @ along) + constant)
    sheet.flow(norm, last, [(before, last, "residual")], along)
    sheet.flow(logits, last, [(norm, last, "residual")], along)
    for name, value in sheet.read.constants.items():
        sheet.constant(name, logits, value)


def _draw_layer(sheet: Sheet, layer: int, pre: Tensor, post: Tensor) -> str:
    """One layer's writers, and the streams they write to; returns the id of the stream after it."""
    trace, at, name = sheet.trace, sheet.position, f"L{layer}"
    part, read = trace.anatomy.blocks[layer], sheet.read.layers[layer]
    two_steps = part.mlp is not None and not part.parallel
    early: Parts = [(f"{name}.pre", carry(trace, layer, at, "attention").forward(pre), "residual")]
    late: Parts = []
    if part.attention is not None:
        written = added(trace, layer, at, "attention")
        node = sheet.node(f"{name}.attn", "attention", written, read.mid, layer=layer)
        early.append((node, written, "write"))
    if part.mixer is not None:
        written = trace.mixer_output(layer, at)
        along = read.post if part.mixer_late else read.mid
        node = sheet.node(f"{name}.mix", "opaque", written, along, layer=layer)
        (late if part.mixer_late else early).append((node, written, "write"))
    if two_steps:
        mid = trace.mid(layer, at)
        sheet.node(f"{name}.mid", "residual", mid, read.mid, layer=layer)
        carried = carry(trace, layer, at, "mlp").forward(mid)
        late.insert(0, (f"{name}.mid", carried, "residual"))
    if part.mlp is not None:
        written = added(trace, layer, at, "mlp")
        node = sheet.node(f"{name}.mlp", "mlp", written, read.post, layer=layer)
        late.append((node, written, "write"))
    early += sheet.rounding(layer, "mid", read.mid)
    late += sheet.rounding(layer, "post", read.post)
    after = sheet.node(f"{name}.post", "residual", post, read.post, layer=layer)
    if two_steps:
        sheet.flow(f"{name}.mid", mid, early, read.mid)
        sheet.flow(after, post, late, read.post)
    else:
        sheet.flow(after, post, early + late, read.post)
    return after
