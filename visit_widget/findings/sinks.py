"""Where attention is parked, and which tokens have a stream far longer than all others."""

from __future__ import annotations

import torch
from torch import Tensor

from ..trace import Trace
from ..trace.attention import attention_rows
from .results import Row

# Times the median length of the other tokens' streams.
OUTLIER = 4.0
# Mean weight from the queries after it with which a head counts as parked at a token.
PARKED = 0.5
# Rows of attention that `parked_tokens` takes, and those that a token needs after it.
N_ROWS, N_AFTER = 64, 3


def attention_sinks(trace: Trace, outlier: float = OUTLIER, parked: float = PARKED) -> list[Row]:
    """The length of each token's stream beside the others', and the attention that it gets.

        ratio = ‖x_j‖ / median_{i≠j} ‖x_i‖
        attention_j = mean over heads and i > j of α[h, i, j]

    Streams are those before the block. Tokens of an outlying length are the language models' side
    of what Darcet et al. (2023), "Vision Transformers Need Registers", arXiv 2309.16588, found in
    images; Sun et al. (2024), "Massive Activations in Large Language Models", arXiv 2402.17762,
    describe them, and Xiao et al. (2023), "Efficient Streaming Language Models with Attention
    Sinks", arXiv 2309.17453, the attention that goes there.

    Args:
        trace: of a prompt of two tokens or more.
        outlier: from what ratio a token counts as an outlier.
        parked: from what mean weight a head counts as parked there.

    Returns:
        A row for each layer and position: `layer`, `position`, `token`, `norm`, `ratio`, `outlier`,
        `attention` (None of the last token, and of layers without attention), `heads` (those that
        are parked there).
    """
    rows: list[Row] = []
    n_tokens, ratios = len(trace), stream_ratios(trace)
    for layer in range(trace.n_layers):
        norms = trace.residual(layer, "pre").norm(dim=-1)
        weights = None
        if trace.attends(layer):
            weights = torch.stack([trace.attention(layer, i) for i in range(n_tokens)])
        for at in range(n_tokens):
            ratio = float(ratios[layer, at])
            heads, mean = list[int](), None
            if weights is not None and at + 1 < n_tokens:
                by_head = weights[at + 1 :, :, at].mean(0)
                mean = float(by_head.mean())
                heads = (by_head >= parked).nonzero()[:, 0].tolist()
            rows.append(
                {
                    "layer": layer, "position": at, "token": trace.tokens[at],
                    "norm": float(norms[at]), "ratio": ratio, "outlier": ratio >= outlier,
                    "attention": mean, "heads": heads,
                }
            )  # fmt: skip
    return rows


def stream_ratios(trace: Trace) -> Tensor:
    """(n_layers, T) how long each token's stream before a block is, beside the median of the
    others'; 1 where there are no others.
    """
    norms = torch.stack([trace.residual(n, "pre").norm(dim=-1) for n in range(trace.n_layers)])
    count = len(trace)
    if count < 2:
        return torch.ones_like(norms)
    ordered, order = norms.sort(dim=-1)
    ranks = order.argsort(-1)
    middle = (count - 2) // 2  # of the others
    others = torch.where(ranks <= middle, ordered[:, middle + 1, None], ordered[:, middle, None])
    return norms / others.clamp_min(1e-30)


def parked_tokens(trace: Trace) -> list[Row]:
    """Tokens that later ones give half of all attention of a layer, in its strongest layer.

    Of a long prompt some rows of attention are taken, evenly spaced.

    Returns:
        A row for each such token: `position`, `layer`, `attention` (the mean over heads and later
        rows), `heads` (how many of them are parked there), `of` (heads in all).
    """
    count = len(trace)
    step = -(-count // N_ROWS)
    rows = list(range(count - 1, -1, -step))[::-1]
    after = torch.tensor([sum(r > at for r in rows) for at in range(count)], device=trace.device)
    later = torch.tensor(rows, device=trace.device)[:, None] > torch.arange(
        count, device=trace.device
    )
    best: dict[int, Row] = {}
    for layer in filter(trace.attends, range(trace.n_layers)):
        weights = attention_rows(trace, layer, rows).weights.transpose(0, 1)
        by_head = (weights * later).sum(1) / after.clamp_min(1)
        mean = by_head.mean(0)
        for at in ((mean >= PARKED) & (after >= N_AFTER)).nonzero()[:, 0].tolist():
            attention = float(mean[at])
            if at not in best or attention > best[at]["attention"]:
                heads = int((by_head[:, at] >= PARKED).sum())
                best[at] = {
                    "position": at, "layer": layer, "attention": attention, "heads": heads,
                    "of": len(by_head),
                }  # fmt: skip
    return [best[at] for at in sorted(best)]
