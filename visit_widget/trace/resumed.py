"""A generation made again of its tokens: one pass over the text, and no token is drawn anew."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from transformers import PreTrainedModel

from ..model import Anatomy, VisitError, anatomy_of
from ..model.exclusive import exclusive
from ..model.loaded import check_traceable, unwrapped
from .generating import Generated
from .generation import Generation, _Asked, _said_in
from .inputs import Prepared, checked
from .options import check_options
from .prefixes import record_prefixes


def resumed(
    model: PreTrainedModel,
    tokenizer: Any,
    prompt: Prepared,
    tokens: Sequence[int],
    put: Sequence[bool] = (),
    options: dict[str, Any] | None = None,
    max_new_tokens: int | None = None,
    interrupted: bool = False,
    in_one_pass: bool = True,
    anatomy: Anatomy | None = None,
    keep_on: torch.device | str | None = None,
) -> Generation:
    """The generation that said these tokens.

    Args:
        model: the model that said them.
        tokenizer: its tokenizer, or None.
        prompt: what it went on with.
        tokens: the new token ids.
        put: of each, whether it was put there by a branch.
        options: of `generate`, for branches to come.
        max_new_tokens: how many were asked for at most.
        interrupted: whether it was broken off by hand.
        in_one_pass: whether one pass over the text says what the passes of `generate` said; else
            each pass is taken when it is asked for.
        anatomy: as `trace`.
        keep_on: as `trace`.

    Raises:
        VisitError: there are no tokens, or the model does not know one.
    """
    model = unwrapped(model)
    check_traceable(model)
    if not len(tokens):
        raise VisitError("A generation without new tokens has nothing to show.")
    new = torch.tensor(list(tokens), dtype=torch.long, device="cpu")
    whole = torch.cat([prompt.ids, new])
    checked(model, Prepared(whole))
    check_options(model, options or {})
    with exclusive(model):
        found = anatomy or anatomy_of(model)
        passes = None
        if in_one_pass:
            passes = record_prefixes(model, found, whole[:-1], len(tokens), keep_on)
    made = Generated(list(tokens), passes, None if passes is None else passes.logits, interrupted)
    every = [*map(bool, put), *[False] * len(tokens)][: len(tokens)]
    said = [
        replace(one, put=one_put)
        for one, one_put in zip(_said_in(made, list(tokens), 0), every, strict=True)
    ]
    asked = _Asked(max_new_tokens, anatomy is not None, keep_on)
    return Generation(model, tokenizer, prompt, found, said, dict(options or {}), asked, made)
