"""What each measure says of the heads and MLPs of one pass, all positions summed.

Contrasts look at a second prompt too: at what a part is here less what it is there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

import visit_widget as vw
from visit_widget.flow.walk import Walk
from visit_widget.trace.effect import Everywhere, effects_everywhere
from visit_widget.trace.logit import logit_direction, logit_slope
from visit_widget.trace.tape import Place, Tape
from visit_widget.trace.target import Followed, followed

# Along the way from the corrupted embeddings to the clean ones, in the middle of fifths.
N_POINTS = 5
EVERYTHING = vw.Keep(routes=vw.Limit())


def node_names(trace: vw.Trace) -> list[str]:
    """The ids of all heads, by layer, then of all MLPs."""
    layers = range(trace.n_layers)
    heads = [f"L{n}.H{h}" for n in layers for h in range(trace.n_heads)]
    return heads + [f"L{n}.mlp" for n in layers]


def node_scores(
    trace: vw.Trace, other: vw.Trace, target: Any, foil: Any = None, gone: bool = False
) -> dict[str, Tensor]:
    """{measure: (n_nodes,)} what is said of every head and MLP, in the order of `node_names`.

    Args:
        trace: the clean prompt's.
        other: the corrupted prompt's, as long.
        target, foil: what is followed at the last position.
        gone: whether to measure what happens without each part, too.
    """
    told = followed(trace, target)
    against = None if foil is None else followed(trace, foil)
    names = node_names(trace)
    own = writes(trace)
    changed = own - writes(other)
    direct = logit_slopes(trace, told, against)
    through = linear_slopes(trace, told, against)
    along = slopes_along(trace, other, told, against)
    found = trace.effects(names, target, foil, action=other, positions="all")
    scores = {
        "logit": _read(own, direct),
        "logit, contrast": _read(changed, direct),
        "proximity": proximity(trace, told, against),
        "linear": _read(own, through),
        "linear, contrast": _read(changed, through),
        "effect, of zero": _read(own, effect_slopes(trace, told, against)),
        "effect": _column([found[n].predicted for n in names]),
        "effect, integrated": _read(changed, along),
        "measured": _column([found[n].measured for n in names]),
    }
    if gone:
        without = trace.effects(names, target, foil, action="zero", positions="all")
        scores["measured, of zero"] = _column([without[n].measured for n in names])
    return scores


def _column(values: Sequence[float | None]) -> Tensor:
    return torch.tensor([v or 0.0 for v in values], dtype=torch.float64)


def writes(trace: vw.Trace) -> Tensor:
    """(n_nodes, T, d_model) what every head and MLP adds to the stream."""
    every = range(len(trace))
    heads = [
        torch.stack([trace.head_outputs(n, p) for p in every], 1) for n in range(trace.n_layers)
    ]
    mlps = [
        torch.stack([trace.mlp_output(n, p) for p in every])[None] for n in range(trace.n_layers)
    ]
    return torch.cat([*heads, *mlps])


def _read(parts: Tensor, slopes: Everywhere) -> Tensor:
    """(n_nodes,) parts along the slopes where they are written."""
    n_tokens = parts.shape[1]
    n_layers = 1 + max(layer for layer, _ in slopes.streams)
    n_heads = len(parts) // n_layers - 1
    every = range(n_tokens)
    mid = torch.stack([slopes.at(n, "mid", every) for n in range(n_layers)])
    post = torch.stack([slopes.at(n, "post", every) for n in range(n_layers)])
    slope = torch.cat([mid.repeat_interleave(n_heads, 0), post])
    return (parts.double() * slope.double()).sum((-1, -2))


def logit_slopes(trace: vw.Trace, target: Followed, foil: Followed | None) -> Everywhere:
    """How the logit reads the streams by itself: at the last position alone."""
    last = len(trace) - 1
    read = logit_direction(trace, target, foil, last)
    streams: dict[Place, Tensor] = {}
    for n, reading in enumerate(read.layers):
        for at, row in (("mid", reading.mid), ("post", reading.post)):
            streams[n, at] = row.new_zeros(len(trace), len(row))  # type: ignore[index]
            streams[n, at][last] = row  # type: ignore[index]
    streams[0, "pre"] = torch.zeros_like(streams[0, "mid"])
    streams[0, "pre"][last] = read.layers[0].pre
    return Everywhere(streams)


def linear_slopes(trace: vw.Trace, target: Followed, foil: Followed | None) -> Everywhere:
    """How the logit reads the streams of all positions in the linear reading."""
    last = len(trace) - 1
    read = logit_direction(trace, target, foil, last)
    streams: dict[Place, Tensor] = {}
    empty = torch.zeros(len(trace), trace.d_model, dtype=trace.dtype)
    walk = Walk(trace, read, last, EVERYTHING, "linear")
    for stage in walk:
        place: Place = stage.layer, stage.name  # type: ignore[assignment]
        streams.setdefault(place, empty.clone())[stage.positions] = stage.credit.direction
    streams[0, "pre"] = empty.clone()
    for position, (credit, _) in walk.embeddings.items():
        streams[0, "pre"][position] = credit.direction[0]
    return Everywhere(streams)


def proximity(trace: vw.Trace, target: Followed, foil: Followed | None) -> Tensor:
    """(n_nodes,) the influence of every head and MLP in routes by proximity, nothing pruned."""
    last = len(trace) - 1
    heads = torch.zeros(trace.n_layers, trace.n_heads, dtype=torch.float64)
    mlps = torch.zeros(trace.n_layers, dtype=torch.float64)
    read = logit_direction(trace, target, foil, last)
    for stage in Walk(trace, read, last, EVERYTHING, "proximity"):
        for single in stage.singles:
            if single.name == "mlp":
                mlps[stage.layer] += single.influence.sum()
        if stage.memories is not None:
            heads[stage.layer].index_add_(
                0, stage.memories.heads, stage.memories.influence.double()
            )
    return torch.cat([heads.flatten(), mlps])


def slopes_along(
    trace: vw.Trace, other: vw.Trace, target: Followed, foil: Followed | None,
    n_points: int = N_POINTS,
) -> Everywhere:  # fmt: skip
    """The mean of the derivatives at points between the embeddings of two prompts (Hanna et al.
    2024, arXiv 2403.17806: EAP-IG, its inputs integrated).
    """
    last = len(trace) - 1
    here, there = trace.residual(0, "pre"), other.residual(0, "pre")
    total: dict[Place, Tensor] = {}
    for point in range(n_points):
        share = (point + 0.5) / n_points
        rows = there + share * (here - there)
        run = trace.rerun({f"P{p}.embed": row for p, row in enumerate(rows)})
        slope = logit_slope(run, target, foil, last)
        tape = Tape(
            run.model, run.anatomy, run.input_ids, edits=run.edits, layers=run.record.layers
        )
        given = slope.new_zeros(1, last + 1, trace.d_model)
        given[0, -1] = slope
        places = [p for p in tape.streams if p == (0, "pre") or p[1] != "pre"]
        for place, found in zip(places, tape.pull(given, places), strict=True):
            total[place] = total.get(place, 0) + trace.work(found[0]) / n_points
    return Everywhere(total)


def effect_slopes(trace: vw.Trace, target: Followed, foil: Followed | None) -> Everywhere:
    """The derivatives of the pass itself."""
    return effects_everywhere(trace, target, foil, len(trace) - 1)
