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
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from ..model import Anatomy
from ..model.loaded import unwrapped
from ..trace.tape import Place
from ..trace.tracing import trace
from . import files
from .fitted import Fitting, StreamLens
from .progress import Progress, told
from .readout import Readout
from .sites import own_streams
from .texts import Texts

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


class TunedLens(StreamLens[Translator]):
    """Reads vectors through a learnt affine map of their stream.

    Args:
        model: a decoder of `transformers`.
        maps: {(layer, "pre" | "mid" | "post"): (A (d_model, d_model), b (d_model,))}; a stream that
            is not among them is read with the next later one's, and the last as it is.
        anatomy: where the model keeps its parts, when that cannot be found.
        memory: bytes that the logits of one chunk may take.
        meta: what is known of the fit.
    """

    name = "tuned"

    @property
    def translators(self) -> dict[Place, Translator]:
        """{(layer, "pre" | "mid" | "post"): (A (d_model, d_model), b (d_model,))}."""
        return self.maps

    def matrix(self, one: Translator) -> Translator:
        """The identity and A, and b."""
        matrix, bias = one
        return matrix + torch.eye(*matrix.shape, dtype=matrix.dtype, device=matrix.device), bias

    def tensors(self) -> dict[str, Tensor]:
        """The maps, in half precision."""
        return {
            files.name_of(what, place): tensor.half()
            for place, both in self.maps.items()
            for what, tensor in zip(("weight", "bias"), both, strict=True)
        }

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
        fitting = Fitting.of(cls.name, model, anatomy, tokenizer, texts, n_passages, longest, cache)
        places = own_streams(fitting.anatomy)
        learning = _Learning(fitting.model, fitting.anatomy, places)
        total, found = len(fitting.passages) + len(places), dict[Place, Translator]()
        with told(progress, total, "Fitting the tuned lens", "step") as tell:
            for n, ids in enumerate(fitting.passages):
                learning.add(ids)
                tell(n + 1, total)
            for n, place in enumerate(places):
                found[place] = learning.translator(place, steps)
                tell(len(fitting.passages) + n + 1, total)
        lens = cls(fitting.model, found, fitting.anatomy, meta={**fitting.meta, "steps": steps})
        fitting.keep(lens)
        return lens

    @classmethod
    def load(
        cls, path: str | os.PathLike[str], model: Any, anatomy: Anatomy | None = None
    ) -> TunedLens:
        """A saved lens, or a folder (or its `params.pt`) as the `tuned-lens` package saves one.

        Raises:
            VisitError: it cannot be read, or was fitted on another model.
        """
        source = Path(path).expanduser()
        if source.is_dir() or source.suffix in (".pt", ".pth", ".bin"):
            params = source / "params.pt" if source.is_dir() else source
            found = files.foreign(params, "tuned-lens", _published)
            return cls(unwrapped(model), found, anatomy, meta=_config(params.parent))
        model, anatomy, tensors, meta = cls.opened(source, model, anatomy)
        biases = files.places_in(tensors, "bias")
        weights = files.places_in(tensors, "weight")
        return cls(model, {p: (w, biases[p]) for p, w in weights.items()}, anatomy, meta=meta)


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
        places = torch.arange(number * BATCH, (number + 1) * BATCH, device="cpu") % len(order)
        at = order[places].unique()
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


def _published(data: dict[str, Tensor]) -> dict[Place, Translator]:
    """The translators as `tuned-lens` stores them: "3.weight" and "3.bias" are of the stream before
    block 3.
    """
    found: dict[Place, Translator] = {}
    for n in sorted({int(name.split(".")[0]) for name in data}):
        weight = data[f"{n}.weight"].float()
        bias = data.get(f"{n}.bias", torch.zeros(len(weight), device="cpu")).float()
        found[(n - 1, "post") if n else (0, "pre")] = weight, bias
    return found


def _config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    try:
        return dict(json.loads(path.read_text("utf-8")))
    except (OSError, ValueError):
        return {}
