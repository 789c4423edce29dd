"""What a model made of each token that came."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    from .trace import Trace


@dataclass(frozen=True)
class Step:
    """One new token, and what the model made of it before any option (temperature, penalties, a
    choice of yours) had a say.

    Attributes:
        position: the last position of the pass that said it, from 0; the token stands after it.
        token, text: the token that came.
        probability: the model's own, of that token.
        rank: 1 for the model's first choice.
        first, first_text, first_probability: what the first choice was.
        put: whether the token was put there (`Generation.branch`), not chosen by the model.
    """

    position: int
    token: int
    text: str
    probability: float
    rank: int
    first: int
    first_text: str
    first_probability: float
    put: bool = False


def step_of(trace: Trace, position: int, token: int, logits: Tensor, put: bool) -> Step:
    """One step.

    Args:
        trace: any pass of the model.
        position: the last position of the pass that said the token.
        token: the one that came.
        logits: (n_vocab,) what that pass said.
        put: whether the token was put there.
    """
    logits = trace.work(logits)
    first = int(logits.argmax())
    own, best = (logits[[token, first]] - logits.logsumexp(-1)).exp().tolist()
    text, first_text = trace.texts([token, first])
    rank = int((logits > logits[token]).sum()) + 1
    return Step(position, token, text, own, rank, first, first_text, best, put)
