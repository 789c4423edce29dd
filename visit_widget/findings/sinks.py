"""Where attention is parked, and which tokens have a stream far longer than all others."""

from __future__ import annotations

import torch

from ..trace import Trace
from .results import Row

# Times the median length of the other tokens' streams.
OUTLIER = 4.0
# Mean weight from the queries after it with which a head counts as parked at a token.
PARKED = 0.5


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
    n_tokens = len(trace)
    for layer in range(trace.n_layers):
        norms = trace.residual(layer, "pre").norm(dim=-1)
        weights = None
        if trace.attends(layer):
            weights = torch.stack([trace.attention(layer, i) for i in range(n_tokens)])
        for at in range(n_tokens):
            others = torch.cat([norms[:at], norms[at + 1 :]])
            ratio = float(norms[at] / others.median()) if n_tokens > 1 else 1.0
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
