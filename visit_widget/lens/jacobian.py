"""What a vector is disposed to make the model say, on average over texts.

    lens(x) = U · N_f(J_L x) + b
    J_L = E [ Σ_{p' ≥ p} ∂ (last stream at p') / ∂ (stream of layer L at p) ]

The mean is over passages, then over the positions p of each, without the first few (which serve as
attention sinks) and the last; the sum over the later positions p' of the same passage.

Source: Gurnee, Sofroniew, Lindsey et al. (2026), "Verbalizable Representations Form a Global
Workspace in Language Models". They read the stream after each block. Here J is fitted for the
streams between the sublayers as well, and since it is linear it reads parts as well as wholes: what
a head, a head's source, a neuron or a bias writes is carried by the J of the stream it is written
to. In the last layer J is nearly the identity and the lens is the logit lens.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from ..model import Anatomy, VisitError
from ..model.loaded import unwrapped
from ..trace.tape import Place, Tape
from . import files
from .fitted import Fitting, StreamLens
from .progress import Progress, Told, told
from .sites import own_streams
from .texts import Texts

N_PASSAGES, LONGEST = 12, 24
# Of a passage's positions the first sixteen are left out, or the first quarter of a short one.
SKIPPED, SKIPPED_PART = 16, 4
# Bytes of derivatives that are made together.
MEMORY = 2**29
# Seconds between two states of a fit that are put away.
PUT_AWAY = 20.0


class JacobianLens(StreamLens[Tensor]):
    """Reads vectors through the mean Jacobian from where they stand to the last stream.

    Args:
        model: a decoder of `transformers`.
        maps: {(layer, "pre" | "mid" | "post"): (d_model, d_model)} J of these streams; a stream
            that is not among them is read with the next later one's, and the last with the
            identity.
        anatomy: where the model keeps its parts, when that cannot be found.
        memory: bytes that the logits of one chunk may take.
        meta: what is known of the fit.
    """

    name = "jacobian"

    @property
    def jacobians(self) -> dict[Place, Tensor]:
        """{(layer, "pre" | "mid" | "post"): (d_model, d_model)}."""
        return self.maps

    def matrix(self, one: Tensor) -> tuple[Tensor, None]:
        """J itself."""
        return one, None

    def tensors(self) -> dict[str, Tensor]:
        """The Jacobians, in half precision."""
        return {files.name_of("J", place): j.half() for place, j in self.maps.items()}

    @classmethod
    def fit(
        cls,
        model: Any,
        tokenizer: Any,
        texts: Texts | None = None,
        *,
        progress: Progress = True,
        n_passages: int = N_PASSAGES,
        longest: int = LONGEST,
        anatomy: Anatomy | None = None,
        cache: bool = True,
        memory: int = MEMORY,
    ) -> JacobianLens:
        """Fit the lens: d_model derivatives for each passage, batched.

        What is done is put away now and then: a fit that was interrupted goes on where it was.

        Args:
            model: a decoder of `transformers`, left as it is found.
            tokenizer: its tokenizer; None where the texts are token ids.
            texts: what to average over; the reference text by default.
            progress: True for a bar, False for silence, or a function of (done, total).
            n_passages: how many of the texts.
            longest: tokens of each.
            anatomy: where the model keeps its parts, when that cannot be found.
            cache: whether to keep the lens in the user's cache, for `lens="jacobian"`.
            memory: bytes of derivatives that are made together.

        Raises:
            VisitError: there is nothing to fit on, or no derivative can be taken.
        """
        fitting = Fitting.of(cls.name, model, anatomy, tokenizer, texts, n_passages, longest, cache)
        meta = fitting.meta | {
            "n_passages": len(fitting.passages), "skipped": [SKIPPED, SKIPPED_PART],
        }  # fmt: skip
        sums = _Sums(fitting, meta)
        with told(progress, len(fitting.passages), "Fitting the Jacobian lens") as tell:
            sums.run(tell, memory)
        lens = cls(fitting.model, sums.means(), fitting.anatomy, meta=meta)
        fitting.keep(lens)
        sums.forget()
        return lens

    @classmethod
    def load(
        cls, path: str | os.PathLike[str], model: Any, anatomy: Anatomy | None = None
    ) -> JacobianLens:
        """A saved lens, or an artifact as `jlens` publishes them (`.pt`): {"J": {layer: (d_model,
        d_model)}, …}, of the streams after the blocks.

        Raises:
            VisitError: it cannot be read, or was fitted on another model.
        """
        if Path(path).suffix in (".pt", ".pth", ".bin"):

            def published(data: Any) -> dict[Place, Tensor]:
                return {(int(layer), "post"): j.float() for layer, j in data["J"].items()}

            found = files.foreign(path, "jlens", published)
            return cls(unwrapped(model), found, anatomy, meta={"model": str(path)})
        model, anatomy, tensors, meta = cls.opened(path, model, anatomy)
        return cls(model, files.places_in(tensors, "J"), anatomy, meta=meta)


class _Sums:
    """Sums over passages, and where they are put away."""

    def __init__(self, fitting: Fitting, meta: files.Meta) -> None:
        self.fitting, self.meta = fitting, meta
        self.sums, self.done = dict[Place, Tensor](), 0
        self.aside = None if fitting.path is None else fitting.path.with_suffix(".partial")
        self._take_up()

    def _take_up(self) -> None:
        if self.aside is None or not self.aside.exists():
            return
        with suppress(VisitError, KeyError):
            tensors, meta = files.read(self.aside, JacobianLens.name)
            files.check_model(meta, tensors, self.fitting.model, self.fitting.anatomy)
            if {**self.meta, "done": meta["done"]} == meta:
                self.sums, self.done = files.places_in(tensors, "J"), meta["done"]

    def run(self, tell: Told, memory: int) -> None:
        """Add what is not there yet."""
        model, anatomy, passages = self.fitting.model, self.fitting.anatomy, self.fitting.passages
        put_away = time.monotonic()
        tell(self.done, len(passages))
        for ids in passages[self.done :]:
            for place, jacobian in jacobian_of(model, anatomy, ids, memory).items():
                self.sums[place] = self.sums.get(place, 0) + jacobian
            self.done += 1
            tell(self.done, len(passages))
            if time.monotonic() - put_away > PUT_AWAY and self.done < len(passages):
                self._put_away()
                put_away = time.monotonic()

    def _put_away(self) -> None:
        if self.aside is not None:
            tensors = {files.name_of("J", place): j for place, j in self.sums.items()}
            probe = files.probe(self.fitting.model)
            files.write(self.aside, {**tensors, **probe}, {**self.meta, "done": self.done})

    def means(self) -> dict[Place, Tensor]:
        """The Jacobians."""
        return {place: total / self.done for place, total in self.sums.items()}

    def forget(self) -> None:
        """Once the lens is there."""
        if self.aside is not None:
            self.aside.unlink(missing_ok=True)


def counted(n_tokens: int, device: torch.device) -> Tensor:
    """(T,) which positions of a passage count: not the first few, and not the last."""
    at = torch.arange(n_tokens, device=device)
    return (at >= min(SKIPPED, n_tokens // SKIPPED_PART)) & (at < n_tokens - 1)


def jacobian_of(
    model: PreTrainedModel, anatomy: Anatomy, ids: Tensor, memory: int = MEMORY
) -> dict[Place, Tensor]:
    """One passage's Jacobians, (d_model, d_model) on the CPU for every stream but the last."""
    tape, d_model, n_tokens = Tape(model, anatomy, ids), anatomy.d_model, ids.numel()
    places = [place for place in own_streams(anatomy) if place in tape.streams]
    example = tape.streams[len(anatomy.blocks) - 1, "post"]
    counts = counted(n_tokens, example.device)
    at_once = max(1, memory // (4 * len(tape.streams) * n_tokens * d_model))
    found = {place: torch.empty(d_model, d_model, device="cpu") for place in places}
    for begin in range(0, d_model, at_once):
        rows = range(begin, min(begin + at_once, d_model))
        directions = example.new_zeros(len(rows), n_tokens, d_model)
        for n, row in enumerate(rows):
            directions[n, counts, row] = 1
        for place, pulled in zip(places, tape.pull(directions, places), strict=True):
            found[place][rows.start : rows.stop] = pulled[:, counts.to(pulled.device)].mean(1).cpu()
    return found
