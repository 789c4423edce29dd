"""What a vector says through a map that was learnt from its stream to the last.

    lens(x) = U · N_f(x + A_L x + b_L) + b

A_L and b_L make the lens of the stream at L say what the model says in the end, as nearly as an
affine map can: the least mean KL divergence from the model's own prediction. What is added to a
stream goes by A_L alone: b_L belongs to the whole.

Source: Belrose et al. (2023), "Eliciting Latent Predictions from Transformers with the Tuned Lens"
(arXiv 2303.08112). It tells what the stream already knows of the answer, whether or not the model
uses it: a map that was learnt may find what the model itself does not read.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from ..model import Anatomy, VisitError, anatomy_of
from ..model.loaded import unwrapped
from ..trace.tape import Place
from ..trace.tracing import trace
from . import files
from .jacobian import later
from .lens import Lens
from .progress import Progress, told
from .readout import Readout
from .sites import Site
from .texts import Texts, digest_of, passages

N_PASSAGES, LONGEST = 96, 128
# Ridge on A, in units of the mean square of the stream's numbers times the number of tokens.
RIDGE = 0.01
# Steps of descent on the divergence, of so many tokens each, after the least squares.
STEPS, BATCH, RATE = 12, 64, 0.01
# How much of the least squares' map is a good start, of these: a norm after it makes what it only
# half knows as loud as what it knows.
STARTS = (0.0, 0.25, 0.5, 0.75, 1.0)
# A text's first tokens have streams like no other's.
SKIPPED = 4
# Tokens whose streams are kept for the descent.
N_KEPT = 768

Translator = tuple[Tensor, Tensor]


class TunedLens(Lens):
    """Reads vectors through a learnt affine map of their stream.

    Args:
        model: a decoder of `transformers`.
        translators: {(layer, "pre" | "mid" | "post"): (A (d_model, d_model), b (d_model,))}; a
            stream that is not among them is read with the next later one's, and the last as it is.
        anatomy: where the model keeps its parts, when that cannot be found.
        memory: bytes that the logits of one chunk may take.
        meta: what is known of the fit.
    """

    name = "tuned"
    fitted = True

    def __init__(
        self,
        model: PreTrainedModel,
        translators: dict[Place, Translator],
        anatomy: Anatomy | None = None,
        memory: int = 2**28,
        meta: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(model, anatomy, memory)
        for (layer, _), (matrix, _bias) in translators.items():
            if tuple(matrix.shape) != (self.d_model,) * 2 or layer >= len(self.anatomy.blocks):
                raise VisitError(
                    f"The translator of layer {layer} has shape {tuple(matrix.shape)}: it was "
                    f"fitted on another model than this one, with d_model = {self.d_model} and "
                    f"layers 0 to {len(self.anatomy.blocks) - 1}."
                )
        self.translators, self.meta = translators, meta or {}
        self._at_hand: dict[Place, Translator] = {}

    def carried(self, vectors: Tensor, where: Sequence[Site]) -> Tensor:
        """X + A x of each vector, and b for streams: (n, d_model)."""
        x = vectors.detach().to(device=self.device, dtype=self.dtype)
        groups: dict[tuple[Place, bool], list[int]] = {}
        for n, site in enumerate(where):
            wanted = site.layer, site.at(self.anatomy)
            order = later(wanted, len(self.anatomy.blocks))
            place = next((p for p in order if p in self.translators), None)
            if place is not None:
                whole = not (site.writes or site.reads)
                groups.setdefault((place, whole), []).append(n)
        found = x.clone() if groups else x
        for (place, whole), numbers in groups.items():
            matrix, bias = self._translator(place)
            found[numbers] += x[numbers] @ matrix.T
            if whole:
                found[numbers] += bias
        return found

    def _translator(self, place: Place) -> Translator:
        if place not in self._at_hand:
            matrix, bias = self.translators[place]
            to = {"device": self.device, "dtype": self.dtype}
            self._at_hand[place] = matrix.to(**to), bias.to(**to)  # type: ignore[call-overload]
        return self._at_hand[place]

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
        steps: int = STEPS,
        anatomy: Anatomy | None = None,
        cache: bool = True,
    ) -> TunedLens:
        """Fit the lens: one traced pass a passage, least squares for every stream, and some steps
        of descent on the divergence from there.

        Args:
            model: a decoder of `transformers`, left as it is found.
            tokenizer: its tokenizer; None where the texts are token ids.
            texts: what to learn from; the reference text by default.
            progress: True for a bar, False for silence, or a function of (done, total).
            n_passages: how many of the texts.
            longest: tokens of each.
            steps: of descent, for each stream.
            anatomy: where the model keeps its parts, when that cannot be found.
            cache: whether to keep the lens in the user's cache, for `lens="tuned"`.

        Raises:
            VisitError: there is nothing to fit on.
        """
        model = unwrapped(model)
        anatomy = anatomy or anatomy_of(model)
        chosen = passages(model, tokenizer, texts, longest)[: max(1, n_passages)]
        meta = files.stamp(
            model, anatomy, cls.name, digest_of(chosen), sum(ids.numel() for ids in chosen)
        )
        places = _places(anatomy)
        with told(progress, len(chosen) + len(places), "Fitting the tuned lens", "step") as tell:
            total = len(chosen) + len(places)
            learning = _Learning(model, anatomy, places)
            for n, ids in enumerate(chosen):
                learning.add(ids)
                tell(n + 1, total)
            found: dict[Place, Translator] = {}
            for n, place in enumerate(places):
                found[place] = learning.translator(place, steps)
                tell(len(chosen) + n + 1, total)
        lens = cls(model, found, anatomy, meta={**meta, "steps": steps})
        path = files.cached(model, cls.name) if cache else None
        if path is not None:
            lens.save(path)
        return lens

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the lens to a safetensors file, in half precision; returns the path."""
        tensors: dict[str, Tensor] = {}
        for (layer, at), (matrix, bias) in self.translators.items():
            tensors |= {f"weight.{at}.{layer}": matrix.half(), f"bias.{at}.{layer}": bias.half()}
        return files.write(path, {**tensors, **self.known_by()}, self.meta)

    @classmethod
    def load(
        cls, path: str | os.PathLike[str], model: Any, anatomy: Anatomy | None = None
    ) -> TunedLens:
        """A saved lens, or a folder (or its `params.pt`) as the `tuned-lens` package saves one.

        Raises:
            VisitError: it cannot be read, or was fitted on another model.
        """
        model = unwrapped(model)
        anatomy = anatomy or anatomy_of(model)
        source = Path(path).expanduser()
        if source.is_dir() or source.suffix in (".pt", ".pth", ".bin"):
            folder = source if source.is_dir() else source.parent
            params = source / "params.pt" if source.is_dir() else source
            return cls(model, _published(params), anatomy, meta=_config(folder))
        tensors, meta = files.read(source, cls.name)
        files.check_model(meta, tensors, model, anatomy)
        found: dict[Place, Translator] = {}
        for name, tensor in tensors.items():
            what, _, rest = name.partition(".")
            if what == "weight":
                at, _, layer = rest.partition(".")
                place: Any = int(layer), at
                found[place] = tensor.float(), tensors[f"bias.{rest}"].float()
        return cls(model, found, anatomy, meta=meta)


