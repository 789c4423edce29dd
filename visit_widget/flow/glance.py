"""A pass at a glance: what the stream says after each layer, and how likely it makes a token.

What is needed of a pass for that is a few vectors, so many passes can be kept so.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..lens import Lens
from ..trace import Trace
from ..trace.target import Followed
from .target import name_of, standings_of


def streams_of(trace: Trace, position: int) -> Tensor:
    """The stream at a position before the first block and after each: (n_layers + 1, d_model), a
    copy that holds nothing else of the pass.

    Args:
        trace: the traced pass.
        position: from 0.
    """
    streams = [trace.residual(0, "pre"), *(trace.residual(n) for n in range(trace.n_layers))]
    return torch.stack([stream[position] for stream in streams]).clone()


def glance(
    trace: Trace, lens: Lens, streams: Tensor, target: Followed | None = None
) -> dict[str, Any]:
    """A pass as plain data.

    Args:
        trace: any of the model, whose tokens these are.
        lens: reads the streams.
        streams: (n_layers + 1, d_model), as `streams_of` gives them.
        target: what is followed; the model's first choice by default.

    Returns:
        "first": what the model says, {id, text, probability}. "target": {id, text} of what is
        followed, "probability" and "rank" what the model gives it; None of a direction, which has
        neither. "words": [[layer, text]] that the stream says by the lens, each from the layer
        after which it does so on; −1 before the first. "settled": the layer of the last of them.
        "probabilities" and "ranks": n_layers + 1 of the target by the lens, None where it has none.
    """
    n_layers = len(streams) - 1
    streams = streams.to(lens.device)
    said = lens.readout.logits(streams[-1])
    first = int(said.argmax())
    target = target or Followed("token", (first,), (1.0,))
    read = lens.project(
        streams, 1, targets=target.ids,
        layer=[0, *range(n_layers)], site=["pre", *["post"] * n_layers],
    )  # fmt: skip
    ids = read.top_ids[:, 0].tolist()
    starts = [n for n, token in enumerate(ids) if n == 0 or token != ids[n - 1]]
    named = [first, *target.ids, *(ids[n] for n in starts)]
    texts = dict(zip(named, trace.texts(named), strict=True))
    stands, _ = standings_of(read, target, None)
    mine = said[list(target.ids)]
    own = [texts[i] for i in target.ids]
    name = own[0] if target.kind == "token" else name_of(target, own)
    return {
        "first": {"id": first, "text": texts[first], "probability": _chance(said[[first]], said)},
        "target": {"id": target.key, "text": name},
        "probability": _chance(mine, said) if target.ids else None,
        "rank": int((said > mine.max()).sum()) + 1 if target.ids else None,
        "words": [[n - 1, texts[ids[n]]] for n in starts],
        "settled": starts[-1] - 1,
        "probabilities": [None if s is None else s["probability"] for s in stands],
        "ranks": [None if s is None else s["rank"] for s in stands],
    }


def _chance(some: Tensor, logits: Tensor) -> float:
    """That one of some tokens is said."""
    return float((some.logsumexp(-1) - logits.logsumexp(-1)).exp())
