"""From what a user asks for to a lens of this model."""

from __future__ import annotations

from typing import Any

from ..model import VisitError
from ..trace import Trace
from ..trace.fingerprint import fingerprint
from . import files, kept
from .calibrated import CalibratedLens
from .jacobian import JacobianLens
from .lens import Lens, LogitLens
from .local import LocalLens
from .progress import Progress
from .tuned import TunedLens

# What needs fitting, and what fits it.
FITTED: dict[str, Any] = {
    "calibrated": CalibratedLens, "jacobian": JacobianLens, "tuned": TunedLens,
}  # fmt: skip
NAMES = ("local", "logit", *FITTED)


def lens_of(
    lens: Lens | str | None, trace: Trace, fit: bool = False, progress: bool = True
) -> Lens:
    """The lens of a traced model.

    By default that is the Jacobian lens, where one has been fitted for the model, and the local
    lens elsewhere: what the numbers in docs/lenses.md say.

    Args:
        lens: a lens, or the name of one; the default by default.
        trace: of the model.
        fit: whether to fit one that is asked for by name and is not in the user's cache.
        progress: whether a bar shows how far that is.

    Raises:
        VisitError: there is no such lens, it is another model's, or has not been fitted.
    """
    if isinstance(lens, Lens):
        if (lens.n_vocab, lens.d_model) != (trace.n_vocab, trace.d_model):
            raise VisitError(
                f"This {type(lens).__name__} reads vectors of {lens.d_model} numbers as "
                f"{lens.n_vocab} tokens, and the model has {trace.d_model} and {trace.n_vocab}: "
                "it was made for another model."
            )
        return lens
    shelf = _Shelf(trace)
    if lens is None:
        # Nobody asked for derivatives.
        return shelf.fitted("jacobian") or shelf.local().forgiven
    if lens not in NAMES:
        raise VisitError(f"lens={lens!r} is not known: use {', '.join(map(repr, NAMES))}.")
    if lens not in FITTED:
        return shelf.local() if lens == "local" else shelf.logit()
    found = shelf.fitted(lens)
    if found is not None:
        return found
    if not fit or trace.tokenizer is None:
        raise VisitError(
            f"The {lens} lens has not been fitted for this model: "
            f"vw.{FITTED[lens].__name__}.fit(model, tokenizer) does so once, and keeps it."
        )
    return fit_lens(lens, trace, progress)


def fit_lens(name: str, trace: Trace, progress: Progress = True) -> Lens:
    """Fit a lens of a traced model on the reference text, and keep it.

    Args:
        name: of those in `FITTED`.
        trace: of the model.
        progress: True for a bar, False for silence, or a function of (done, total).

    Raises:
        VisitError: it cannot be fitted.
    """
    if trace.tokenizer is None:
        raise VisitError(
            "A lens is fitted on texts, and this trace has no tokenizer to read them with: "
            f"vw.{FITTED[name].__name__}.fit(model, None, texts) takes token ids."
        )
    kind = FITTED[name]
    found: Lens = kind.fit(trace.model, trace.tokenizer, anatomy=trace.anatomy, progress=progress)
    return found


def known_lenses(trace: Trace) -> list[str]:
    """The names of the lenses of a traced model that can be used at once."""
    shelf = _Shelf(trace)
    return [n for n in NAMES if n not in FITTED or shelf.fitted(n) is not None]


class _Shelf:
    """A model's lenses, at hand or in the user's cache."""

    def __init__(self, trace: Trace) -> None:
        self.model, self.anatomy = trace.model, trace.anatomy
        self.own = fingerprint(self.model)
        self.lenses = kept.at_hand(self.model, self.anatomy, self.own)

    def fitted(self, name: str) -> Lens | None:
        """One that has to be fitted; None where it has not been."""
        if name not in self.lenses and self.own is not None:
            path = files.cached(self.model, name, self.own)
            if path is None or not path.exists():
                return None
            try:
                self.lenses[name] = FITTED[name].load(path, self.model, anatomy=self.anatomy)
            except VisitError:
                return None
        return self.lenses.get(name)

    def logit(self) -> Lens:
        """The logit lens."""
        if "logit" not in self.lenses:
            self.lenses["logit"] = LogitLens(self.model, self.anatomy)
        return self.lenses["logit"]

    def local(self) -> LocalLens:
        """The local lens, beside the calibrated one where that has been fitted."""
        found = self.lenses.get("local")
        if not isinstance(found, LocalLens):
            beside = self.fitted("calibrated") or self.logit()
            found = self.lenses["local"] = LocalLens(self.model, self.anatomy, beside=beside)
        return found
