"""The norms before the sublayers as semantic filters."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from ..lens.ranking import largest
from ..model.norms import Norm
from ..model.precision import noise
from ..trace import Trace
from .reading import K, logit_lens, overlap, raw_logits, target_of
from .results import Row

NORMS = ("ln1", "ln2")


def norm_filter(
    trace: Trace, k: int = K, n_tokens: int = 5, seed: int = 0, position: int = -1
) -> list[Row]:
    """What a norm before a sublayer does to each token's probability.

        Δp(t) = p(t | N x) − p(t | x)        p(· | x) = softmax(LL x), or softmax(U x + b)

    with x the stream that the norm reads: before attention (ln1) and before the MLP (ln2). LL has
    the final norm in it, computed on the vector itself, so that with it only the norm's gain, its
    bias and its centring count; without it its scale does too. The control is a random vector of
    the stream's length: what the norm does to it, it does whatever the stream says.

    Source: Katz & Belinkov (2023), arXiv 2305.13417.

    Args:
        trace: of a prompt.
        k: how many tokens are compared before and after.
        n_tokens: how many losers and winners are named.
        seed: of the random vectors.
        position: where.

    Returns:
        A row for each layer, norm, reading and vector: `layer`, `norm` ("ln1", "ln2"), `final_norm`
        (whether LL has it), `vector` ("stream", "random"), `overlap` (I_k before and after),
        `moved` (half the sum of |Δp|), `target_before`, `target_after` and the ranks
        `target_rank_before`, `target_rank_after` of the model's prediction, `losers` and `winners`
        (tokens, the largest change first), `losers_change`, `winners_change` (their Δp).
    """
    rows: list[Row] = []
    target, lens = target_of(trace, position), logit_lens(trace)
    # Other vectors for every prompt, and the same ones again for the same.
    own = zlib.crc32(repr((seed, trace.input_ids.tolist())).encode())
    for layer, name, norm, stream in _norms(trace, position):
        random = noise(trace.d_model, seed=own + layer).to(stream)
        random = random * (stream.norm() / random.norm())
        before = torch.stack([stream, random])
        both = torch.cat([before, norm(before)])
        for final_norm in (True, False):
            logits = lens.logits(both) if final_norm else raw_logits(trace, both)
            for n, vector in enumerate(("stream", "random")):
                pair = logits[[n, n + 2]]
                row = {"layer": layer, "norm": name, "final_norm": final_norm, "vector": vector}
                rows.append({**row, **_change(trace, pair, target, k, n_tokens)})
    return rows


def _norms(trace: Trace, position: int) -> Iterator[tuple[int, str, Norm, Tensor]]:
    """(layer, name, norm, the stream that it reads) of each norm before a sublayer."""
    for layer, part in enumerate(trace.anatomy.blocks):
        pre = trace.residual(layer, "pre")[position]
        first, second = trace.norm(part.attention_norm), trace.norm(part.mlp_norm)
        if first is not None:
            yield layer, "ln1", first, pre
        if second is not None:
            yield layer, "ln2", second, pre if part.parallel else trace.mid(layer, position)


def _change(trace: Trace, logits: Tensor, target: int, k: int, n_tokens: int) -> dict[str, Any]:
    """What changes between two readings, (2, n_vocab) logits."""
    chances = logits.softmax(-1)
    change = chances[1] - chances[0]
    tops = largest(logits, min(k, logits.shape[-1]))[1]
    ranks = (logits > logits[:, target, None]).sum(-1) + 1
    lost, gained = largest(-change[None], n_tokens), largest(change[None], n_tokens)
    return {
        "overlap": float(overlap(tops[0], tops[1])),
        "moved": float(change.abs().sum() / 2),
        "target_before": float(chances[0, target]),
        "target_after": float(chances[1, target]),
        "target_rank_before": int(ranks[0]),
        "target_rank_after": int(ranks[1]),
        "losers": trace.texts(lost[1][0].tolist()),
        "losers_change": (-lost[0][0]).tolist(),
        "winners": trace.texts(gained[1][0].tolist()),
        "winners_change": gained[0][0].tolist(),
    }
