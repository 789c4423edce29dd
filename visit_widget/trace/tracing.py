"""Taking the one pass that a Trace is made of."""

from __future__ import annotations

from typing import Any

import torch
from transformers import PreTrainedModel

from ..model import Anatomy, anatomy_of
from ..model.exclusive import exclusive
from ..model.given import check_language_model, check_text_only, tokenizer_of
from ..model.loaded import check_traceable, unwrapped
from .inputs import Prepared, Prompt, longest_of, prepare, too_long
from .recording import record
from .trace import Trace


def trace(
    model: PreTrainedModel,
    tokenizer: Any,
    prompt: Prompt,
    *,
    anatomy: Anatomy | None = None,
    keep_on: torch.device | str | None = None,
    attention_mask: Any = None,
    add_special_tokens: bool | None = None,
) -> Trace:
    """Trace one forward pass of a causal language model.

    Args:
        model: a decoder of `transformers`, or one in a wrapper of `peft` or `torch.compile`; left
            exactly as it is found.
        tokenizer: its tokenizer, or the processor that has it; None when the prompt is token ids.
        prompt: a text; token ids of shape (T,) or (1, T); what the tokenizer gives for a text; or
            the messages of a chat, which go through its template.
        anatomy: where the model keeps its parts, when that cannot be found.
        keep_on: device for the kept tensors ("cpu" spares a GPU's memory on long prompts); where
            they were made by default. Arithmetic stays where the model is.
        attention_mask: of token ids, 1 for tokens and 0 for padding, which is left out.
        add_special_tokens: whether a text is put between the tokenizer's special tokens; as the
            tokenizer does by default.

    Raises:
        VisitError: the prompt cannot be used; the message says why.
        UnsupportedModelError: the model's anatomy was not understood.
    """
    model = unwrapped(model)
    check_language_model(model)
    check_traceable(model)
    tokenizer = tokenizer_of(tokenizer)
    made = prepare(model, tokenizer, prompt, attention_mask, add_special_tokens)
    return trace_prepared(model, tokenizer, made, anatomy, keep_on)


def trace_prepared(
    model: PreTrainedModel,
    tokenizer: Any,
    prompt: Prepared,
    anatomy: Anatomy | None,
    keep_on: torch.device | str | None,
) -> Trace:
    """As `trace`, of a prompt that is ready.

    Raises:
        VisitError: it is longer than the model can read, or no text.
        UnsupportedModelError: the model's anatomy was not understood.
    """
    check_text_only(model, prompt.ids)
    longest, n_tokens = longest_of(model), prompt.ids.numel()
    with exclusive(model):
        found = anatomy or anatomy_of(model)
        try:
            kept = record(model, found, prompt.ids, keep_on)
        except (IndexError, RuntimeError) as error:
            if longest is None or n_tokens <= longest:
                raise
            raise too_long(n_tokens, longest) from error
    made = Trace(model, tokenizer, prompt.ids, found, kept, prompt.text)
    made.anatomy_given, made.keep_on = anatomy is not None, keep_on
    made.special, made.notes = prompt.special, (*prompt.notes, *found.notes)
    made.turns = prompt.turns
    return made
