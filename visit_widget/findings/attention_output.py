"""What attention says, beside the stream around it."""

from __future__ import annotations

import torch

from ..trace import Trace
from .reading import K, overlap, top_tokens
from .results import Row


def attention_overlap(trace: Trace, k: int = K, position: int = -1) -> list[Row]:
    """How much of what attention says was in the stream before it, and is in what comes after.

        I_k(attention_l, x)    x: the stream before block l (`residual`) and before block l − 1
        (`previous_residual`), the stream after block l (`block`), attention_{l−1}
        (`previous_attention`)

    Source: Katz & Belinkov (2023), arXiv 2305.13417.

    Args:
        trace: of a prompt.
        k: how many tokens are compared.
        position: where.

    Returns:
        A row for each layer with attention: `layer`, `norm` of what it adds, and the four I_k, None
        where there is no layer before.
    """
    layers = [n for n in range(trace.n_layers) if trace.attends(n)]
    vectors = {("attention", n): trace.attention_output(n, position) for n in layers}
    for n in range(trace.n_layers):
        vectors["pre", n] = trace.residual(n, "pre")[position]
    vectors["pre", trace.n_layers] = trace.residual(trace.n_layers - 1)[position]
    tops = dict(
        zip(vectors, top_tokens(trace, torch.stack(list(vectors.values())), k), strict=True)
    )
    rows: list[Row] = []
    for n in layers:
        row: Row = {"layer": n, "norm": float(vectors["attention", n].norm())}
        others = {
            "residual": ("pre", n), "previous_residual": ("pre", n - 1), "block": ("pre", n + 1),
            "previous_attention": ("attention", n - 1),
        }  # fmt: skip
        for name, other in others.items():
            known = other in tops
            row[name] = float(overlap(tops["attention", n], tops[other])) if known else None
        rows.append(row)
    return rows
