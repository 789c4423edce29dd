"""Whether `sdpa` gives what a model's eager attention gives, which is what rows are derived with:
it does not in versions of transformers that leave a family's softcap or scaling out of it.

Other attention functions may go by another mask than they are given, and by another one on longer
prompts: what they give is compared in every pass (`trace/kernels.py`).
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from .attention import is_transformers_own
from .attention_call import AttentionCall
from .errors import UnsupportedModelError


def check_like_eager(calls: Iterable[AttentionCall], implementation: str) -> None:
    """Compare what attention calls gave with eager attention.

    Args:
        calls: of a short pass.
        implementation: the name of the implementation that the model ran.

    Raises:
        UnsupportedModelError: they differ by more than rounding.
    """
    if implementation != "sdpa" or not is_transformers_own(implementation):
        return
    for call in calls:
        wide = torch.promote_types(call.query.dtype, torch.float32)
        mask = _additive(call, wide)
        try:
            with torch.no_grad():
                ours = call.attend(
                    call.module, call.query.to(wide), call.key.to(wide), call.value.to(wide), mask,
                    scaling=call.scaling, dropout=0.0, **call.options,
                )[0]  # fmt: skip
        except (RuntimeError, TypeError, ValueError, UnsupportedModelError):
            ours = torch.full_like(call.output, torch.nan, dtype=wide)
        theirs = call.output.to(wide).reshape(ours.shape)
        eps = torch.finfo(call.query.dtype).eps
        if not (ours - theirs).norm() <= max(1e-4, 4 * eps) * theirs.norm():
            raise UnsupportedModelError(
                f"The attention function {implementation!r} that this model runs gives something "
                f"else than the eager attention of {type(call.module).__name__}, so that its "
                "weights cannot be derived. To trace the model with its own attention, call "
                'model.set_attn_implementation("eager") first.'
            )


def _additive(call: AttentionCall, dtype: torch.dtype) -> Tensor:
    """What a mask adds to the scores: (1, 1 or n_heads, T, T)."""
    n_tokens, n_sources = call.query.shape[2], call.key.shape[2]
    mask = call.mask
    if mask is None:
        seen = torch.ones(n_tokens, n_sources, dtype=torch.bool, device=call.query.device)
        told = call.options.get("is_causal")
        if getattr(call.module, "is_causal", True) if told is None else told:
            seen = seen.tril(n_sources - n_tokens)
        mask = seen[None, None]
    if mask.dtype != torch.bool:
        return mask.to(dtype)
    lowest = torch.finfo(dtype).min
    return torch.zeros_like(mask, dtype=dtype).masked_fill(~mask, lowest)
