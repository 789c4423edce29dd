"""Whether a model computes the same with a cache, token by token, as in one pass over the text.

It ought to. Some do not: a state that is carried on in another way than it was scanned, rotary
tables that stretch with the length of the text. What such a model says as it generates is another
thing than what is told of one pass, by every measure.
"""

from __future__ import annotations

import weakref
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from ..model import Anatomy
from ..model.loaded import coarsest_dtype, modules_of
from ..model.precision import wide
from ..model.watch import input_device
from .audit import QUICK
from .passes import Passes
from .prefixes import record_prefixes

N_STEPS = 3
_known: weakref.WeakKeyDictionary[nn.Module, dict[Any, bool]] = weakref.WeakKeyDictionary()


def computes_alike(model: PreTrainedModel, anatomy: Anatomy) -> bool:
    """Whether a few tokens with the cache leave what one pass over them leaves; asked of a model
    once.
    """
    how = model.config._attn_implementation, model.dtype, input_device(model)
    answers = _known.setdefault(model, {})
    if how not in answers:
        try:
            answers[how] = _tried(model, anatomy)
        except (ArithmeticError, LookupError, AttributeError, RuntimeError, TypeError, ValueError):
            answers[how] = False
    return answers[how]


def _tried(model: PreTrainedModel, anatomy: Anatomy) -> bool:
    n_vocab = anatomy.n_vocab
    ids = torch.tensor([[n_vocab // n for n in (3, 2, 5, 7, 4, 6)]], device="cpu") % n_vocab
    passes = Passes(model, anatomy, None)
    if passes.problem is not None:
        return True  # nothing is put together
    given = ids.to(input_device(model))
    with torch.inference_mode(False), torch.no_grad(), ExitStack() as stack:
        passes.listen(stack)
        found: Any = model.generate(  # type: ignore[operator]
            given, attention_mask=torch.ones_like(given), do_sample=False, num_beams=1,
            max_new_tokens=N_STEPS, min_new_tokens=N_STEPS, return_dict_in_generate=False,
        )  # fmt: skip
    sequence = found[0].cpu()
    stepped = passes.together(sequence.tolist(), ids.numel())
    if stepped is None:
        return True
    whole = record_prefixes(model, anatomy, sequence[:-1], N_STEPS, None).whole
    pairs = [(stepped.whole.final, whole.final)]
    pairs += [(a.pre, b.pre) for a, b in zip(stepped.whole.layers, whole.layers, strict=True)]
    return all(alike(model, ours, theirs) for ours, theirs in pairs)


def alike(model: PreTrainedModel, ours: Tensor, theirs: Tensor) -> bool:
    """Whether two runs of a model left the same in every row, but for rounding."""
    if ours.shape != theirs.shape:
        return False
    a, b = wide(ours), wide(theirs).to(ours.device)
    off = ((a - b).norm(dim=-1) / b.norm(dim=-1).clamp_min(1e-30)).max()
    return bool(off <= QUICK.get(coarsest_dtype(model, ours.dtype), 1e-4))


class Tables:
    """The tables that a model makes positions of, as they are now."""

    def __init__(self, model: PreTrainedModel) -> None:
        self._model = model
        self._then = {place: table.clone() for place, table in self._now().items()}

    def stayed(self) -> bool:
        """Whether they are still the same."""
        now = self._now()
        return now.keys() == self._then.keys() and all(
            torch.equal(table, self._then[place]) for place, table in now.items()
        )

    def _now(self) -> dict[tuple[int, str], Tensor]:
        return {
            (n, name): table
            for n, module in enumerate(modules_of(self._model))
            for name, table in module._buffers.items()
            if table is not None and name.endswith("inv_freq")
        }
