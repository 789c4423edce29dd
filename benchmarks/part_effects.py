"""What effects say of heads, MLPs and neurons: to first order, everything later reacting."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

import visit_widget as vw
from visit_widget.trace.attention import attention_rows
from visit_widget.trace.effect import effects_everywhere
from visit_widget.trace.target import followed

# Of each layer: the longest at the last position, and some at random.
N_LONGEST, N_RANDOM = 5, 5


def some_neurons(trace: vw.Trace, seed: int = 0) -> list[tuple[int, int]]:
    """(layer, number) of neurons to be ablated, each once."""
    random = torch.Generator().manual_seed(seed)
    found: dict[tuple[int, int], None] = {}
    for layer in range(trace.n_layers):
        lengths = trace.mlp_row(layer, -1).parts().norm(dim=-1)
        picked = lengths.topk(N_LONGEST).indices.tolist()
        picked += torch.randint(len(lengths), (N_RANDOM,), generator=random).tolist()
        found.update(dict.fromkeys((layer, n) for n in picked))
    return list(found)


def effects_of(
    trace: vw.Trace,
    neurons: Sequence[tuple[int, int]],
    target: Any,
    foil: Any = None,
    gradients: Any = None,
) -> dict[str, Tensor]:
    """{"heads", "mlps", "neurons": (n, T)} the effect of each part at each position.

    Args:
        trace: the traced pass.
        neurons: which.
        target, foil: as everywhere.
        gradients: others than those of the pass itself.
    """
    if gradients is None:
        other = None if foil is None else followed(trace, foil)
        gradients = effects_everywhere(trace, followed(trace, target), other, len(trace) - 1)
    every = list(range(len(trace)))
    heads, mlps, units = [], [], []
    for layer in range(trace.n_layers):
        rows = attention_rows(trace, layer, every)
        slope = gradients.at(layer, "mid", every)
        heads.append(rows.along(rows.reading(slope)).sum(-1).T)
        slope = gradients.at(layer, "post", every)
        parts = [trace.mlp_row(layer, i) for i in every]
        mlps.append(torch.stack([row.total @ g for row, g in zip(parts, slope, strict=True)]))
        own = [n for where, n in neurons if where == layer]
        along = [row.along(g)[own] for row, g in zip(parts, slope, strict=True)]
        units.append(torch.stack(along, 1))
    return {
        "heads": torch.cat(heads).double(),
        "mlps": torch.stack(mlps).double(),
        "neurons": torch.cat(units).double(),
    }


def said_of(
    trace: vw.Trace, neurons: Sequence[tuple[int, int]], target: int, foil: int
) -> dict[str, dict[str, Tensor]]:
    """{kind: {"effect: last", "effect: all", and both with "− foil": (n,)}}."""
    found: dict[str, dict[str, Tensor]] = {}
    for name, other in (("", None), (", − foil", foil)):
        for kind, effects in effects_of(trace, neurons, target, other).items():
            own = found.setdefault(kind, {})
            own[f"effect: last{name}"] = effects[:, -1]
            own[f"effect: all{name}"] = effects.sum(1)
    return found
