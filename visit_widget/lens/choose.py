"""From what a user asks for to a lens of this model."""

from __future__ import annotations

import weakref
from typing import Any

from transformers import PreTrainedModel

from ..model import Anatomy, VisitError
from ..trace import Trace
from . import files
from .calibrated import CalibratedLens
from .jacobian import JacobianLens
from .lens import Lens, LogitLens
from .local import LocalLens
from .tuned import TunedLens

# What needs fitting, and what fits it.
FITTED: dict[str, Any] = {
    "calibrated": CalibratedLens, "jacobian": JacobianLens, "tuned": TunedLens,
}  # fmt: skip
NAMES = ("local", "logit", *FITTED)

# A model's lenses, made once; they hold the model's parts, never the model.
_made: weakref.WeakKeyDictionary[Any, dict[str, Lens]] = weakref.WeakKeyDictionary()


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
    model, anatomy = trace.model, trace.anatomy
    if lens is None:
        found = known_lens("jacobian", model, anatomy)
        if found is not None:
            return found
        local = _made_at_once("local", model, anatomy)
        assert isinstance(local, LocalLens)
        # Nobody asked for derivatives.
        return local.forgiven
    if lens not in NAMES:
        raise VisitError(f"lens={lens!r} is not known: use {', '.join(map(repr, NAMES))}.")
    if lens not in FITTED:
        return _made_at_once(lens, model, anatomy)
    found = known_lens(lens, model, anatomy)
    if found is not None:
        return found
    kind = FITTED[lens]
    if not fit or trace.tokenizer is None:
        raise VisitError(
            f"The {lens} lens has not been fitted for this model: "
            f"vw.{kind.__name__}.fit(model, tokenizer) does so once, and keeps it."
        )
    return remember(kind.fit(model, trace.tokenizer, anatomy=anatomy, progress=progress))


def known_lens(name: str, model: PreTrainedModel, anatomy: Anatomy) -> Lens | None:
    """A fitted lens that is at hand or in the user's cache; None where there is none."""
    known = _of(model, anatomy)
    if name not in known:
        path = files.cached(model, name)
        if path is None or not path.exists():
            return None
        try:
            known[name] = FITTED[name].load(path, model, anatomy=anatomy)
        except VisitError:
            return None
    return known[name]


def known_lenses(model: PreTrainedModel, anatomy: Anatomy) -> list[str]:
    """The names of the lenses that can be used at once."""
    return [n for n in NAMES if n not in FITTED or known_lens(n, model, anatomy) is not None]


def remember(lens: Lens) -> Lens:
    """Have a lens that was just fitted at hand for its model."""
    known = _of(lens.model, lens.anatomy)
    known[lens.name] = lens
    if lens.name == "calibrated":
        # The local lens reads with it what it does not read itself.
        known.pop("local", None)
    return lens


def _made_at_once(name: str, model: PreTrainedModel, anatomy: Anatomy) -> Lens:
    known = _of(model, anatomy)
    if name not in known:
        logit = known.setdefault("logit", LogitLens(model, anatomy))
        if name == "local":
            known[name] = LocalLens(
                model, anatomy, beside=known_lens("calibrated", model, anatomy) or logit
            )
    return known[name]


def _of(model: PreTrainedModel, anatomy: Anatomy) -> dict[str, Lens]:
    known = _made.setdefault(model, {})
    stale = [name for name, lens in known.items() if lens.anatomy is not anatomy]
    for name in stale:
        del known[name]
    return known
