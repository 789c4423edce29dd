"""The model's own way from the last stream to the vocabulary, for many vectors at once.

    logits(x) = U · N_f(x) + b

What every lens ends with. Two readings of the final norm are offered:

- ``norm="own"``: N_f is computed on the vector itself: the vector's direction alone decides,
  whatever its length.
- ``norm="stream"``: the scale of N_f is frozen at that of a given stream, and constants are left
  out. The logits of parts then add up to those of their sum.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from ..model import Anatomy, VisitError, anatomy_of
from ..model.exclusive import exclusive
from ..model.linear import apply, input_dtype, is_plain
from ..model.loaded import weights_at_hand
from ..model.norms import Norm
from ..model.watch import device_of
from .ranking import above, largest, smallest

if TYPE_CHECKING:
    from ..trace import Trace

NormReading = Literal["own", "stream"]
# Tokens a slab, for each thread of a CPU: measured.
SLAB = 1024
# Vectors a chunk on a CPU: with fewer the product costs more, with more only the room for logits,
# which is kept from one projection to the next.
CHUNK = 384
# Vectors whose probabilities a CPU makes together: more leave the cache.
PROBABILITIES = 8
# What scores a token becomes of its logit: (the logits of some vectors, their numbers) → scores.
Scores = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Projection:
    """What a lens says of n vectors.

    Attributes:
        top_ids: (n, k) the tokens that each vector writes most, best first.
        top_logits, top_probabilities: (n, k).
        bottom_ids: (n, k_bottom) the tokens that it writes least, least first.
        bottom_logits, bottom_probabilities: (n, k_bottom).
        target_logits, target_probabilities: (n, n_targets) of the tokens asked for.
        target_ranks: (n, n_targets) 1 for the most likely token.

    ``logits`` are what the lens orders tokens by: logits, or in its own unit (`Lens.unit`).
    ``probabilities`` are NaN where none were asked for, or where the lens gives none; ranks are 0
    where it has none.
    """

    top_ids: Tensor
    top_logits: Tensor
    top_probabilities: Tensor
    bottom_ids: Tensor
    bottom_logits: Tensor
    bottom_probabilities: Tensor
    target_logits: Tensor
    target_probabilities: Tensor
    target_ranks: Tensor

    @classmethod
    def joined(cls, pieces: Sequence[Projection]) -> Projection:
        """Several, one after the other."""
        columns = zip(*(vars(piece).values() for piece in pieces), strict=True)
        return cls(*(torch.cat(column) for column in columns))

    def rows(self, index: Tensor) -> Projection:
        """Some of the vectors', in their order."""
        return Projection(*(column[index] for column in vars(self).values()))


@dataclass(frozen=True)
class Asked:
    """What is wanted of n vectors.

    Attributes:
        k, bottom: how many of the tokens that each writes most, and least.
        targets: tokens whose logit, probability and rank are wanted.
        probabilities: (n,) of which vectors probabilities are wanted. They cost as much again as
            the rest beside the matrix product.
        norm: "own" or "stream".
        stream: (d_model,), whose scale is frozen; needed for "stream".
    """

    k: int
    bottom: int
    targets: tuple[int, ...]
    probabilities: Tensor
    norm: NormReading = "own"
    stream: Tensor | None = None

    def of(self, rows: Sequence[int]) -> Asked:
        """The same of some of the vectors."""
        return replace(self, probabilities=self.probabilities[list(rows)])