def _places(anatomy: Anatomy) -> list[Place]:
    """The streams that are read through a map of their own: all but the last."""
    found: list[Place] = [(0, "pre")]
    for layer, part in enumerate(anatomy.blocks):
        if part.mlp is not None and not part.parallel:
            found.append((layer, "mid"))
        found.append((layer, "post"))
    return found[:-1]


class _Learning:
    """Sums over tokens for the least squares, and some tokens for the descent."""

    def __init__(self, model: PreTrainedModel, anatomy: Anatomy, places: list[Place]) -> None:
        self.model, self.anatomy, self.places = model, anatomy, places
        self.readout = Readout(model, anatomy)
        d = anatomy.d_model
        self.squares = {p: torch.zeros(d + 1, d + 1, device="cpu") for p in places}
        self.products = {p: torch.zeros(d + 1, d, device="cpu") for p in places}
        self.kept: dict[Place, list[Tensor]] = {p: [] for p in places}
        self.finals: list[Tensor] = []
        self.n_tokens = 0

    def add(self, ids: Tensor) -> None:
        """What one passage says."""
        one = trace(self.model, None, ids, anatomy=self.anatomy)
        rows = slice(min(SKIPPED, len(one) - 1), None)
        final = one.residual(one.n_layers - 1)[rows].float().cpu()
        keep = sum(len(f) for f in self.finals) < N_KEPT
        for layer, at in self.places:
            x = one.residual(layer, at)[rows].float().cpu()
            wide = torch.cat([x, torch.ones(len(x), 1, device="cpu")], 1)
            self.squares[layer, at] += wide.T @ wide
            self.products[layer, at] += wide.T @ (final - x)
            if keep:
                self.kept[layer, at].append(x)
        if keep:
            self.finals.append(final)
        self.n_tokens += len(final)

    def translator(self, place: Place, steps: int) -> Translator:
        """The map of one stream."""
        square, d = self.squares.pop(place), self.anatomy.d_model
        ridge = RIDGE * float(square.diagonal()[:d].mean())
        damped = square + ridge * torch.diag(torch.tensor([1.0] * d + [0.0], device="cpu"))
        found = torch.linalg.solve(damped, self.products.pop(place))
        matrix, bias = found[:d].T.contiguous(), found[d]
        x = torch.cat(self.kept.pop(place))
        return _descended(self.readout, x, torch.cat(self.finals), (matrix, bias), steps)


