"""What a part is of its whole, by each measure; docs/measures.md has the formulas."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..trace.attention import AttentionRows
from ..trace.summands import Summands


@dataclass(frozen=True)
class Along:
    """How the followed logit hangs on what is in one stream.

    Attributes:
        logit: (d_model,) by itself, norms on the way frozen.
        effect: (d_model,) to first order, everything later reacting; None where no effects were
            asked for.
    """

    logit: Tensor
    effect: Tensor | None = None


def measures(
    parts: Tensor, wholes: Tensor, of: Tensor, along: Sequence[Along]
) -> dict[str, Tensor]:
    """Every measure of the parts of several wholes, (n,) each; without effects where none were
    asked for.

    Args:
        parts: (n, d_model).
        wholes: (m, d_model).
        of: (n,) which whole each part is of.
        along: how the followed logit hangs on what is in each whole's stream.
    """
    tiny = torch.finfo(wholes.dtype).tiny
    own, ways = wholes[of], torch.stack([a.logit for a in along])
    near = nearness(parts, own)
    total = near.new_zeros(len(wholes)).index_add_(0, of, near).clamp_min(tiny)
    found = {
        "share": _dot(parts, own) / _dot(wholes, wholes).clamp_min(tiny)[of],
        "logit": _dot(parts, ways[of]),
        "norm": parts.norm(dim=-1),
        "proximity": near / total[of],
    }
    if all(a.effect is not None for a in along):
        effects = torch.stack([a.effect for a in along if a.effect is not None])
        found["effect"] = _dot(parts, effects[of])
    return found


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return torch.einsum("nd,nd->n", a, b)


def measure(name: str, parts: Summands, whole: Tensor, along: Along) -> Tensor:
    """(n,) one measure of n parts of a whole (d_model,).

    Proximity is Ferrando & Voita's (2024): max(‖w‖₁ − ‖w − p‖₁, 0), normalised to sum to 1 over
    these parts.
    """
    tiny = torch.finfo(whole.dtype).tiny
    if name == "share":
        return parts.along(whole) / (whole @ whole).clamp_min(tiny)
    if name == "logit":
        return parts.along(along.logit)
    if name == "effect":
        assert along.effect is not None
        return parts.along(along.effect)
    if name == "norm":
        return parts.lengths()
    near = nearness(parts.every(), whole)
    return near / near.sum().clamp_min(tiny)


def fractions(
    name: str, wholes: Tensor, parts: Sequence[Tensor], rows: AttentionRows | None
) -> Tensor:
    """What each part is of its whole, so that the parts of a whole sum to 1.

    Shares are that by themselves, logits and effects are split by share, lengths and
    proximities are divided by their sum; where every proximity is 0, lengths stand in.

    Args:
        name: the measure, of `elements.ROUTE_MEASURES`.
        wholes: (n, d_model).
        parts: (n, d_model) each.
        rows: the (head, source) parts of the same n wholes.

    Returns:
        (n, parts), the (head, source) parts last, flattened.
    """
    stacked = torch.stack(list(parts), 1)
    if name in ("share", "logit", "effect", "linear"):
        values = torch.einsum("nkd,nd->nk", stacked, wholes)
        more = None if rows is None else rows.along(rows.reading(wholes))
        return _joined(values, more) / _nonzero(wholes.square().sum(-1, keepdim=True))
    lengths = _joined(stacked.norm(dim=-1), None if rows is None else rows.lengths())
    by_length = lengths / _nonzero(lengths.sum(-1, keepdim=True))
    if name == "norm":
        return by_length
    more = None if rows is None else _nearness_of_memories(rows, wholes)
    near = _joined(nearness(stacked, wholes[:, None]), more)
    total = near.sum(-1, keepdim=True)
    # Where parts all but cancel, none may bring anything nearer.
    return torch.where(total > 0, near / _nonzero(total), by_length)


def _joined(values: Tensor, more: Tensor | None) -> Tensor:
    return values if more is None else torch.cat([values, more.flatten(1)], -1)


def _nonzero(total: Tensor) -> Tensor:
    return total.clamp_min(torch.finfo(total.dtype).tiny)


def nearness(parts: Tensor, wholes: Tensor) -> Tensor:
    """max(‖w‖₁ − ‖w − p‖₁, 0) over the last dimension."""
    return (wholes.abs().sum(-1) - (wholes - parts).abs().sum(-1)).clamp_min(0)


def _nearness_of_memories(rows: AttentionRows, wholes: Tensor) -> Tensor:
    """(n, n_heads, T), one position and head at a time: all parts at once would be T² · n_heads ·
    d_model numbers.
    """
    found = torch.zeros_like(rows.weights)
    for row, head in (rows.weights != 0).any(-1).nonzero().tolist():
        sources = rows.weights[row, head].nonzero()[:, 0]
        parts = rows.parts(torch.full_like(sources, row), torch.full_like(sources, head), sources)
        found[row, head, sources] = nearness(parts, wholes[row])
    return found