class Readout:
    """Final norm and unembedding of a model.

    Arithmetic is in float32 at least, also for half-precision weights.

    Args:
        model: a decoder of `transformers`.
        anatomy: where the model keeps its parts, when that cannot be found.
        memory: bytes that the logits of one chunk may take.
    """

    def __init__(
        self, model: PreTrainedModel, anatomy: Anatomy | None = None, memory: int = 2**28
    ) -> None:
        self._model = weakref.ref(model)
        self.anatomy = anatomy or anatomy_of(model)
        self.n_vocab, self.d_model = self.anatomy.n_vocab, self.anatomy.d_model
        self.memory = memory
        # One at most; a list, for taking out of it is one step for all threads.
        self._kept_rooms: list[Tensor] = []
        self.softcap = self.anatomy.softcap
        head = self.anatomy.unembedding
        self.dtype = torch.promote_types(input_dtype(head, torch.float32), torch.float32)
        self.device = device_of(head) or torch.device("cpu")
        norm = self.anatomy.final_norm
        # Derivatives are taken through it, wherever the caller stands.
        with torch.inference_mode(False):
            self.norm = (
                None
                if norm is None
                else Norm(norm, self.d_model, self.dtype, self.device, "the final norm")
            )

    def logits(
        self, vectors: Tensor, norm: NormReading = "own", stream: Tensor | None = None
    ) -> Tensor:
        """The lens's logits: (…, d_model) → (…, n_vocab). Mind the size: `project` keeps to the
        memory bound.

        Args:
            vectors: (…, d_model).
            norm: "own", or "stream" for logits that add up.
            stream: (d_model,), whose scale is frozen; needed for "stream".
        """
        flat = self._normed(vectors.reshape(-1, vectors.shape[-1]), norm, stream)
        result = torch.cat(
            [self._unembed(chunk, norm) for chunk in self._chunks(flat)] or [flat[:, :0]]
        )
        return result.reshape(*vectors.shape[:-1], self.n_vocab)

    def said(self, trace: Trace, position: int) -> Tensor:
        """(n_vocab,) what the model says at a position of a traced prompt: as the pass gave it,
        where it gave that as precisely as lenses read; else of the last stream.
        """
        own = trace.record.logits
        alike = own.dtype == self.dtype and len(own) == self.n_vocab
        if position == len(trace) - 1 and alike:
            return own.to(self.device)
        return self.logits(trace.residual(trace.n_layers - 1)[position])

    def slope(self, stream: Tensor, said: Tensor) -> Tensor:
        """∂ log Σ exp (logits) / ∂ (last stream): (d_model,).

        Args:
            stream: (d_model,) the last stream.
            said: (n_vocab,) the logits that the model gives for it.
        """
        head = self.anatomy.unembedding
        with torch.inference_mode(False), torch.enable_grad(), self._at_hand():
            x = stream.detach().clone()[None].requires_grad_()
            if isinstance(head, nn.Linear) and is_plain(head):
                # Half of the way back is known, so that the unembedding is read once.
                weights = said.softmax(-1)
                if self.softcap:
                    weights = weights * (1 - (said / self.softcap).square())
                weights = weights.to(x) * self.anatomy.logit_scale
                row = sum(
                    w @ rows.detach().to(x)
                    for w, rows in zip(
                        *(t.split(self._slab) for t in (weights, head.weight)), strict=True
                    )
                )
                whole = (self._scaled(x if self.norm is None else self.norm(x)) * row).sum()
            else:
                whole = self.differentiable(x).logsumexp(-1).sum()
            return torch.autograd.grad(whole, x)[0][0].detach()

    def differentiable(self, vectors: Tensor, tokens: Tensor | None = None) -> Tensor:
        """(n, d_model) → (n, n_vocab) the logits that the model would give for these last streams,
        differentiable; with (n,) tokens, (n,) each vector's logit of its own one.
        """
        anatomy, head = self.anatomy, self.anatomy.unembedding
        with self._at_hand():
            normed = self._scaled(vectors if self.norm is None else self.norm(vectors))
            if tokens is not None and isinstance(head, nn.Linear) and is_plain(head):
                logits = torch.einsum("nd,nd->n", normed, head.weight[tokens].to(normed))
                if head.bias is not None:
                    logits = logits + head.bias[tokens].to(logits)
            else:
                logits = apply(head, normed.to(input_dtype(head, self.dtype))).to(vectors.dtype)
                if tokens is not None:
                    logits = logits.gather(1, tokens[:, None])[:, 0]
        logits = logits * anatomy.logit_scale
        return torch.tanh(logits / self.softcap) * self.softcap if self.softcap else logits

    def project(self, vectors: Tensor, asked: Asked, scores: Scores | None = None) -> Projection:
        """Top and bottom tokens of each vector, and what it says of the targets.

        Args:
            vectors: (n, d_model) at the last stream.
            asked: what is wanted of them.
            scores: what tokens are ordered by instead of their logits; probabilities and ranks stay
                those of the logits.
        """
        normed = self._normed(vectors, asked.norm, asked.stream)
        chosen = torch.as_tensor(asked.targets, dtype=torch.long, device=self.device)
        k, bottom = min(asked.k, self.n_vocab), min(asked.bottom, self.n_vocab)
        wanted = asked.probabilities.to(self.device)
        numbers = torch.arange(len(normed), device=self.device)
        pieces, begin = [], 0
        with self._room(len(normed)) as room:
            for chunk in self._chunks(normed):
                rows = slice(begin, begin + len(chunk))
                begin += len(chunk)
                logits = self._unembed(chunk, asked.norm, room)
                by = logits if scores is None else scores(logits, numbers[rows])
                pieces.append(_read(logits, by, k, bottom, chosen, wanted[rows]))
        if not pieces:
            none = normed.new_zeros(0, self.n_vocab)
            pieces = [_read(none, none, k, bottom, chosen, wanted)]
        return Projection.joined(pieces)

    def check(self, vectors: Tensor, k: int, bottom: int, targets: Sequence[int]) -> None:
        """Whether vectors can be projected.

        Raises:
            VisitError: saying what is wrong.
        """
        if vectors.ndim != 2:
            raise VisitError(
                f"Vectors to project have shape (n, {self.d_model}), not {tuple(vectors.shape)}."
            )
        if k < 0 or bottom < 0:
            raise VisitError(f"k={k} and bottom={bottom} say how many tokens: neither is negative.")
        wrong = [t for t in targets if not 0 <= t < self.n_vocab]
        if wrong:
            raise VisitError(
                f"Token id {wrong[0]} is outside the model's vocabulary of {self.n_vocab}."
            )

    def _normed(self, vectors: Tensor, norm: NormReading, stream: Tensor | None) -> Tensor:
        if vectors.shape[-1] != self.d_model:
            raise VisitError(
                f"The lens reads vectors of {self.d_model} numbers, not {vectors.shape[-1]}."
            )
        x = vectors.detach().to(device=self.device, dtype=self.dtype)
        if norm == "own":
            with torch.no_grad():
                return self._scaled(x if self.norm is None else self.norm(x))
        if norm != "stream":
            raise VisitError(
                f"norm={norm!r} is not a reading of the final norm: use 'own' or 'stream'."
            )
        if stream is None:
            raise VisitError(
                "norm='stream' freezes the norm at a stream: pass that stream, of shape (d_model,)."
            )
        if stream.shape[-1] != self.d_model:
            raise VisitError(f"A stream has {self.d_model} numbers, not {stream.shape[-1]}.")
        if self.norm is None:
            return self._scaled(x)
        return self._scaled(self.norm.linear(x, self.norm.scale(stream.detach().to(x))))

    def _scaled(self, normed: Tensor) -> Tensor:
        scale = self.anatomy.head_scale
        return normed if scale == 1.0 else normed * scale

    def _chunks(self, normed: Tensor) -> Iterator[Tensor]:
        yield from normed.split(self._at_once) if len(normed) else ()

    @property
    def _at_once(self) -> int:
        """How many vectors are a chunk, within the memory bound."""
        # Twice, for the logits and what top-k and log-sum-exp make of them.
        allowed = max(1, self.memory // (2 * self.n_vocab * self.dtype.itemsize))
        return min(allowed, CHUNK) if self.device.type == "cpu" else allowed

    @contextmanager
    def _room(self, n: int) -> Iterator[Tensor]:
        """(rows, n_vocab) to write the logits of a chunk of n vectors to.

        Kept for the next time: memory that a CPU has not touched before costs more than reading
        the logits.
        """
        rows = min(n, self._at_once)
        # Taken out while in use: others may project at the same time.
        room = self._kept_rooms.pop() if self._kept_rooms else None
        if room is None or len(room) < rows:
            with torch.inference_mode(False):
                room = torch.empty(rows, self.n_vocab, dtype=self.dtype, device=self.device)
        yield room
        if room.device.type == "cpu":
            self._kept_rooms[:] = [room]

    @contextmanager
    def _at_hand(self) -> Iterator[None]:
        """Within the block the unembedding can be read or run. A plain matrix is read beside
        anybody's pass; for another the model is held.
        """
        head = self.anatomy.unembedding
        with nullcontext() if is_plain(head) else exclusive(self._model()), weights_at_hand(head):
            yield

    def _unembed(self, normed: Tensor, norm: NormReading, out: Tensor | None = None) -> Tensor:
        """The logits of normed vectors; in `out`, (n or more, n_vocab), where there is one and the
        head is a plain matrix.
        """
        head = self.anatomy.unembedding
        with torch.no_grad(), self._at_hand():
            plain = head if isinstance(head, nn.Linear) and is_plain(head) else None
            if plain is None:
                theirs = normed.to(input_dtype(head, self.dtype))
                logits = apply(head, theirs).to(self.dtype, copy=True)
                if norm == "stream":
                    logits -= apply(head, torch.zeros_like(theirs[:1])).to(self.dtype)
            else:
                logits = self._product(normed, plain.weight, out)
                if plain.bias is not None and norm == "own":
                    logits += plain.bias.to(self.dtype)
            if self.anatomy.logit_scale != 1.0:
                logits *= self.anatomy.logit_scale
            if self.softcap and norm == "own":
                logits.div_(self.softcap).tanh_().mul_(self.softcap)
        return logits

    def _product(self, normed: Tensor, weight: Tensor, out: Tensor | None) -> Tensor:
        """(n, n_vocab), a slab of the vocabulary after another: half-precision weights are widened
        a slab at a time, and on a CPU what is written stays in the cache.
        """
        used = _columns(normed)
        mine, weight = normed[:, used], weight[:, used]
        logits = normed.new_empty(len(normed), self.n_vocab) if out is None else out[: len(normed)]
        slab = self._slab
        for rows, columns in zip(weight.split(slab), logits.split(slab, -1), strict=True):
            torch.mm(mine, rows.to(self.dtype).T, out=columns)
        return logits

    @property
    def _slab(self) -> int:
        """How many tokens' rows of the unembedding are read together."""
        slab = max(1, self.memory // (4 * self.d_model * self.dtype.itemsize))
        return min(slab, SLAB * torch.get_num_threads()) if self.device.type == "cpu" else slab


def _columns(normed: Tensor) -> slice:
    """The columns that all the numbers stand in that are not zero: of a head read at its own place,
    few are.
    """
    here = normed.any(0).nonzero()[:, 0]
    return slice(int(here[0]), int(here[-1]) + 1) if len(here) else slice(0, 1)


def _read(
    logits: Tensor, scores: Tensor, k: int, bottom: int, targets: Tensor, wanted: Tensor
) -> Projection:
    """What a chunk of vectors says, of their logits and scores, (n, n_vocab) each."""
    top, low, mine = largest(scores, k), smallest(scores, bottom), logits[:, targets]
    every = [above(logits, mine[:, n]) + 1 for n in range(len(targets))]
    ranks = torch.stack(every, -1) if every else torch.empty_like(mine, dtype=torch.long)
    chances = [torch.full_like(t, torch.nan) for t in (top[0], low[0], mine)]
    # Not by log-sum-exp: on a CPU it is several times slower where it meets denormal numbers.
    for rows in wanted.nonzero()[:, 0].split(
        PROBABILITIES if logits.is_cpu else max(1, len(logits))
    ):
        said = torch.log_softmax(logits[rows], -1)
        for column, ids in zip(chances, (top[1], low[1]), strict=False):
            column[rows] = said.gather(-1, ids[rows]).exp()
        chances[2][rows] = said[:, targets].exp()
    return Projection(
        top[1], top[0], chances[0], low[1], low[0], chances[1], mine, chances[2], ranks
    )
