"""What every lens is: a way to read vectors of a model as tokens.

A lens carries each vector from where it stands to the last stream, and lets the model's own final
norm and unembedding read it there:

    lens(x) = U · N_f(carried(x)) + b

How it carries is what lenses differ in: not at all (`LogitLens`), by a mean Jacobian
(`JacobianLens`), by a map that was learnt (`TunedLens`). `CalibratedLens` orders tokens by how
unusual a score is; `LocalLens` asks what this prompt's own prediction makes of a part.
"""

from __future__ import annotations

import weakref
from abc import ABC
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor
from transformers import PreTrainedModel

from ..model import Anatomy, VisitError
from .readout import Asked, NormReading, Projection, Readout, Scores
from .sites import Site, sites

if TYPE_CHECKING:
    from ..trace import Trace


class Lens(ABC):
    """Reads vectors as tokens.

    Arithmetic is in float32 at least, also for half-precision weights.

    Args:
        model: a decoder of `transformers`.
        anatomy: where the model keeps its parts, when that cannot be found.
        memory: bytes that the logits of one chunk may take.

    Attributes:
        name: what the lens is called in `lens=…` and on screen.
        unit: what its scores are: "logit", "sd" or "nats".
        readout: the model's final norm and unembedding.
    """

    name: ClassVar[str]
    unit: ClassVar[str] = "logit"

    def __init__(
        self, model: PreTrainedModel, anatomy: Anatomy | None = None, memory: int = 2**28
    ) -> None:
        # A lens is kept by its model, and keeps none alive.
        self._model = weakref.ref(model)
        self.readout = Readout(model, anatomy, memory)
        self.anatomy, self.memory = self.readout.anatomy, memory
        self.n_vocab, self.d_model = self.readout.n_vocab, self.readout.d_model
        self.dtype, self.device = self.readout.dtype, self.readout.device

    def __repr__(self) -> str:
        return f"{type(self).__name__}(d_model={self.d_model}, n_vocab={self.n_vocab})"

    @property
    def model(self) -> PreTrainedModel:
        """The model that it was made for.

        Raises:
            VisitError: it is gone.
        """
        model = self._model()
        if model is None:
            raise VisitError("The model that this lens was made for is gone: make it anew.")
        return model

    def at(self, trace: Trace, position: int) -> Lens:
        """The lens for one position of one prompt: itself, unless it depends on them."""
        return self

    @property
    def anywhere(self) -> Lens:
        """The lens for vectors at any position: itself, unless it is one for the focus alone."""
        return self

    def unit_at(self, site: Site) -> str:
        """What the scores of a vector there are: "logit", "sd" or "nats"."""
        return self.unit

    def logits(
        self,
        vectors: Tensor,
        norm: NormReading = "own",
        stream: Tensor | None = None,
        *,
        layer: int | Sequence[int] | None = None,
        site: str | Sequence[str] = "post",
    ) -> Tensor:
        """The lens's logits: (…, d_model) → (…, n_vocab). Mind the size: `project` keeps to the
        memory bound.

        Args:
            vectors: (…, d_model).
            norm: "own", or "stream" for logits that add up.
            stream: (d_model,) the last stream, whose scale is frozen; needed for "stream".
            layer: where the vectors stand; see `project`.
            site: likewise.
        """
        flat = vectors.reshape(-1, vectors.shape[-1])
        where = sites(len(flat), layer, site, self.anatomy)
        found = self.readout.logits(self.carried(flat, where), norm, stream)
        return found.reshape(*vectors.shape[:-1], self.n_vocab)

    def project(
        self,
        vectors: Tensor,
        k: int = 10,
        bottom: int = 0,
        targets: Sequence[int] = (),
        norm: NormReading = "own",
        stream: Tensor | None = None,
        *,
        layer: int | Sequence[int] | None = None,
        site: str | Sequence[str] = "post",
        probabilities: bool | Tensor = True,
    ) -> Projection:
        """Top and bottom tokens of each vector, and what it says of the targets.

        Args:
            vectors: (n, d_model).
            k: how many top tokens.
            bottom: how many bottom tokens.
            targets: token ids whose logit, probability and rank are wanted.
            norm: "own" or "stream" (`readout.py`).
            stream: (d_model,) the last stream, whose scale is frozen; needed for "stream".
            layer: the layer where the vectors stand, or one for each; the last by default.
            site: what they are there (`Site.kind`), or one for each; streams after the block by
                default.
            probabilities: whether they are wanted, or (n,) of which vectors.

        Raises:
            VisitError: an argument is out of range; the message says which and what there is.
        """
        self.readout.check(vectors, k, bottom, targets)
        where = sites(len(vectors), layer, site, self.anatomy)
        wanted = probabilities
        if isinstance(wanted, bool):
            wanted = torch.full((len(vectors),), wanted, dtype=torch.bool, device="cpu")
        asked = Asked(k, bottom, tuple(targets), wanted, norm, stream)
        return self.read(vectors, where, asked)

    def read(self, vectors: Tensor, where: Sequence[Site], asked: Asked) -> Projection:
        """As `project`, of arguments that are checked."""
        return self.readout.project(self.carried(vectors, where), asked, self.scores(where))

    def carried(self, vectors: Tensor, where: Sequence[Site]) -> Tensor:
        """The vectors as they are read at the last stream: (n, d_model)."""
        return vectors

    def scores(self, where: Sequence[Site]) -> Scores | None:
        """What tokens are ordered by, of vectors at these sites; None for their logits."""
        return None


class LogitLens(Lens):
    """What a vector would say if the model stopped there: lens(x) = U · N_f(x) + b.

    Source: nostalgebraist (2020), "interpreting GPT: the logit lens"; Katz & Belinkov (2023) read
    every part of a block with it. It needs no fitting, and it is exact for what is written in the
    last layer; for what later layers still work on it often names tokens that mean nothing.

    Args:
        model: a decoder of `transformers`.
        anatomy: where the model keeps its parts, when that cannot be found.
        memory: bytes that the logits of one chunk may take.

    Example:
        >>> lens = LogitLens(model)
        >>> lens.project(trace.residual(20), k=5).top_ids.shape
        torch.Size([8, 5])
    """

    name = "logit"
