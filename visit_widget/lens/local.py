"""What a part changes in this prompt's own prediction, to first order.

    effect(x) = ∂ log p_t / ∂ (stream at the focus, where x is written) · x

for the tokens t that the model finds likeliest after the prompt: by how much a token's
log-probability would rise, per unit, if the part were a little larger, everything later reacting to
it: attention patterns, MLPs and norms. It needs no fitting, and it is exact to first order; it
says nothing of a large change, and nothing of tokens that are out of the question here.

The rows are those of this prompt's own Jacobian J_L = ∂ (last stream) / ∂ (stream at layer L) that
these tokens read: with N' the derivative of the final norm, effect(x) = (U_t − Σ p U) N' J_L x.
Among all the vocabulary the largest effects are on tokens that nobody would say; among the fifty
likeliest the words can be read (docs/lenses.md has the numbers).
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import cached_property

import torch
from torch import Tensor
from transformers import PreTrainedModel

from ..model import Anatomy, VisitError
from ..trace import Trace
from ..trace.gradients import Gradients, gradients
from ..trace.target import Followed
from .lens import Lens, LogitLens
from .readout import Asked, Projection
from .sites import Site, by_place

N_LIKELY = 50


class LocalLens(Lens):
    """Reads what is written to the stream by its effect on this prompt's prediction; the streams
    are read by the logit lens.

    Args:
        model: a decoder of `transformers`.
        anatomy: where the model keeps its parts, when that cannot be found.
        memory: bytes that the logits of one chunk may take.
        beside: reads what is looked for in the streams, and parts at other positions than the
            focus; the logit lens by default.
        likely: how many of the likeliest tokens are told apart.
        forgiving: whether, where no derivative can be taken, the lens beside it stands in.
    """

    name, unit = "local", "nats"

    def __init__(
        self,
        model: PreTrainedModel,
        anatomy: Anatomy | None = None,
        memory: int = 2**28,
        beside: Lens | None = None,
        likely: int = N_LIKELY,
        forgiving: bool = False,
    ) -> None:
        super().__init__(model, anatomy, memory)
        if likely < 1:
            raise VisitError(f"likely={likely} tokens cannot be told apart: give 1 or more.")
        self.streams = LogitLens(model, self.anatomy, memory)
        self.beside = beside or self.streams
        self.likely, self.forgiving = min(likely, self.n_vocab), forgiving

    def at(self, trace: Trace, position: int) -> Lens:
        """The lens for one position of a traced prompt."""
        try:
            return LocalLensAt(self, trace, position)
        except VisitError:
            if self.forgiving:
                return self.beside.at(trace, position)
            raise

    @cached_property
    def forgiven(self) -> LocalLens:
        """The same, but that another lens stands in where no derivative can be taken."""
        twin = copy.copy(self)
        twin.forgiving = True
        return twin

    @property
    def anywhere(self) -> Lens:
        """The lens for vectors at any position: the one beside it."""
        return self.beside

    def unit_at(self, site: Site) -> str:
        """What the scores of a vector there are."""
        if site.writes:
            return self.unit
        return self.beside.unit_at(site) if site.reads else self.streams.unit

    def read(self, vectors: Tensor, where: Sequence[Site], asked: Asked) -> Projection:
        """As `project`, of arguments that are checked."""
        readers = {"writes": self._effects, "reads": self.beside.read, "": self.streams.read}
        kinds = ["writes" if s.writes else "reads" if s.reads else "" for s in where]
        order: list[int] = []
        pieces: list[Projection] = []
        for kind in dict.fromkeys(kinds) if kinds else ("",):
            rows = [n for n, own in enumerate(kinds) if own == kind]
            pieces.append(readers[kind](vectors[rows], [where[n] for n in rows], asked.of(rows)))
            order += rows
        if len(pieces) == 1:
            return pieces[0]
        return _evened(pieces).rows(torch.tensor(order, device=self.device).argsort())

    def _effects(self, vectors: Tensor, where: Sequence[Site], asked: Asked) -> Projection:
        raise VisitError(
            "A local lens reads parts of one prompt's own pass: ask it at a position, as in "
            "lens.at(trace, −1)."
        )


class LocalLensAt(LocalLens):
    """A local lens at one position of a traced prompt."""

    def __init__(self, lens: LocalLens, trace: Trace, position: int) -> None:
        self.__dict__.update(lens.__dict__)
        self.beside = lens.beside.at(trace, position)
        self.trace, self.position = trace, trace.position(position)
        self._said = self.readout.said(trace, self.position)
        self.tokens = self._said.topk(self.likely).indices
        self._rows = gradients(trace, self._directions(), self.position)

    def at(self, trace: Trace, position: int) -> Lens:
        """The lens for another position or prompt; itself for its own."""
        if trace is self.trace and trace.position(position) == self.position:
            return self
        return super().at(trace, position)

    def of(self, target: Followed, foil: Followed | None) -> Gradients | None:
        """The derivatives of a target's logit (minus the foil's), one row, made of those that are
        at hand; None where they are not: log p_t − log p_u is the difference of two logits, and
        one more pass back, taken once, tells the logits themselves.
        """
        place = {token: row for row, token in enumerate(self.tokens.tolist())}
        weights = self._rows.pre.new_zeros(self.likely)
        for sign, one in ((1.0, target), (-1.0, foil)):
            if one is None:
                continue
            linear = one.kind in ("token", "mean") and not self.readout.softcap
            if not linear or not set(one.ids) <= set(place):
                return None
            for token, weight in zip(one.ids, one.weights, strict=True):
                weights[place[token]] += sign * weight
        rows = [torch.einsum("n,lnd->ld", weights, r)[:, None] for r in vars(self._rows).values()]
        if foil is None:
            more = vars(self._normaliser).values()
            rows = [row + one for row, one in zip(rows, more, strict=True)]
        return Gradients(*rows)

    @cached_property
    def _normaliser(self) -> Gradients:
        """The derivatives of log Σ exp (logits), one row."""
        return gradients(self.trace, self._whole, self.position)

    @cached_property
    def _whole(self) -> Tensor:
        """∂ log Σ exp (logits) / ∂ (last stream): (1, d_model)."""
        return self.readout.slope(self._stream, self._said)[None]

    @property
    def _stream(self) -> Tensor:
        return self.trace.residual(self.trace.n_layers - 1)[self.position]

    def _directions(self) -> Tensor:
        """∂ log p_t / ∂ (last stream): (likely, d_model), each token's own logit and that of all
        apart, so that one row alone goes through the whole unembedding.
        """
        with torch.inference_mode(False), torch.enable_grad():
            tokens, stream = self.tokens.clone(), self._stream.detach().clone()
            x = stream.expand(self.likely, -1).contiguous().requires_grad_()
            own = self.readout.differentiable(x, tokens)
            return torch.autograd.grad(own.sum(), x)[0].detach() - self._whole

    def effects(self, vectors: Tensor, where: Sequence[Site]) -> Tensor:
        """(n, likely) by how much each adds to the log-probability of each of `tokens`."""
        found = vectors.new_empty(len(vectors), self.likely)
        for (layer, at), numbers in by_place(where, self.anatomy).items():
            found[numbers] = vectors[numbers] @ self._rows.at(layer, at).to(vectors).T
        return found

    def _effects(self, vectors: Tensor, where: Sequence[Site], asked: Asked) -> Projection:
        effects = self.effects(vectors, where).to(self.device)
        top = effects.topk(min(asked.k, self.likely))
        low = (-effects).topk(min(asked.bottom, self.likely))
        mine = effects.new_full((len(vectors), len(asked.targets)), torch.nan)
        place = {token: column for column, token in enumerate(self.tokens.tolist())}
        for column, token in enumerate(asked.targets):
            if token in place:
                mine[:, column] = effects[:, place[token]]
        return Projection(
            self.tokens[top.indices], top.values, torch.full_like(top.values, torch.nan),
            self.tokens[low.indices], -low.values, torch.full_like(low.values, torch.nan),
            mine, torch.full_like(mine, torch.nan), torch.zeros_like(mine, dtype=torch.long),
        )  # fmt: skip


def _evened(pieces: list[Projection]) -> Projection:
    """Several joined that may name differently many tokens: what is missing is token −1."""
    widths = {name: max(getattr(p, name).shape[1] for p in pieces) for name in vars(pieces[0])}

    def wide(name: str, column: Tensor) -> Tensor:
        more = widths[name] - column.shape[1]
        if not more:
            return column
        fill = -1 if name.endswith("ids") else torch.nan
        return torch.cat([column, column.new_full((len(column), more), fill)], 1)

    return Projection.joined(
        [Projection(*(wide(name, c) for name, c in vars(p).items())) for p in pieces]
    )
