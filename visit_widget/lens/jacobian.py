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
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from ..model import Anatomy, VisitError, anatomy_of
from ..model.loaded import unwrapped
from ..trace.tape import Place, Tape
from . import files
from .lens import Lens
from .progress import Progress, told
from .sites import Site
from .texts import Texts, digest_of, passages

N_PASSAGES, LONGEST = 12, 24
# Of a passage's positions the first sixteen are left out, or the first quarter of a short one.
SKIPPED, SKIPPED_PART = 16, 4
# Bytes of derivatives that are made together.
MEMORY = 2**29
# Seconds between two states of a fit that are put away.
PUT_AWAY = 20.0


class JacobianLens(Lens):
    """Reads vectors through the mean Jacobian from where they stand to the last stream.

    Args:
        model: a decoder of `transformers`.
        jacobians: {(layer, "pre" | "mid" | "post"): (d_model, d_model)} J of these streams; a
            stream that is not among them is read with the next later one's, and the last with the
            identity.
        anatomy: where the model keeps its parts, when that cannot be found.
        memory: bytes that the logits of one chunk may take.
        meta: what is known of the fit.
    """

    name = "jacobian"
    fitted = True

    def __init__(
        self,
        model: PreTrainedModel,
        jacobians: dict[Place, Tensor],
        anatomy: Anatomy | None = None,
        memory: int = 2**28,
        meta: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(model, anatomy, memory)
        shape = self.d_model, self.d_model
        wrong = next((p for p, j in jacobians.items() if tuple(j.shape) != shape), None)
        if wrong is not None:
            raise VisitError(
                f"The Jacobian of layer {wrong[0]} has shape {tuple(jacobians[wrong].shape)}, and "
                f"this model's has {shape}: it was fitted on another model."
            )
        n_layers = len(self.anatomy.blocks)
        beyond = next((layer for layer, _ in jacobians if not 0 <= layer < n_layers), None)
        if beyond is not None:
            raise VisitError(
                f"There is a Jacobian of layer {beyond}, and this model has layers 0 to "
                f"{n_layers - 1}: it was fitted on another model."
            )
        self.jacobians, self.meta = jacobians, meta or {}
        self._at_hand: dict[Place, Tensor] = {}

    def carried(self, vectors: Tensor, where: Sequence[Site]) -> Tensor:
        """J x of each vector: (n, d_model)."""
        x = vectors.detach().to(device=self.device, dtype=self.dtype)
        groups: dict[Place, list[int]] = {}
        for n, site in enumerate(where):
            place = self._place((site.layer, site.at(self.anatomy)))
            if place is not None:
                groups.setdefault(place, []).append(n)
        found = x.clone() if groups else x
        for place, numbers in groups.items():
            found[numbers] = x[numbers] @ self._matrix(place).T
        return found

    def _matrix(self, place: Place) -> Tensor:
        if place not in self._at_hand:
            self._at_hand[place] = self.jacobians[place].to(device=self.device, dtype=self.dtype)
        return self._at_hand[place]

    def _place(self, wanted: Place) -> Place | None:
        """The first fitted stream that is not before this one."""
        for place in later(wanted, len(self.anatomy.blocks)):
            if place in self.jacobians:
                return place
        return None

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
        model = unwrapped(model)
        anatomy = anatomy or anatomy_of(model)
        chosen = passages(model, tokenizer, texts, longest)[: max(1, n_passages)]
        meta = files.stamp(
            model, anatomy, cls.name, digest_of(chosen), sum(ids.numel() for ids in chosen)
        )
        meta |= {"n_passages": len(chosen), "skipped": [SKIPPED, SKIPPED_PART]}
        path = files.cached(model, cls.name) if cache else None
        fitting = _Fit(model, anatomy, chosen, meta, path, memory)
        with told(progress, len(chosen), "Fitting the Jacobian lens") as tell:
            fitting.run(tell)
        lens = cls(model, fitting.means(), anatomy, meta=meta)
        if path is not None:
            lens.save(path)
            fitting.forget()
        return lens

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the lens to a safetensors file, in half precision; returns the path."""
        tensors = {f"{at}.{layer}": j.half() for (layer, at), j in self.jacobians.items()}
        return files.write(path, {**tensors, **self.known_by()}, self.meta)

    @classmethod
    def load(
        cls, path: str | os.PathLike[str], model: Any, anatomy: Anatomy | None = None
    ) -> JacobianLens:
        """A saved lens, or an artifact as `jlens` publishes them (`.pt`).

        Raises:
            VisitError: it cannot be read, or was fitted on another model.
        """
        model = unwrapped(model)
        anatomy = anatomy or anatomy_of(model)
        if Path(path).suffix in (".pt", ".pth", ".bin"):
            return cls(model, _published(path), anatomy, meta={"model": str(path)})
        tensors, meta = files.read(path, cls.name)
        files.check_model(meta, tensors, model, anatomy)
        return cls(model, _by_place(tensors), anatomy, meta=meta)


def later(place: Place, n_layers: int) -> list[Place]:
    """A stream and all that come after it, in order; the last is left out."""
    order: list[Place] = [(0, "pre")]
    for layer in range(n_layers):
        order += [(layer, "mid"), (layer, "post")]
    layer, at = place
    start = place if at != "pre" or layer == 0 else (layer - 1, "post")
    return order[order.index(start) : -1]


class _Fit:
    """Sums over passages, and where they are put away."""

    def __init__(
        self,
        model: PreTrainedModel,
        anatomy: Anatomy,
        chosen: list[Tensor],
        meta: dict[str, Any],
        path: Path | None,
        memory: int,
    ) -> None:
        self.model, self.anatomy, self.chosen, self.meta = model, anatomy, chosen, meta
        self.memory, self.sums, self.done = memory, dict[Place, Tensor](), 0
        self.aside = None if path is None else path.with_suffix(".partial")
        self._take_up()

    def _take_up(self) -> None:
        if self.aside is None or not self.aside.exists():
            return
        with suppress(VisitError, KeyError):
            tensors, meta = files.read(self.aside, JacobianLens.name)
            files.check_model(meta, tensors, self.model, self.anatomy)
            if {**self.meta, "done": meta["done"]} == meta:
                self.sums, self.done = _by_place(tensors), meta["done"]

    def run(self, tell: Any) -> None:
        put_away = time.monotonic()
        tell(self.done, len(self.chosen))
        for ids in self.chosen[self.done :]:
            for place, jacobian in jacobian_of(self.model, self.anatomy, ids, self.memory).items():
                self.sums[place] = self.sums.get(place, 0) + jacobian
            self.done += 1
            tell(self.done, len(self.chosen))
            if time.monotonic() - put_away > PUT_AWAY and self.done < len(self.chosen):
                self._put_away()
                put_away = time.monotonic()

    def _put_away(self) -> None:
        if self.aside is not None:
            tensors = {f"{at}.{layer}": j for (layer, at), j in self.sums.items()}
            probe = files.probe(self.model)
            files.write(self.aside, {**tensors, **probe}, {**self.meta, "done": self.done})

    def means(self) -> dict[Place, Tensor]:
        return {place: total / self.done for place, total in self.sums.items()}

    def forget(self) -> None:
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
    last = len(anatomy.blocks) - 1
    places = [p for p in tape.streams if p != (last, "post") and (p[1] != "pre" or p[0] == 0)]
    example = tape.streams[last, "post"]
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


def _by_place(tensors: dict[str, Tensor]) -> dict[Place, Tensor]:
    found: dict[Place, Tensor] = {}
    for name, tensor in tensors.items():
        at, _, layer = name.partition(".")
        if at in ("pre", "mid", "post"):
            found[int(layer), at] = tensor.float()  # type: ignore[index]
    return found


def _published(path: str | os.PathLike[str]) -> dict[Place, Tensor]:
    """The Jacobians in a file of `jlens`: {"J": {layer: (d_model, d_model)}, …}, of the streams
    after the blocks.
    """
    try:
        data = torch.load(Path(path).expanduser(), map_location="cpu", weights_only=True)
        return {(int(layer), "post"): j.float() for layer, j in data["J"].items()}
    except FileNotFoundError:
        raise VisitError(f"There is no file {str(path)!r}.") from None
    except Exception as error:
        raise VisitError(
            f"{str(path)!r} is no Jacobian lens as jlens saves them ({type(error).__name__}): it "
            'has the Jacobians under "J".'
        ) from error
