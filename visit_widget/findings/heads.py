"""What a head says, and what is left of it downstream."""

from __future__ import annotations

from ..trace import Trace
from .reading import K, Tops, has_places, in_own_place, overlap
from .results import Row


def head_overlap(trace: Trace, k: int = K, position: int = -1) -> list[Row]:
    """How much of what each head says is in what attention, the block and the model say.

        I_k(A_j W_O[j], attention),  I_k(A_j W_O[j], block),  I_k(A_j W_O[j], final)

    and the same of A_j itself, read directly: the mix of values at its head's place among the
    flattened heads, zero elsewhere. That is defined where these are as wide as the stream.

    Source: Katz & Belinkov (2023), arXiv 2305.13417.

    Args:
        trace: of a prompt.
        k: how many tokens are compared.
        position: where.

    Returns:
        A row for each layer, head and way: `layer`, `head`, `via` ("W_O" or "direct"), `norm` of
        what the head adds to the stream, `norm_rank` (1 for the longest of its layer),
        `attention`, `block`, `final` (I_k).
    """
    tops, rows = Tops(trace, k), list[Row]()
    final = tops.put(trace.residual(trace.n_layers - 1)[position])
    layers = []
    for layer in filter(trace.attends, range(trace.n_layers)):
        found = trace.attention_row(layer, position)
        n_heads, width = found.mixed.shape
        wholes = {
            "attention": tops.put(trace.attention_output(layer, position)),
            "block": tops.put(trace.residual(layer)[position]),
            "final": final,
        }
        ways = {"W_O": tops.put(found.heads)}
        if has_places(trace, n_heads, width):
            heads = list(range(n_heads))
            ways["direct"] = tops.put(in_own_place(trace, found.mixed, heads, n_heads), heads)
        layers.append((layer, found.heads.norm(dim=-1), wholes, ways))
    for layer, norms, wholes, ways in layers:
        ranks = (norms.argsort(descending=True).argsort() + 1).tolist()
        for via, place in ways.items():
            mine = tops.at(place)
            shared = {name: overlap(mine, tops.at(w)).tolist() for name, w in wholes.items()}
            for head, norm in enumerate(norms.tolist()):
                rows.append(
                    {
                        "layer": layer, "head": head, "via": via, "norm": norm,
                        "norm_rank": ranks[head],
                        **{name: numbers[head] for name, numbers in shared.items()},
                    }
                )  # fmt: skip
    return rows
