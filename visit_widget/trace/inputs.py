"""From what a user passes as a prompt to token ids that the model can take, or one clear
sentence.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from ..model import VisitError
from ..model.watch import input_embedding

Prompt = str | Sequence[int] | Tensor


def prompt_ids(model: PreTrainedModel, tokenizer: Any, prompt: Prompt) -> Tensor:
    """Token ids of shape (T,) on the CPU.

    Raises:
        VisitError: the prompt is empty, a batch, too long, or has ids that the model does not know.
    """
    ids = _to_ids(tokenizer, prompt)
    if ids.numel() == 0:
        raise VisitError("The prompt is empty: pass at least one token.")
    n_vocab = int(input_embedding(model).shape[0])
    wrong = ids[(ids < 0) | (ids >= n_vocab)]
    if wrong.numel():
        raise VisitError(
            f"Token id {int(wrong[0])} is outside the model's vocabulary of {n_vocab}: "
            "was the prompt tokenized for another model?"
        )
    longest = getattr(model.config, "max_position_embeddings", None)
    if longest and 0 < longest < ids.numel():
        raise VisitError(
            f"The prompt has {ids.numel()} tokens but the model reads at most {longest}: shorten "
            "it."
        )
    return ids


def _to_ids(tokenizer: Any, prompt: Prompt) -> Tensor:
    if isinstance(prompt, str):
        if tokenizer is None:
            raise VisitError("A text prompt needs a tokenizer: pass one, or pass token ids.")
        return torch.tensor(tokenizer(prompt)["input_ids"], dtype=torch.long, device="cpu")
    if isinstance(prompt, Sequence) and any(isinstance(p, str) for p in prompt):
        raise VisitError("A trace is of one prompt: pass one string, not a list of them.")
    try:
        if not isinstance(prompt, Tensor):
            prompt = torch.as_tensor(prompt, device="cpu")
        ids = prompt.detach().cpu()
    except (TypeError, ValueError, RuntimeError):
        raise VisitError(
            f"A prompt is a string or a sequence of token ids, not {type(prompt).__name__}."
        ) from None
    if ids.numel() and (ids.is_floating_point() or ids.dtype == torch.bool):
        raise VisitError(f"Token ids are whole numbers, not {ids.dtype}.")
    if ids.ndim == 2 and ids.shape[0] == 1:
        ids = ids[0]
    if ids.ndim != 1:
        raise VisitError(
            f"A trace is of one prompt, but this one has shape {tuple(ids.shape)}: pass one row "
            "of the batch."
        )
    return ids.long()