def _descended(
    readout: Readout, x: Tensor, final: Tensor, start: Translator, steps: int
) -> Translator:
    """The map after some steps of descent on the mean KL divergence from the model's prediction."""
    to: dict[str, Any] = {"device": readout.device, "dtype": readout.dtype}
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0), device="cpu")

    def batch(number: int) -> tuple[Tensor, Tensor]:
        at = order[
            torch.arange(number * BATCH, (number + 1) * BATCH, device="cpu") % len(order)
        ].unique()
        with torch.no_grad():
            wanted = readout.logits(final[at].to(**to)).log_softmax(-1)
        return x[at].to(**to), wanted

    def divergence(some: Tensor, wanted: Tensor, matrix: Tensor, bias: Tensor) -> Tensor:
        said = readout.differentiable(some + some @ matrix.T + bias).log_softmax(-1)
        return (wanted.exp() * (wanted - said)).sum(-1).mean()

    matrix, bias = (t.to(**to) for t in start)
    with torch.inference_mode(False):
        with torch.no_grad():
            first = batch(0)
            off = [float(divergence(*first, part * matrix, part * bias)) for part in STARTS]
        part = STARTS[off.index(min(off))]
        before = [part * t for t in (matrix, bias)]
        values = [t.clone().requires_grad_() for t in before]
        # In units of a matrix that keeps lengths, and of the stream's numbers.
        rates = RATE / len(matrix) ** 0.5, RATE * float(first[0].square().mean().sqrt())
        groups = [{"params": [v], "lr": rate} for v, rate in zip(values, rates, strict=True)]
        descent = torch.optim.Adam(groups)
        with torch.enable_grad():
            for step in range(steps):
                descent.zero_grad()
                divergence(*batch(step + 1), *values).backward()
                descent.step()
        with torch.no_grad():
            better = float(divergence(*first, *values)) < min(off)
    found = values if better else before
    return found[0].detach().float().cpu(), found[1].detach().float().cpu()


def _published(path: Path) -> dict[Place, Translator]:
    """The translators in a file of `tuned-lens`: "3.weight" and "3.bias" are of the stream before
    block 3.
    """
    try:
        data = torch.load(path, map_location="cpu", weights_only=True)
        numbers = sorted({int(name.split(".")[0]) for name in data})
        read: Callable[[str], Tensor] = lambda name: data[name].float()  # noqa: E731
        found: dict[Place, Translator] = {}
        for n in numbers:
            weight = read(f"{n}.weight")
            bias = read(f"{n}.bias") if f"{n}.bias" in data else torch.zeros(len(weight))
            found[(n - 1, "post") if n else (0, "pre")] = weight, bias
        return found
    except FileNotFoundError:
        raise VisitError(f"There is no file {str(path)!r}.") from None
    except Exception as error:
        raise VisitError(
            f"{str(path)!r} is no tuned lens as tuned-lens saves them ({type(error).__name__}): it "
            'has "0.weight", "0.bias" and so on.'
        ) from error


def _config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    try:
        return dict(json.loads(path.read_text("utf-8")))
    except (OSError, ValueError):
        return {}
