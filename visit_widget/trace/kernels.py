"""Attention functions that know by themselves what a query sees: kernels such as FlashAttention,
and functions of the user's own, get no mask where a window applies.

What such a function did at the last query of the pass is held against eager attention under each
mask that it may have meant; the one that gives the same is kept. Where none does, the rows of that
model cannot be derived, and it is refused.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..model import UnsupportedModelError
from ..model.attention import AttentionCall
from .masks import RowMask

# What these do with a mask, and without one, is known.
_OPEN = {"eager", "sdpa"}


def mask_of(call: AttentionCall, n_tokens: int, causal: bool, implementation: str) -> RowMask:
    """What each query of an attention call saw.

    Args:
        call: the call.
        n_tokens: of the prompt.
        causal: whether no query sees later sources.
        implementation: the attention function that the model ran.

    Raises:
        UnsupportedModelError: what the function did is not what eager attention does under any of
            the masks that it may have meant.
    """
    window = call.options.get("sliding_window")
    if implementation in _OPEN:
        return RowMask.of(call.mask, n_tokens, causal)
    windows: list[int | None] = [None]
    if call.mask is None and isinstance(window, int) and 0 < window < n_tokens:
        # How many sources a window of w shows, w or w + 1, differs between kernels.
        windows = [window, window + 1, None]
    masks = [RowMask.of(call.mask, n_tokens, causal, w) for w in windows]
    if not causal and call.mask is None:
        masks.append(RowMask.of(None, n_tokens, causal=True))
    off, found = min(((_off(call, mask), n) for n, mask in enumerate(masks)), key=lambda o: o[0])
    if not off <= max(1e-3, 8 * torch.finfo(call.output.dtype).eps):
        raise UnsupportedModelError(
            f"The attention function {implementation!r} that this model runs gives something else "
            f"than the eager attention of {type(call.module).__name__} on {n_tokens} tokens (off "
            f"by {off:.0e}), so that its weights cannot be derived. To trace the model with its "
            'own attention, call model.set_attn_implementation("eager") first.'
        )
    return masks[found]


def _off(call: AttentionCall, mask: RowMask) -> float:
    """How far what the function gave at the last query is off eager attention under a mask."""
    dtype = torch.promote_types(call.query.dtype, torch.float32)
    query, key, value = (t.detach().to(dtype) for t in (call.query, call.key, call.value))
    last = query.shape[2] - 1
    row = mask.row(last, key.shape[2], dtype, query.device)
    try:
        with torch.no_grad():
            ours: Tensor = call.attend(
                call.module, query[:, :, last:], key, value, row,
                scaling=call.scaling, dropout=0.0, **call.options,
            )[0]  # fmt: skip
    except (RuntimeError, TypeError, ValueError, UnsupportedModelError):
        return float("inf")
    theirs = call.output.detach()[:, last:].to(dtype).reshape(ours.shape)
    return float((ours - theirs).norm() / theirs.norm().clamp_min(1e-30))
