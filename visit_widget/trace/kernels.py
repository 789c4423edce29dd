"""Attention functions that know by themselves what a query sees: kernels such as FlashAttention,
and functions of the user's own, get no mask where a window applies.

What such a function did at some queries of the pass is held against eager attention under each mask
that it may have meant; the likeliest of those that give the same is kept. Where none does, the rows
of that model cannot be derived, and it is refused. That is done in every pass and layer: what a
kernel does on a short prompt does not say what it does on a long one.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..model import UnsupportedModelError
from ..model.attention import is_transformers_own
from ..model.attention_call import AttentionCall
from .masks import RowMask

# What these do with a mask, and without one, is known: the first is what rows are derived with, the
# other was compared with it when the model was understood.
_OPEN = {"eager", "sdpa"}
# Queries at which a function's output is compared: all of a short prompt.
_QUERIES = 16
# What configs and modules call the number of sources that a query sees.
_WINDOWS = ("sliding_window", "window_size", "attention_window", "local_window_size", "window")


def is_open(implementation: str) -> bool:
    """Whether the mask that an attention function is given is what it goes by."""
    return implementation in _OPEN and is_transformers_own(implementation)


def is_causal(call: AttentionCall) -> bool:
    """Whether no query sees later sources where there is no mask."""
    told = call.options.get("is_causal")
    return bool(getattr(call.module, "is_causal", True) if told is None else told)


def mask_of(call: AttentionCall, n_tokens: int, implementation: str) -> RowMask:
    """What each query of an attention call saw.

    Args:
        call: the call.
        n_tokens: of the prompt.
        implementation: the attention function that the model ran, which is not open.

    Raises:
        UnsupportedModelError: what the function did is not what eager attention does under any of
            the masks that it may have meant.
    """
    masks = _candidates(call, n_tokens)
    queries = _queries(call, n_tokens)
    off = [_off(call, mask, queries) for mask in masks]
    least = min(off)
    if not least <= max(1e-3, 8 * torch.finfo(call.output.dtype).eps):
        raise UnsupportedModelError(
            f"The attention function {implementation!r} that this model runs gives something else "
            f"than the eager attention of {type(call.module).__name__} on {n_tokens} tokens (off "
            f"by {least:.0e}), so that its weights cannot be derived. To trace the model with its "
            'own attention, call model.set_attn_implementation("eager") first.'
        )
    # Where two differ by rounding only, what comes first is what such functions are for.
    return next(m for m, o in zip(masks, off, strict=True) if o <= 2 * least + 1e-7)


def _candidates(call: AttentionCall, n_tokens: int) -> list[RowMask]:
    """The masks that a function may have meant, the likeliest first."""
    causal = is_causal(call)
    if call.mask is not None:
        return [RowMask.of(call.mask, n_tokens, causal)]
    masks = []
    for width in _windows(call):
        if 0 < width < n_tokens:
            # How many sources a window of w shows, w or w + 1, differs between kernels.
            masks += [RowMask.of(None, n_tokens, causal, w) for w in (width, width + 1)]
    masks.append(RowMask.of(None, n_tokens, causal))
    if not causal:
        masks.append(RowMask.of(None, n_tokens, causal=True))
    return masks


def _windows(call: AttentionCall) -> list[int]:
    """The windows that a function may know of: from what it was given, or from the module."""
    module, config = call.module, getattr(call.module, "config", None)
    found: list[Any] = [call.options.get(name) for name in _WINDOWS]
    for owner in (module, config):
        found += [getattr(owner, name, None) for name in _WINDOWS]
    found = [w[0] + 1 if isinstance(w, tuple) and w else w for w in found]
    return list(dict.fromkeys(w for w in found if type(w) is int))


def _queries(call: AttentionCall, n_tokens: int) -> list[int]:
    """Where the function is looked at: the first and the last query, some between them, and those
    where windows begin to hide something.
    """
    if n_tokens <= _QUERIES:
        return list(range(n_tokens))
    spread = {round(n * (n_tokens - 1) / (_QUERIES - 1)) for n in range(_QUERIES)}
    edges = {q for w in _windows(call) for q in (w - 1, w, w + 1) if 0 <= q < n_tokens}
    return sorted(spread | edges)


def _off(call: AttentionCall, mask: RowMask, queries: list[int]) -> float:
    """How far what the function gave is off eager attention under a mask, at the worst query."""
    dtype = torch.promote_types(call.query.dtype, torch.float32)
    query, key, value = (t.detach().to(dtype) for t in (call.query, call.key, call.value))
    rows = [mask.row(q, key.shape[2], dtype, query.device) for q in queries]
    try:
        with torch.no_grad():
            ours: Tensor = call.attend(
                call.module, query[:, :, queries], key, value, torch.cat(rows, -2),
                scaling=call.scaling, dropout=0.0, **call.options,
            )[0]  # fmt: skip
        theirs = call.output.detach()[:, queries].to(dtype).reshape(ours.shape)
    except (RuntimeError, TypeError, ValueError, UnsupportedModelError):
        return float("inf")
    off, size = (ours - theirs)[0].flatten(1).norm(dim=-1), theirs[0].flatten(1).norm(dim=-1)
    worst = float((off / size.maximum(size.mean()).clamp_min(1e-30)).max())
    return worst if worst == worst else float("inf")
