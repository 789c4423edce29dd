"""What rounding added: a part of the stream like any other, in half precision.

A model in bfloat16 rounds at every step: what a sublayer writes, the sum that the stream is, the
logits. A trace derives its parts in float32 or finer, so what is left between a whole that the
model itself gave and the sum of its parts is what rounding added:

    L3.attn.rounding = attention as the pass gave it − Σ heads − bias        (likewise L3.mlp)
    L3.mid.rounding  = mid − carry(pre) − attention − mixer
    L3.post.rounding = post − carry(mid) − MLP
    logits.rounding  = the model's own logit − what its unembedding says of the last stream

With them shares sum to 1 and logits to the model's own logit, whatever the dtype. How large such a
part may be is known (`audit`): more than that is no rounding, but a part that was overlooked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from .stream import added, carry, mixer_output

if TYPE_CHECKING:
    from .trace import Trace

Where = Literal["attn", "mid", "mlp", "post"]
# Sums of the derived parts round as well: what is within so many of their own roundings is nil.
OWN_ROUNDINGS = 64


def rounds(trace: Trace) -> bool:
    """Whether the model rounds more coarsely than what is derived from it, so that it can be told
    apart.
    """
    return torch.finfo(trace.coarsest_dtype).eps > torch.finfo(trace.dtype).eps


def rounding(trace: Trace, layer: int, at: Where, position: int) -> Tensor | None:
    """What rounding added at one place: (d_model,); None where it is nil.

    Args:
        trace: the traced pass.
        layer: from 0.
        at: "attn" or "mlp", in what the sublayer adds; "mid" or "post", in the stream.
        position: from 0.
    """
    if not rounds(trace):
        return None
    whole = _whole(trace, layer, at, position)
    if whole is None:
        return None
    return beyond_ours(whole, whole - parts_at(trace, layer, at, position))


def beyond_ours(whole: Tensor, left: Tensor) -> Tensor | None:
    """What is left of a whole without its parts; None where our own arithmetic may have left it."""
    nil = OWN_ROUNDINGS * torch.finfo(whole.dtype).eps * float(whole.norm())
    return left if float(left.norm()) > nil else None


def has_mid(trace: Trace, layer: int) -> bool:
    """Whether the stream is summed twice in a layer, so that there is a mid of its own."""
    part = trace.anatomy.blocks[layer]
    return part.mlp is not None and not part.parallel


def _whole(trace: Trace, layer: int, at: Where, position: int) -> Tensor | None:
    part = trace.anatomy.blocks[layer]
    if at == "attn":
        return None if part.attention is None else added(trace, layer, position, "attention")
    if at == "mlp":
        return None if part.mlp is None else added(trace, layer, position, "mlp")
    if at == "mid":
        return trace.mid(layer, position) if has_mid(trace, layer) else None
    return trace.residual(layer, "post")[position]


def parts_at(trace: Trace, layer: int, at: Where, position: int) -> Tensor:
    """The sum of the parts of a whole, without what rounding added: (d_model,)."""
    part = trace.anatomy.blocks[layer]
    if at == "attn":
        return trace.attention_output(layer, position)
    if at == "mlp":
        return trace.mlp_output(layer, position)
    mixed = mixer_output(trace, layer, position)
    early = mixed is not None and not part.mixer_late
    if at == "post" and has_mid(trace, layer):
        total = carry(trace, layer, position, "mlp").forward(trace.mid(layer, position))
        total = total + added(trace, layer, position, "mlp")
        return total + mixed if mixed is not None and not early else total
    before = trace.residual(layer, "pre")[position]
    total = carry(trace, layer, position, "attention").forward(before)
    if part.attention is not None:
        total = total + added(trace, layer, position, "attention")
    if mixed is not None and (early or at == "post"):
        total = total + mixed
    if at == "post" and part.mlp is not None:
        total = total + added(trace, layer, position, "mlp")
    return total


def said(trace: Trace, position: int) -> Tensor:
    """The model's own logits, before any softcapping: (n_vocab,).

    At the last position as the pass itself gave them, with the softcap undone. Elsewhere, and so
    near to the cap that undoing it would show nothing but rounding, as the model's own modules give
    them for the stream as it was.
    """
    if position != len(trace) - 1:
        return trace.logits(position)
    given, cap = trace.work(trace.record.logits), trace.anatomy.softcap
    if cap is None:
        return given
    near = cap * (1 - 4 * torch.finfo(trace.record.logits.dtype).eps)
    undone = torch.atanh(given.clamp(-near, near) / cap) * cap
    capped = given.abs() >= near
    return torch.where(capped, trace.logits(position), undone) if bool(capped.any()) else undone
