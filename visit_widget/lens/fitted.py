"""What lenses that have to be fitted have in common: what they are fitted on, and their files."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from torch import Tensor
from transformers import PreTrainedModel

from ..model import Anatomy, VisitError, anatomy_of
from ..model.loaded import unwrapped
from ..trace.tape import Place
from . import files, kept
from .lens import Lens
from .sites import Site, by_place, later
from .texts import Texts, digest_of, passages

Map = TypeVar("Map")


class FittedLens(Lens):
    """A lens that is fitted on texts, and can be saved.

    Args:
        model: a decoder of `transformers`.
        anatomy: where the model keeps its parts, when that cannot be found.
        memory: bytes that the logits of one chunk may take.
        meta: what is known of the fit.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        anatomy: Anatomy | None = None,
        memory: int = 2**28,
        meta: files.Meta | None = None,
    ) -> None:
        super().__init__(model, anatomy, memory)
        self.meta = meta or {}
        self._probe = files.probe(model)

    @abstractmethod
    def tensors(self) -> dict[str, Tensor]:
        """What a file of the lens holds, by name."""

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the lens to a safetensors file; returns the path.

        Raises:
            VisitError: it cannot be written there.
        """
        return files.write(path, {**self.tensors(), **self._probe}, self.meta)

    @classmethod
    def opened(
        cls, path: str | os.PathLike[str], model: Any, anatomy: Anatomy | None
    ) -> tuple[PreTrainedModel, Anatomy, dict[str, Tensor], files.Meta]:
        """The model a file is for, where it keeps its parts, and what the file holds.

        Raises:
            VisitError: it cannot be read, or is of another lens or model.
        """
        model = unwrapped(model)
        anatomy = anatomy or anatomy_of(model)
        tensors, meta = files.read(path, cls.name)
        files.check_model(meta, tensors, model, anatomy)
        return model, anatomy, tensors, meta


class StreamLens(FittedLens, Generic[Map]):
    """A lens that holds something for each stream.

    Args:
        model: a decoder of `transformers`.
        maps: {(layer, "pre" | "mid" | "post"): what carries a vector of that stream to the last}; a
            stream that is not among them is read with the next later one's, and the last as it is.
        anatomy: where the model keeps its parts, when that cannot be found.
        memory: bytes that the logits of one chunk may take.
        meta: what is known of the fit.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        maps: dict[Place, Map],
        anatomy: Anatomy | None = None,
        memory: int = 2**28,
        meta: files.Meta | None = None,
    ) -> None:
        super().__init__(model, anatomy, memory, meta)
        self.maps, self._ready = maps, dict[Place, tuple[Tensor, Tensor | None]]()
        if not maps:
            raise VisitError(f"This {self.name} lens holds nothing for any stream: fit another.")
        shape, n_layers = (self.d_model, self.d_model), len(self.anatomy.blocks)
        for place, one in maps.items():
            theirs = tuple(self.matrix(one)[0].shape)
            if theirs != shape or not 0 <= place[0] < n_layers:
                raise VisitError(
                    f"This {self.name} lens was fitted on another model: what it has for layer "
                    f"{place[0]} is of shape {theirs}, and this model's layers are 0 to "
                    f"{n_layers - 1}, with d_model = {self.d_model}."
                )

    @abstractmethod
    def matrix(self, one: Map) -> tuple[Tensor, Tensor | None]:
        """What a vector is multiplied with, (d_model, d_model), and what is added to a whole
        stream, (d_model,) or None.
        """

    def carried(self, vectors: Tensor, where: Sequence[Site]) -> Tensor:
        """The vectors as they are read at the last stream: (n, d_model)."""
        x = vectors.detach().to(device=self.device, dtype=self.dtype)
        found = x.clone()
        for stream, numbers in by_place(where, self.anatomy).items():
            order = later(stream, len(self.anatomy.blocks))
            place = next((p for p in order if p in self.maps), None)
            if place is None:
                continue
            matrix, bias = self._at_hand(place)
            found[numbers] = x[numbers] @ matrix.T
            wholes = [n for n in numbers if not (where[n].writes or where[n].reads)]
            if bias is not None and wholes:
                found[wholes] += bias
        return found

    def _at_hand(self, place: Place) -> tuple[Tensor, Tensor | None]:
        if place not in self._ready:
            to = {"device": self.device, "dtype": self.dtype}
            matrix, bias = self.matrix(self.maps[place])
            moved: Tensor | None = None if bias is None else bias.to(**to)  # type: ignore[call-overload]
            self._ready[place] = matrix.to(**to), moved  # type: ignore[call-overload]
        return self._ready[place]


@dataclass(frozen=True)
class Fitting:
    """What a lens is fitted on.

    Attributes:
        model: the model of transformers itself.
        anatomy: where it keeps its parts.
        passages: (T,) token ids of each.
        meta: what a file of the lens says of itself.
        path: of the file in the user's cache; None where it is not kept.
    """

    model: PreTrainedModel
    anatomy: Anatomy
    passages: list[Tensor]
    meta: files.Meta
    path: Path | None

    @classmethod
    def of(
        cls,
        lens: str,
        model: Any,
        anatomy: Anatomy | None,
        tokenizer: Any,
        texts: Texts | None,
        n_passages: int,
        longest: int,
        cache: bool,
    ) -> Fitting:
        """Of what a `fit` was given.

        Raises:
            VisitError: there is nothing to fit on.
        """
        model = unwrapped(model)
        anatomy = anatomy or anatomy_of(model)
        chosen = passages(model, tokenizer, texts, longest)[: max(1, n_passages)]
        meta = files.stamp(
            model, anatomy, lens, digest_of(chosen), sum(ids.numel() for ids in chosen)
        )
        return cls(model, anatomy, chosen, meta, files.cached(model, lens) if cache else None)

    def keep(self, lens: FittedLens) -> None:
        """Have the lens at hand for its model, now and in later sessions, if it is to be kept."""
        if self.path is not None:
            lens.save(self.path)
            kept.remember(lens)
