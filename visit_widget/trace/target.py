"""What is followed: a token's logit, that of several tokens, or what the stream says along any
direction.

    vw.Target([" South", " North"])                       # the mean of their logits
    vw.Target([" South", " south"], combine="logsumexp")  # log Σ exp(logit): of “any of them”
    vw.Target.direction(probe, name="truth")              # a direction of d_model

Wherever a target or a foil is asked for, one of these may stand; so may a token id, a text that is
one token, a list of both (their mean), and a tensor of d_model numbers (a direction).
"""

from __future__ import annotations

import hashlib
import math
import numbers
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from ..model import VisitError
from ..model.encoding import encode
from ..model.precision import careful
from ..model.tokens import SPACE

if TYPE_CHECKING:
    from .trace import Trace

Combine = Literal["mean", "logsumexp"]
Kind = Literal["token", "mean", "logsumexp", "direction"]

COMBINE = ("mean", "logsumexp")


class Target:
    """Several tokens followed as one, or a direction.

    With "mean" the value is the (weighted) mean of the tokens' logits, an exact sum over the parts.

    With "logsumexp" it is log Σ exp(logit): up to the normaliser of the softmax, the log of the
    probability that the model says any of them. That is no linear function of the stream. What is
    split is its tangent at what was observed: the tokens' logits weighted by p, their softmax among
    themselves, with p held fixed. What is left, −Σ p log p, is a constant part of its own,
    ``logits.entropy``, so that all parts sum to the value exactly.

    Args:
        tokens: token ids, or texts that are one token each; one alone is that token.
        combine: "mean" or "logsumexp".
        weights: of a mean: how much each token counts, by default all alike; not negative, and
            scaled to sum to 1.

    Raises:
        VisitError: an argument means nothing here; the message says what does.
    """

    def __init__(
        self,
        tokens: int | str | Iterable[int | str] | Tensor,
        combine: Combine = "mean",
        weights: Sequence[float] | Tensor | None = None,
    ) -> None:
        if isinstance(tokens, Tensor):
            tokens = _ids_of_tensor(tokens)
        alone = isinstance(tokens, (int, str))
        self.tokens: tuple[int | str, ...] = (tokens,) if alone else tuple(tokens)  # type: ignore[arg-type, assignment]
        self.combine, self.name = combine, ""
        self.vector: Tensor | None = None
        if not self.tokens:
            raise VisitError("A target of several tokens needs at least one token.")
        if combine not in COMBINE:
            raise VisitError(
                f"combine={combine!r} is not a way to follow several tokens: use 'mean' or "
                "'logsumexp'."
            )
        self.weights = None if weights is None else _weights(weights, len(self.tokens), combine)

    @classmethod
    def direction(cls, vector: Any, name: str = "direction") -> Target:
        """Any direction: what the stream at the end of the model says along it.

        The direction is read where the unembedding reads, after the final norm (held at its
        observed scale) and with the model's factors on the logits: as one more row of the
        unembedding, without a bias. So ``Target.direction(model.lm_head.weight[t])`` follows the
        logit of t, and a difference of two rows that of two tokens.

        Args:
            vector: (d_model,) numbers.
            name: how it is called on screen and in sentences.

        Raises:
            VisitError: it is no vector of finite numbers.
        """
        made = cls([0])
        made.tokens, made.name, made.vector = (), str(name) or "direction", _vector(vector)
        return made

    def __repr__(self) -> str:
        if self.vector is not None:
            return f"Target.direction(<{self.vector.numel()} numbers>, name={self.name!r})"
        weights = "" if self.weights is None else f", weights={list(self.weights)}"
        return f"Target({list(self.tokens)}, combine={self.combine!r}{weights})"


TargetLike = int | str | Sequence[int | str] | Tensor | Target


@dataclass(frozen=True, eq=False)
class Followed:
    """A target with its tokens known.

    Attributes:
        kind: "token", "mean", "logsumexp" or "direction".
        ids: the tokens, each once; none of a direction.
        weights: of a mean, as long as `ids`, summing to 1; else ones.
        vector: (d_model,) of a direction.
        name: of a direction.
    """

    kind: Kind
    ids: tuple[int, ...] = ()
    weights: tuple[float, ...] = ()
    vector: Tensor | None = None
    name: str = ""

    @property
    def key(self) -> int | str:
        """What tells it from others: the id of one token, else a text."""
        if self.kind == "token":
            return self.ids[0]
        if self.vector is not None:
            numbers_ = careful(self.vector).cpu().contiguous().numpy().tobytes()
            return f"direction:{hashlib.sha256(numbers_).hexdigest()[:16]}:{self.name}"
        alike = self.kind == "logsumexp" or len(set(self.weights)) == 1
        weights = "" if alike else ":" + ",".join(f"{w!r}" for w in self.weights)
        return f"{self.kind}:{','.join(map(str, self.ids))}{weights}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Followed) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)


