"""The norms before the sublayers as semantic filters."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from ..lens.ranking import above, largest, smallest
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
    places, vectors = [], []
    for layer, name, norm, stream in _norms(trace, position):
        random = noise(trace.d_model, seed=own + layer).to(stream)
        random = random * (stream.norm() / random.norm())
        before = torch.stack([stream, random])
        places.append((layer, name))
        vectors.append(torch.stack([before, norm(before)], 1))
    # (norms · vectors, before and after, d_model); some norms at a time are read together.
    every = torch.cat(vectors) if vectors else torch.zeros(0, 2, trace.d_model)
    at_once = max(2, lens.memory // (8 * trace.n_vocab * every.element_size()))
    for final_norm in (True, False):
        changes: list[dict[str, Any]] = []
        for some in every.split(at_once):
            logits = lens.logits(some) if final_norm else raw_logits(trace, some.flatten(0, 1))
            changes += _changes(trace, logits.view(len(some), 2, -1), target, k, n_tokens)
        for n, change in enumerate(changes):
            layer, name = places[n // 2]
            vector = ("stream", "random")[n % 2]
            row = {"layer": layer, "norm": name, "final_norm": final_norm, "vector": vector}
            rows.append({**row, **change})
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


def _changes(
    trace: Trace, logits: Tensor, target: int, k: int, n_tokens: int
) -> list[dict[str, Any]]:
    """What changes between two readings, for each of (n, 2, n_vocab) logits."""
    flat = logits.flatten(0, 1)
    tops = largest(flat, min(k, flat.shape[-1]))[1].unflatten(0, (-1, 2))
    ranks = above(flat, flat[:, target]).unflatten(0, (-1, 2)) + 1
    chances = logits.softmax(-1)
    said = chances[..., target].tolist()
    change = chances[:, 1] - chances[:, 0]
    lost, gained = smallest(change, n_tokens), largest(change, n_tokens)
    shared, moved = overlap(tops[:, 0], tops[:, 1]), change.abs().sum(-1) / 2
    return [
        {
            "overlap": float(shared[n]),
            "moved": float(moved[n]),
            "target_before": said[n][0],
            "target_after": said[n][1],
            "target_rank_before": int(ranks[n, 0]),
            "target_rank_after": int(ranks[n, 1]),
            "losers": trace.texts(lost[1][n].tolist()),
            "losers_change": lost[0][n].tolist(),
            "winners": trace.texts(gained[1][n].tolist()),
            "winners_change": gained[0][n].tolist(),
        }
        for n in range(len(logits))
    ]
