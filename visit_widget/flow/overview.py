"""The all-layer overview: the stream as one river, and what attention and MLP write to it at each
layer.
"""

from __future__ import annotations

from .sheet import Sheet


def draw_overview(sheet: Sheet) -> None:
    """Add embed, pre, attn, mid, mlp and post of every layer, the final norm and the logits."""
    trace, at = sheet.trace, sheet.position
    # The stream after a block and before the next one is one vector: one tensor, projected once.
    stream = [trace.residual(layer, "pre")[at] for layer in range(trace.n_layers)]
    stream.append(trace.residual(trace.n_layers - 1, "post")[at])
    before = sheet.node("embed", "embed", stream[0])
    for layer in range(trace.n_layers):
        name = f"L{layer}"
        pre = sheet.node(f"{name}.pre", "residual", stream[layer], layer=layer)
        sheet.flow(pre, stream[layer], [(before, stream[layer], "residual")])
        attention, mlp = trace.attention_output(layer, at), trace.mlp_output(layer, at)
        attn = sheet.node(f"{name}.attn", "attention", attention, layer=layer)
        if trace.anatomy.blocks[layer].parallel:
            written = sheet.node(f"{name}.mlp", "mlp", mlp, layer=layer)
            post = sheet.node(f"{name}.post", "residual", stream[layer + 1], layer=layer)
            parts = [
                (pre, stream[layer], "residual"),
                (attn, attention, "write"),
                (written, mlp, "write"),
            ]
            sheet.flow(post, stream[layer + 1], parts)
        else:
            between = trace.work(trace.record.layers[layer].mid[at])
            mid = sheet.node(f"{name}.mid", "residual", between, layer=layer)
            written = sheet.node(f"{name}.mlp", "mlp", mlp, layer=layer)
            post = sheet.node(f"{name}.post", "residual", stream[layer + 1], layer=layer)
            sheet.flow(mid, between, [(pre, stream[layer], "residual"), (attn, attention, "write")])
            sheet.flow(
                post, stream[layer + 1], [(mid, between, "residual"), (written, mlp, "write")]
            )
        before = post
    # The final norm and the logits show what the last stream shows; the logit of `logits` is the
    # model's own.
    last = stream[-1]
    constant = sheet.read.norm_bias + sheet.read.head_bias
    norm = sheet.node("norm", "norm", last)
    logits = sheet.node(
        "logits", "logits", last, logit=float(last @ sheet.read.direction) + constant
    )
    sheet.flow(norm, last, [(before, last, "residual")])
    sheet.flow(logits, last, [(norm, last, "residual")])
    if sheet.read.norm_bias:
        sheet.constant("norm.bias", logits, sheet.read.norm_bias)
    if sheet.read.head_bias:
        sheet.constant("logits.bias", logits, sheet.read.head_bias)