def followed(trace: Trace, target: TargetLike | Followed) -> Followed:
    """A target with its tokens known, from whatever a user may pass for one.

    Raises:
        VisitError: it is none; the message says what would be.
    """
    if isinstance(target, Followed):
        return target
    target = as_target(target)
    if target.vector is not None:
        if target.vector.numel() != trace.d_model:
            raise VisitError(
                f"A direction to follow has {trace.d_model} numbers, the width of this model's "
                f"stream, not {target.vector.numel()}."
            )
        return Followed("direction", vector=target.vector, name=target.name)
    ids = [trace.token(token) for token in target.tokens]
    given = target.weights or (1.0,) * len(ids)
    total: dict[int, float] = {}
    for token, weight in zip(ids, given, strict=True):
        total[token] = total.get(token, 0.0) + weight
    if len(total) == 1:
        return Followed("token", tuple(total), (1.0,))
    if target.combine == "logsumexp":
        # Of one token there is one probability, however often it is named.
        return Followed("logsumexp", tuple(total), (1.0,) * len(total))
    whole = math.fsum(total.values())
    return Followed("mean", tuple(total), tuple(w / whole for w in total.values()))


def first_token(trace: Trace, text: str) -> tuple[int, str]:
    """The token that a text is, or the first of several, and then a note that says so.

    Raises:
        VisitError: it is no token at all.
    """
    try:
        return trace.token(text), ""
    except VisitError as error:
        if trace.tokenizer is None:
            raise
        asked = text.replace(SPACE, " ")
        ids = encode(trace.tokenizer, asked, special=False)
        if len(ids) < 2:
            raise
        shown = trace.texts(ids[:1])[0]
        return trace.token(ids[0]), f"{error} Its first token, {shown}, is followed."


def as_target(target: Any) -> Target:
    """A Target from a token, several tokens, or a vector of numbers.

    Raises:
        VisitError: it is none of these.
    """
    if isinstance(target, Target):
        return target
    if isinstance(target, bool) or target is None:
        raise _no_target(target)
    if isinstance(target, (str, numbers.Integral)):
        return Target([target if isinstance(target, str) else int(target)])
    if _is_array(target):
        tensor = torch.as_tensor(target)
        return Target.direction(tensor) if tensor.is_floating_point() else Target(tensor)
    if isinstance(target, (Sequence, set, frozenset)) and not isinstance(
        target, (bytes, bytearray)
    ):
        tokens = [_token(token, target) for token in target]
        return Target(tokens)
    raise _no_target(target)


def _token(token: Any, among: Any) -> int | str:
    if isinstance(token, Tensor) and token.ndim == 0 and not token.is_floating_point():
        return int(token)
    if isinstance(token, bool):
        raise _no_target(among)
    if isinstance(token, numbers.Integral):
        return int(token)
    if isinstance(token, str):
        return token
    if isinstance(token, float):
        raise VisitError(
            "A list of numbers with a point is no list of token ids: to follow a direction, pass "
            "vw.Target.direction(vector)."
        )
    raise _no_target(among)


def _no_target(target: Any) -> VisitError:
    return VisitError(
        "A target or foil is a token id, a text that is one token, a list of these, or a "
        f"vw.Target, not {_short(target)}."
    )


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}…"


def _is_array(value: Any) -> bool:
    return isinstance(value, Tensor) or hasattr(value, "__array__")


def _ids_of_tensor(tokens: Tensor) -> list[int]:
    if tokens.is_floating_point() or tokens.is_complex() or tokens.dtype == torch.bool:
        raise VisitError(
            f"Token ids are whole numbers, not {tokens.dtype}: to follow a direction, pass "
            "vw.Target.direction(vector)."
        )
    return [int(i) for i in tokens.detach().reshape(-1).tolist()]


def _weights(
    weights: Sequence[float] | Tensor, n_tokens: int, combine: str
) -> tuple[float, ...] | None:
    if combine != "mean":
        raise VisitError("weights= say how much each token counts in a mean: use combine='mean'.")
    try:
        found = tuple(float(w) for w in weights)
    except (TypeError, ValueError):
        raise VisitError("weights= are numbers, one for each token.") from None
    if len(found) != n_tokens:
        raise VisitError(f"weights= has {len(found)} numbers for {n_tokens} tokens: pass one each.")
    if not all(math.isfinite(w) and w >= 0 for w in found) or not any(found):
        raise VisitError(
            "weights= are how much each token counts: numbers from 0 on, not all of them 0. To "
            "follow one token against another, pass the other as foil=."
        )
    return found


def _vector(vector: Any) -> Tensor:
    try:
        found = torch.as_tensor(vector).detach().clone()
    except (TypeError, ValueError, RuntimeError):
        found = torch.empty(0)
    if found.ndim == 2 and 1 in found.shape:
        found = found.reshape(-1)  # a probe's weight, as nn.Linear keeps it
    if found.ndim != 1 or not found.numel() or found.is_complex():
        raise VisitError("A direction to follow is one vector of d_model numbers.")
    if not found.is_floating_point():
        found = careful(found)
    if not bool(found.isfinite().all()) or not bool(found.any()):
        raise VisitError("A direction to follow has finite numbers, and is not zero.")
    return found
