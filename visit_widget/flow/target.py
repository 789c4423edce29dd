"""What a graph says of its target and foil, and where they stand in a projection.

Of one token that is its own probability and rank. Of several it is the probability that any of them
is said, the sum of theirs, and the best of their ranks. A direction has neither.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ..lens import Projection
from ..trace import Trace
from ..trace.logit import logit_value
from ..trace.target import Followed

N_NAMED = 3

Standing = dict[str, Any] | None


def told(trace: Trace, target: Followed, said: Tensor, position: int) -> dict[str, Any]:
    """A target of several tokens, or a direction, as a graph has it.

    Args:
        trace: the traced pass.
        target: not one token alone.
        said: (n_vocab,) the model's logits at the focus.
        position: the focus.
    """
    texts = trace.texts(target.ids)
    about = {"id": target.key, "text": name_of(target, texts), "combine": target.kind}
    columns = zip(target.ids, texts, target.weights, strict=True)
    tokens = [{"id": i, "text": t, "weight": w} for i, t, w in columns]
    if target.kind == "direction":
        value = logit_value(trace, target, position)
        return {**about, "logit": value, "probability": None, "rank": None, "tokens": tokens}
    logits = said[list(target.ids)]
    if target.kind == "mean":
        value = float(logits @ logits.new_tensor(target.weights))
    else:
        value = float(logits.logsumexp(-1))
    probability = float((logits.logsumexp(-1) - said.logsumexp(-1)).exp())
    rank = int((said > logits.max()).sum()) + 1
    return {**about, "logit": value, "probability": probability, "rank": rank, "tokens": tokens}


def name_of(target: Followed, texts: list[str]) -> str:
    """What a target of several tokens, or a direction, is called."""
    if target.kind == "direction":
        return target.name
    shown = texts if len(texts) <= N_NAMED + 1 else [*texts[:N_NAMED], "…"]
    more = f" ({len(texts)} tokens)" if len(shown) < len(texts) else ""
    word = "any of" if target.kind == "logsumexp" else "mean of"
    return f"{word} {', '.join(shown)}{more}"


def standings_of(
    projection: Projection, target: Followed, foil: Followed | None
) -> tuple[list[Standing], list[Standing]]:
    """Where target and foil stand in each vector's own projection: {"probability", "rank"}, None
    where there is nothing to stand.

    Args:
        projection: with the target's tokens, then the foil's, as its targets.
        target: what the graph follows.
        foil: what it is compared against.
    """
    n = len(target.ids)
    n_foil = 0 if foil is None else len(foil.ids)
    return _standings(projection, 0, n), _standings(projection, n, n + n_foil)


def _standings(projection: Projection, start: int, end: int) -> list[Standing]:
    if start == end:
        return [None] * len(projection.top_ids)
    probabilities = numbers(projection.target_probabilities[:, start:end].sum(-1))
    ranks = projection.target_ranks[:, start:end].amin(-1).tolist()
    return [
        {"probability": p, "rank": r} if r else None
        for p, r in zip(probabilities, ranks, strict=True)
    ]


def numbers(values: Tensor) -> list[Any]:
    """A tensor, (n,) or (n, m), as lists of numbers, None in the place of NaN."""
    missing = values.isnan()
    if not bool(missing.any()):
        return values.tolist()

    rows = values.tolist()
    if values.ndim == 1:
        return [_or_none(value) for value in rows]
    return [[_or_none(value) for value in row] for row in rows]


def _or_none(value: float) -> float | None:
    return value if value == value else None
