"""What heads keep of earlier tokens, and whether they still say these."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..trace import Trace
from .reading import K, Tops, logit_lens, overlap
from .results import Row


def memory_values(trace: Trace, k: int = K, n_sources: int = 5, position: int = -1) -> list[Row]:
    """How much of a memory value is in its head's output, and of its token in the value.

        I_k(v_j W_O[h], A_h W_O[h])        p(token j | v_j W_O[h])

    for the sources j that a head looks at most. Values are read whatever the attention to them:
    it would only change their length.

    Source: Katz & Belinkov (2023), arXiv 2305.13417.

    Args:
        trace: of a prompt.
        k: how many tokens are compared.
        n_sources: of each head so many sources, by attention.
        position: whose heads.

    Returns:
        A row for each layer, head and source: `layer`, `head`, `source`, `rank` (1 for the one
        most looked at), `attention`, `overlap` (I_k with the head's output), `token_probability`
        and `token_rank` of the source's own token in its value.
    """
    at, ids = trace.position(position), trace.input_ids.tolist()
    tops, layers, vectors, sources = Tops(trace, k), list[Any](), list[Tensor](), list[int]()
    for layer in filter(trace.attends, range(trace.n_layers)):
        found = trace.attention_row(layer, at)
        order = found.weights[:, : at + 1].argsort(dim=-1, descending=True, stable=True)
        chosen = order[:, :n_sources]
        heads = torch.arange(len(chosen), device=chosen.device)[:, None]
        mixed = torch.einsum("hsv,hvd->hsd", found.values[heads, chosen], found.matrix)
        vectors.append(found.outlet.to_stream(mixed).flatten(0, 1))
        layers.append((layer, chosen, found.weights[heads, chosen], tops.put(found.heads)))
        sources += chosen.flatten().tolist()
    if not layers:
        return []
    say, probabilities, ranks = _said(trace, torch.cat(vectors), [ids[s] for s in sources], k)
    rows: list[Row] = []
    for layer, chosen, weights, place in layers:
        heads_say = tops.at(place).repeat_interleave(chosen.shape[1], 0)
        values_say = say[len(rows) : len(rows) + chosen.numel()]
        shared = overlap(values_say, heads_say).tolist()
        for n, (source, weight) in enumerate(
            zip(chosen.flatten().tolist(), weights.flatten().tolist(), strict=True)
        ):
            at_row = len(rows)
            rows.append(
                {
                    "layer": layer, "head": n // chosen.shape[1], "source": source,
                    "rank": n % chosen.shape[1] + 1, "attention": weight, "overlap": shared[n],
                    "token_probability": float(probabilities[at_row]),
                    "token_rank": int(ranks[at_row]),
                }
            )  # fmt: skip
    return rows


def _said(
    trace: Trace, vectors: Tensor, tokens: list[int], k: int
) -> tuple[Tensor, Tensor, Tensor]:
    """What n vectors say: (n, k) top tokens, and (n,) the probability and the rank of each one's
    own token. Those of one token are read together, for ranks take a walk over the vocabulary each.
    """
    own, lens = torch.tensor(tokens, device=vectors.device), logit_lens(trace)
    pieces, numbers = [], []
    for token in own.unique().tolist():
        numbers.append((own == token).nonzero()[:, 0])
        pieces.append(lens.project(vectors[numbers[-1]], k, targets=[token]))
    order = torch.cat(numbers).argsort()
    columns = zip(
        *((p.top_ids, p.target_probabilities[:, 0], p.target_ranks[:, 0]) for p in pieces),
        strict=True,
    )
    say, probabilities, ranks = (torch.cat(column)[order] for column in columns)
    return say, probabilities, ranks
