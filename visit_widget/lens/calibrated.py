"""What a vector says that such vectors do not say anyway.

    score_t(x) = (l_t(x) − mean_t) / sd_t        l(x) = lens(x) less its mean over the vocabulary

with the mean and the standard deviation of l_t over vectors of the same kind in the
same layer (streams, heads, values, neurons, queries, …), on texts that the lens was fitted on. Some
tokens get a large logit from about every vector of a kind, and name it though they tell nothing
of it; others vary much whatever is said. After calibration the label is the token that stands out
most. What the vector does is told no better by it (docs/lenses.md has the numbers); it can be read.

Ranks and probabilities stay those of the lens that is calibrated.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Sequence
from itertools import groupby
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from ..model import Anatomy, VisitError
from .fitted import FittedLens, Fitting
from .lens import Lens, LogitLens
from .progress import Progress, told
from .readout import Asked, Projection, Scores
from .samples import samples
from .sites import Site
from .texts import Texts

N_PASSAGES, LONGEST = 24, 64
# A standard deviation of this part of the mean one is no less: of tokens that hardly vary, the
# sample says too little.
SD_FLOOR = 0.25
# Vectors of a kind in a layer below which nothing is calibrated.
ENOUGH = 8

Moments = dict[Site, tuple[Tensor, Tensor]]


class CalibratedLens(FittedLens):
    """Orders tokens by how far their logit stands out.

    Args:
        model: a decoder of `transformers`.
        moments: {site: (mean, standard deviation)} of each token's logit, (n_vocab,) each; vectors
            of other sites are read as they are.
        base: the lens that is calibrated; the logit lens by default.
        anatomy: where the model keeps its parts, when that cannot be found.
        memory: bytes that the logits of one chunk may take.
        meta: what is known of the fit.
    """

    name, unit = "calibrated", "sd"

    def __init__(
        self,
        model: PreTrainedModel,
        moments: Moments,
        base: Lens | None = None,
        anatomy: Anatomy | None = None,
        memory: int = 2**28,
        meta: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(model, anatomy, memory, meta)
        self.base = base or LogitLens(model, self.anatomy, memory)
        self.moments = moments
        self._ready: OrderedDict[Site, tuple[Tensor, Tensor]] = OrderedDict()

    def unit_at(self, site: Site) -> str:
        """What the scores of a vector there are."""
        return self.unit if site in self.moments else self.base.unit_at(site)

    def carried(self, vectors: Tensor, where: Sequence[Site]) -> Tensor:
        """As the lens that is calibrated has them."""
        return self.base.carried(vectors, where)

    def read(self, vectors: Tensor, where: Sequence[Site], asked: Asked) -> Projection:
        """As `project`, of arguments that are checked."""
        # Site by site: what belongs together is calibrated in one go.
        order = sorted(range(len(where)), key=lambda n: (where[n].layer, where[n].kind))
        found = super().read(vectors[order], [where[n] for n in order], asked.of(order))
        return found.rows(torch.tensor(order, dtype=torch.long, device=self.device).argsort())

    def scores(self, where: Sequence[Site]) -> Scores | None:
        """What tokens are ordered by; vectors of one site are best one after the other."""
        if not any(site in self.moments for site in where):
            return None

        def standing_out(logits: Tensor, numbers: Tensor) -> Tensor:
            found, begin, sites = torch.empty_like(logits), 0, [where[n] for n in numbers.tolist()]
            for site, same in groupby(sites):
                rows = slice(begin, begin + len(list(same)))
                begin = rows.stop
                if site not in self.moments:
                    found[rows] = logits[rows]
                    continue
                mean, inverse = self._at_hand(site)
                own = logits[rows].mean(-1, keepdim=True)
                torch.sub(logits[rows], mean, out=found[rows])
                found[rows].sub_(own).mul_(inverse)
            return found

        return standing_out

    def _at_hand(self, site: Site) -> tuple[Tensor, Tensor]:
        """The mean, and one over the standard deviation, as they are reckoned with."""
        if site not in self._ready:
            mean, sd = (m.to(device=self.device, dtype=self.dtype) for m in self.moments[site])
            room = self.memory // (2 * self.n_vocab * self.dtype.itemsize)
            while len(self._ready) >= max(1, room):
                self._ready.popitem(last=False)
            self._ready[site] = mean, sd.reciprocal()
        self._ready.move_to_end(site)
        return self._ready[site]

    @classmethod
    def fit(
        cls,
        model: Any,
        tokenizer: Any,
        texts: Texts | None = None,
        *,
        base: Lens | None = None,
        progress: Progress = True,
        n_passages: int = N_PASSAGES,
        longest: int = LONGEST,
        anatomy: Anatomy | None = None,
        cache: bool = True,
    ) -> CalibratedLens:
        """Fit the lens: one traced pass a passage, and what is read at a few of its positions.

        Args:
            model: a decoder of `transformers`, left as it is found.
            tokenizer: its tokenizer; None where the texts are token ids.
            texts: what to take vectors from; the reference text by default.
            base: the lens to calibrate; the logit lens by default.
            progress: True for a bar, False for silence, or a function of (done, total).
            n_passages: how many of the texts.
            longest: tokens of each.
            anatomy: where the model keeps its parts, when that cannot be found.
            cache: whether to keep the lens in the user's cache, for `lens="calibrated"`; of the
                logit lens only.

        Raises:
            VisitError: there is nothing to fit on.
        """
        # Another lens than the logit lens is not found again by its name alone.
        cache = cache and isinstance(base, (LogitLens, type(None)))
        fitting = Fitting.of(cls.name, model, anatomy, tokenizer, texts, n_passages, longest, cache)
        base = base or LogitLens(fitting.model, fitting.anatomy)
        if base.unit != "logit":
            raise VisitError(
                f"The {base.name} lens has no logits to calibrate: pass base=vw.LogitLens(model) "
                "or a Jacobian or tuned lens."
            )
        n_passages, n_layers = len(fitting.passages), len(fitting.anatomy.blocks)
        total = n_passages + n_layers
        with told(progress, total, "Calibrating", "step") as tell:
            taken = samples(
                fitting.model, fitting.anatomy, fitting.passages, lambda n: tell(n, total)
            )
            moments: Moments = {}
            for layer in range(n_layers):
                for site in [s for s in taken if s.layer == layer]:
                    vectors = torch.stack(taken.pop(site))
                    if len(vectors) >= ENOUGH:
                        moments[site] = moments_of(base, vectors, site)
                tell(n_passages + layer + 1, total)
        meta = {**fitting.meta, "base": base.name}
        lens = cls(fitting.model, moments, base, fitting.anatomy, meta=meta)
        fitting.keep(lens)
        return lens

    def tensors(self) -> dict[str, Tensor]:
        """Means and standard deviations, in half precision."""
        return {
            f"{what}.{site.kind}.{site.layer}": moment.half()
            for site, both in self.moments.items()
            for what, moment in zip(("mean", "sd"), both, strict=True)
        }

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        model: Any,
        base: Lens | None = None,
        anatomy: Anatomy | None = None,
    ) -> CalibratedLens:
        """A saved lens.

        Args:
            path: of the file.
            model: that it was fitted on.
            base: the lens that was calibrated, where that is not the logit lens.
            anatomy: where the model keeps its parts, when that cannot be found.

        Raises:
            VisitError: it cannot be read, or was fitted on another model or of another lens.
        """
        model, anatomy, tensors, meta = cls.opened(path, model, anatomy)
        base = base or LogitLens(model, anatomy)
        if base.name != meta["base"]:
            raise VisitError(
                f"This calibration is of the {meta['base']} lens, not of the {base.name} lens: "
                "pass that one as base=…"
            )
        moments: Moments = {}
        for name, tensor in tensors.items():
            what, _, rest = name.partition(".")
            if what == "mean":
                kind, _, layer = rest.partition(".")
                moments[Site(int(layer), kind)] = tensor, tensors[f"sd.{rest}"]
        return cls(model, moments, base, anatomy, meta=meta)


def moments_of(lens: Lens, vectors: Tensor, site: Site) -> tuple[Tensor, Tensor]:
    """The mean and the standard deviation of each token's logit over vectors: (n_vocab,) each, in
    half precision.
    """
    size = max(1, lens.memory // (4 * lens.n_vocab * lens.dtype.itemsize))
    n, mean, square = 0, torch.zeros((), device="cpu"), torch.zeros((), device="cpu")
    for chunk in vectors.split(size):
        logits = centred(lens.logits(chunk, layer=site.layer, site=site.kind))
        own = logits.mean(0)
        # Sums of squares about the mean, of all so far and of these (Chan et al. 1979).
        apart = own - mean.to(own)
        within = (logits - own).square().sum(0)
        total = n + len(chunk)
        square = square.to(own) + within + apart.square() * (n * len(chunk) / total)
        mean = mean.to(own) + apart * (len(chunk) / total)
        n = total
    sd = (square / max(1, n - 1)).sqrt()
    floor = SD_FLOOR * float(sd.mean()) or 1.0
    return mean.cpu().half(), sd.clamp_min(floor).cpu().half()


def centred(logits: Tensor) -> Tensor:
    """Logits less their mean over the vocabulary: what is added to all of them says nothing."""
    return logits - logits.mean(-1, keepdim=True)
