"""What each measure says of edges: of what one part writes, as one reader of the stream reads it.

A reader is a layer's queries, keys and values together, an MLP, or the logits. In a model without
norms a derivative at the stream before a sublayer is that after it plus what comes back through the
sublayer: so the reader's own is their difference, and an edge is worth what was written along it.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor

import visit_widget as vw
from visit_widget.flow.stage import Stage
from visit_widget.flow.walk import Walk
from visit_widget.trace.effect import Everywhere
from visit_widget.trace.logit import logit_direction
from visit_widget.trace.target import followed

from .circuit_scores import (
    EVERYTHING,
    effect_slopes,
    linear_slopes,
    logit_slopes,
    node_names,
    slopes_along,
    writes,
)

Edge = tuple[str, str]


def edge_scores(
    trace: vw.Trace, other: vw.Trace, edges: Sequence[Edge], target: Any, foil: Any = None
) -> dict[str, Tensor]:
    """{measure: (len(edges),)} of a model without norms; arguments as `node_scores`."""
    told = followed(trace, target)
    against = None if foil is None else followed(trace, foil)
    own, theirs = _written(trace), _written(other)
    changed = {name: own[name] - theirs[name] for name in own}
    effect, linear = (find(trace, told, against) for find in (effect_slopes, linear_slopes))
    along = slopes_along(trace, other, told, against)
    return {
        "logit": _read(own, edges, logit_slopes(trace, told, against)),
        "logit, contrast": _read(changed, edges, logit_slopes(trace, told, against)),
        "proximity": _proximity(trace, edges, told, against),
        "linear": _read(own, edges, linear),
        "linear, contrast": _read(changed, edges, linear),
        "effect, of zero": _read(own, edges, effect),
        "effect": _read(changed, edges, effect),
        "effect, integrated": _read(changed, edges, along),
        "measured": _measured(trace, edges, changed, told.ids[0], against),
        "measured, of zero": _measured(trace, edges, own, told.ids[0], against),
    }


def _written(trace: vw.Trace) -> dict[str, Tensor]:
    """{node, or "embed": (T, d_model)} what is added to the stream."""
    found = dict(zip(node_names(trace), writes(trace), strict=True))
    return {"embed": trace.residual(0, "pre"), **found}


def _read(written: dict[str, Tensor], edges: Sequence[Edge], slopes: Everywhere) -> Tensor:
    n_tokens, n_layers = len(written["embed"]), 1 + max(n for n, _ in slopes.streams)
    every = range(n_tokens)

    def reading(reader: str) -> Tensor:
        if reader == "logits":
            return slopes.at(n_layers - 1, "post", every)
        layer_name, part = reader.split(".")
        layer = int(layer_name[1:])
        mid = slopes.at(layer, "mid", every)
        if part == "attn":
            return slopes.at(layer, "pre", every) - mid
        return mid - slopes.at(layer, "post", every)

    by = {reader: reading(reader).double() for _, reader in edges}
    return torch.stack([(written[w].double() * by[r]).sum() for w, r in edges])


def _proximity(trace: vw.Trace, edges: Sequence[Edge], target: Any, foil: Any) -> Tensor:
    """The influence that each reader hands on, in routes by proximity, to what wrote the streams
    that it reads.
    """
    last = len(trace) - 1
    carried = {"logits": torch.zeros(len(trace), dtype=torch.float64)}
    carried["logits"][last] = 1.0
    found: dict[Edge, float] = {}
    read, reader, handed = logit_direction(trace, target, foil, last), "", torch.zeros(0)
    for stage in Walk(trace, read, last, EVERYTHING, "proximity"):
        shares, handed_here = _shares(trace, stage)
        if reader:
            carried[reader] = handed
        for name, amount in carried.items():
            for writer, share in shares.items():
                found[writer, name] = float((amount * share).sum())
            carried[name] = amount * shares["stream"]
        reader = f"L{stage.layer}.{'attn' if stage.name == 'mid' else 'mlp'}"
        handed = handed_here
    carried[reader] = handed
    found |= {("embed", name): float(amount.sum()) for name, amount in carried.items()}
    return torch.tensor([found.get(e, 0.0) for e in edges], dtype=torch.float64)


def _shares(trace: vw.Trace, stage: Stage) -> tuple[dict[str, Tensor], Tensor]:
    """{writer, or "stream" for the stream before: (T,) what it is of each stream of a stage}, and
    (T,) what the sublayer hands on to the streams that it reads.
    """
    whole, handed = (torch.zeros(len(trace), dtype=torch.float64) for _ in range(2))
    whole[stage.positions] = stage.influence.double()
    whole[whole == 0] = 1.0
    found: dict[str, Tensor] = {}
    for single in stage.singles:
        share = torch.zeros_like(whole)
        share[stage.positions] = single.influence.double()
        if single.name == "mlp":
            handed += share
        name = "stream" if single.name == "residual" else f"L{stage.layer}.{single.name}"
        found[name] = share / whole
    if stage.memories is not None:
        parts = stage.memories
        at, brought = torch.tensor(stage.positions)[parts.rows], parts.influence.double()
        handed.index_add_(0, parts.sources, brought)
        for head in range(trace.n_heads):
            own = parts.heads == head
            share = torch.zeros_like(whole).index_add_(0, at[own], brought[own])
            found[f"L{stage.layer}.H{head}"] = share / whole
    return found, handed


@torch.no_grad()
def _measured(
    trace: vw.Trace, edges: Sequence[Edge], gone: dict[str, Tensor], target: int, foil: Any
) -> Tensor:
    """By how much the logit falls where one reader misses one writer, by hooks on a GPT-2."""
    body = trace.model.transformer
    places: dict[str, Any] = {"logits": body.ln_f}
    for n, block in enumerate(body.h):
        places |= {f"L{n}.attn": block.ln_1, f"L{n}.mlp": block.ln_2}
    missing = torch.stack([gone[writer] for writer, _ in edges])
    with ExitStack() as stack:
        for reader in {r for _, r in edges}:
            mine = torch.tensor([r == reader for _, r in edges])[:, None, None]

            def take(_m: Any, _a: Any, out: Tensor, mine: Tensor = mine) -> Tensor:
                return out - missing.to(out) * mine

            stack.callback(places[reader].register_forward_hook(take).remove)
        without = trace.model(trace.input_ids.expand(len(edges), -1)).logits[:, -1].double()
    lost = trace.logits().double() - without
    return lost[:, target] if foil is None else lost[:, target] - lost[:, foil.ids[0]]
