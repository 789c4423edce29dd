"""The texts that lenses are fitted on: a reference text of our own, or a user's."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from ..model import VisitError
from ..model.encoding import encode
from ..model.given import tokenizer_of
from ..trace.inputs import longest_of

# Prose, dialogue, lists, code and many languages, shuffled: the first passages are a fair sample.
_REFERENCE = Path(__file__).with_name("reference.txt")
_BETWEEN = "\n%%\n"
Texts = Sequence[str] | Sequence[Sequence[int]] | Sequence[Tensor]


def reference_texts() -> list[str]:
    """The passages of the reference text that ships with the package."""
    return _REFERENCE.read_text("utf-8").strip().split(_BETWEEN)


def passages(
    model: PreTrainedModel, tokenizer: Any, texts: Texts | None, longest: int
) -> list[Tensor]:
    """Texts as token ids, (T,) each, of at most `longest` tokens and at least three.

    Args:
        model: that is to read them; no more than it can read at once.
        tokenizer: the model's; None where the texts are token ids.
        texts: texts, or the token ids of some; the reference text by default.
        longest: where to cut them.

    Raises:
        VisitError: there is nothing to fit on; the message says what to pass.
    """
    given = reference_texts() if texts is None else texts
    longest = min(longest, longest_of(model) or longest)
    if isinstance(given, (str, bytes)):
        raise VisitError("texts is a list of texts, not one: pass texts=[text].")
    found: list[Tensor] = []
    for text in given:
        if isinstance(text, str):
            if tokenizer is None:
                raise VisitError(
                    "A lens is fitted on texts, which need the model's tokenizer: pass it, or "
                    "texts=[[…token ids…], …]."
                )
            ids = torch.tensor(
                encode(tokenizer_of(tokenizer), text), dtype=torch.long, device="cpu"
            )
        else:
            ids = torch.as_tensor(text, dtype=torch.long, device="cpu").reshape(-1)
        if ids.numel() >= 3:
            found.append(ids[:longest])
    if not found:
        raise VisitError(
            "There is no text of three tokens or more to fit a lens on: pass texts=[…], a few "
            "dozen passages of a hundred tokens."
        )
    return found


def digest_of(passages: Sequence[Tensor]) -> str:
    """What tells these passages from others."""
    digest = hashlib.sha256()
    for ids in passages:
        digest.update(repr(ids.tolist()).encode())
    return digest.hexdigest()[:16]
