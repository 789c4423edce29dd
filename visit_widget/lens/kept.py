"""The lenses of a model that are at hand, made or read once.

They hold the model's parts, never the model; and they are of its weights as they were, so that with
other weights (training, a merged adapter) they are made anew.
"""

from __future__ import annotations

import weakref
from collections.abc import MutableMapping

from transformers import PreTrainedModel

from ..model import Anatomy
from ..trace.fingerprint import fingerprint
from .lens import Lens

_kept: MutableMapping[PreTrainedModel, tuple[str | None, dict[str, Lens]]] = (
    weakref.WeakKeyDictionary()
)


def at_hand(model: PreTrainedModel, anatomy: Anatomy, own: str | None) -> dict[str, Lens]:
    """The model's lenses by name; what is put in is kept, where its weights can be told.

    Args:
        model: whose lenses.
        anatomy: where it keeps its parts.
        own: the fingerprint of its weights.
    """
    known, lenses = _kept.get(model, (None, {}))
    if own is None or known != own:
        lenses = {}
        _kept[model] = own, lenses
    for name in [n for n, lens in lenses.items() if lens.anatomy is not anatomy]:
        del lenses[name]
    return lenses


def remember(lens: Lens) -> None:
    """Put in a lens that was just fitted."""
    lenses = at_hand(lens.model, lens.anatomy, fingerprint(lens.model))
    lenses[lens.name] = lens
    if lens.name == "calibrated":
        # The local lens reads with it what it does not read itself.
        lenses.pop("local", None)
