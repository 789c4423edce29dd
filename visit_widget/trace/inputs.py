"""From what a user passes as a prompt to token ids that the model can take, or one clear
sentence.

A prompt is a text; token ids; what a tokenizer gave (`input_ids`, with an `attention_mask` or
without); or the messages of a chat, which go through the model's own template. Padding is left out,
never traced as text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from ..model import VisitError
from ..model.encoding import around, decode, encode, put_around, special_id
from ..model.watch import vocabulary_of
from .chat import messages_in, templated
from .turns import Turn

Prompt = str | Sequence[int] | Sequence[Mapping[str, Any]] | Mapping[str, Any] | Tensor
# How many rows more than positions a table of learned positions may have.
_SPARE_ROWS = 8


@dataclass(frozen=True)
class Prepared:
    """A prompt as the model takes it.

    Attributes:
        ids: (T,) on the CPU.
        text: as the user wrote it; None where it was not given as text.
        special: whether the tokenizer's special tokens were put around the text; None for its own
            choice. False where the ids are all there is.
        notes: sentences on what was done to it, for the user.
        turns: whose words it is made of, where it is a chat.
    """

    ids: Tensor
    text: str | None = None
    special: bool | None = False
    notes: tuple[str, ...] = ()
    turns: tuple[Turn, ...] | None = None

    def noting(self, *notes: str) -> Prepared:
        """The same with more notes."""
        return replace(self, notes=(*self.notes, *notes))


def prepare(
    model: PreTrainedModel,
    tokenizer: Any,
    prompt: Prompt,
    attention_mask: Any = None,
    add_special_tokens: bool | None = None,
) -> Prepared:
    """The prompt as the model takes it.

    Args:
        model: the model.
        tokenizer: its tokenizer, or None.
        prompt: as above.
        attention_mask: 1 for tokens and 0 for padding, as long as the ids.
        add_special_tokens: whether a text is put between the tokenizer's special tokens; by default
            as the tokenizer does, but never with a second one at the start.

    Raises:
        VisitError: the prompt is empty, a batch, too long, has holes, or has ids that the model
            does not know.
    """
    made = _prepared(tokenizer, prompt, attention_mask, add_special_tokens)
    return checked(model, made)


def checked(model: PreTrainedModel, made: Prepared) -> Prepared:
    """The prompt, with a note where it is longer than the model says it reads.

    Raises:
        VisitError: it is empty, or has ids that the model does not know, or is longer than the
            positions that it has learned.
    """
    ids = made.ids
    if ids.numel() == 0:
        raise VisitError("The prompt is empty: pass at least one token.")
    n_vocab = vocabulary_of(model)
    wrong = ids[(ids < 0) | (ids >= n_vocab)]
    if wrong.numel():
        raise VisitError(
            f"Token id {int(wrong[0])} is outside the model's vocabulary of {n_vocab}: "
            "was the prompt tokenized for another model?"
        )
    longest = longest_of(model)
    if longest is None or ids.numel() <= longest:
        return made
    if _learned_positions(model, longest):
        raise too_long(ids.numel(), longest)
    return made.noting(
        f"The prompt has {ids.numel()} tokens, more than the {longest} that the model's config "
        "names: what it says so far out was not trained."
    )


def longest_of(model: PreTrainedModel) -> int | None:
    """How many tokens the model's config says that it reads; None where it names none."""
    config = model.config
    if hasattr(config, "get_text_config"):
        config = config.get_text_config()
    longest = getattr(config, "max_position_embeddings", None)
    return longest if isinstance(longest, int) and longest > 0 else None


def too_long(n_tokens: int, longest: int) -> VisitError:
    """What to raise for a prompt that the model cannot read."""
    return VisitError(
        f"The prompt has {n_tokens} tokens but the model reads at most {longest}: shorten it."
    )


def edited(tokenizer: Any, before: Prepared, text: str) -> Prepared:
    """A prompt whose text was changed, with the special tokens that it had.

    Args:
        tokenizer: the tokenizer.
        before: the prompt before.
        text: what it is to be now; special tokens in it are special.

    Raises:
        VisitError: there is no tokenizer to read it with.
    """
    if before.text is not None:
        return _of_text(tokenizer, text, before.special)
    if tokenizer is None:
        raise VisitError("A text prompt needs a tokenizer: pass one, or pass token ids.")
    old = before.ids.tolist()
    ids = encode(tokenizer, text, special=False)
    if encode(tokenizer, decode(tokenizer, old), special=False) != old:
        # These ids are not what their own text is read as: what was not touched stays.
        ids = _spliced(tokenizer, old, text) or ids
    return Prepared(torch.tensor(ids, dtype=torch.long, device="cpu"), None, False)


def _spliced(tokenizer: Any, old: list[int], text: str) -> list[int] | None:
    """The old ids with only what changed between them read anew; None where the text does not come
    out that way.
    """
    start = 0
    while start < len(old) and text.startswith(decode(tokenizer, old[: start + 1])):
        start += 1
    for first in range(start, max(start - 4, -1), -1):
        head = decode(tokenizer, old[:first])
        end = len(old)
        while end > first and text[len(head) :].endswith(decode(tokenizer, old[end - 1 :])):
            end -= 1
        for last in range(end, min(end + 4, len(old)) + 1):
            tail = decode(tokenizer, old[last:])
            middle = text[len(head) : len(text) - len(tail)]
            between = encode(tokenizer, middle, special=False) if middle else []
            ids = [*old[:first], *between, *old[last:]]
            if decode(tokenizer, ids) == text:
                return ids
    return None


def _prepared(
    tokenizer: Any, prompt: Any, attention_mask: Any, add_special_tokens: bool | None
) -> Prepared:
    if prompt is None:
        raise VisitError("There is no prompt: pass a text, token ids or chat messages.")
    if isinstance(prompt, (bytes, bytearray)):
        raise VisitError("The prompt is bytes, not text: pass prompt.decode().")
    messages = messages_in(prompt)
    if attention_mask is not None and (isinstance(prompt, str) or messages is not None):
        raise VisitError(
            "An attention_mask belongs to token ids: pass the ids that it is for, not "
            f"{'a text' if messages is None else 'messages'}."
        )
    if isinstance(prompt, str):
        return _of_text(tokenizer, prompt, add_special_tokens)
    if add_special_tokens is not None:
        raise VisitError(
            "add_special_tokens= says how a text is read: "
            + (
                "token ids are taken as they are."
                if messages is None
                else "a chat template puts the special tokens of a chat where they belong."
            )
        )
    if messages is not None:
        found = templated(tokenizer, messages)
        ids = _to_ids(found.ids)
        made = Prepared(ids, turns=found.turns(tokenizer, ids.tolist()))
        if not found.goes_on:
            return made
        return made.noting("The last message is the assistant's: the trace goes on with it.")
    if hasattr(prompt, "keys") and "input_ids" in prompt:
        own = prompt.get("attention_mask", None)
        attention_mask = own if attention_mask is None else attention_mask
        prompt = prompt["input_ids"]
    elif hasattr(prompt, "keys"):
        raise VisitError(
            "A prompt that is a mapping has input_ids, as a tokenizer gives it, or messages."
        )
    elif hasattr(prompt, "ids") and hasattr(prompt, "attention_mask"):
        attention_mask = prompt.attention_mask if attention_mask is None else attention_mask
        prompt = prompt.ids
    ids = _to_ids(prompt)
    if attention_mask is None:
        return _without_pads(tokenizer, ids)
    return _masked(ids, attention_mask)


def _of_text(tokenizer: Any, text: str, special: bool | None) -> Prepared:
    if tokenizer is None:
        raise VisitError("A text prompt needs a tokenizer: pass one, or pass token ids.")
    ids, notes = encode(tokenizer, text, special), []
    if special is None:
        bare = encode(tokenizer, text, special=False)
        before, after = around(bare, ids)
        # What the text has at its rims itself is not put there again.
        first, last = _overlap(before, bare), _overlap(bare, after)
        ids = [*before[: len(before) - first], *bare, *after[last:]] if first or last else ids
        if first:
            notes.append(
                "The text begins with the token that starts a text, so no second one was put "
                "before it."
            )
        if last:
            notes.append(
                "The text ends with the token that ends a text, so no second one was put after it."
            )
    start = special_id(tokenizer, "bos")
    if start is not None and ids[:2] == [start, start]:
        notes.append("The prompt begins with two tokens that start a text.")
    found = torch.tensor(ids, dtype=torch.long, device="cpu")
    return Prepared(found, text, special, tuple(notes))


def _overlap(before: list[int], after: list[int]) -> int:
    """How many tokens the one ends and the other begins with."""
    sizes = range(min(len(before), len(after)), 0, -1)
    return next((n for n in sizes if before[len(before) - n :] == after[:n]), 0)


def _to_ids(prompt: Any) -> Tensor:
    """Token ids of shape (T,) on the CPU."""
    if isinstance(prompt, Sequence) and any(isinstance(p, str) for p in prompt):
        raise VisitError("A trace is of one prompt: pass one string, not a list of them.")
    try:
        if not isinstance(prompt, Tensor):
            prompt = torch.as_tensor(prompt, device="cpu")
        ids = prompt.detach().cpu()
    except (TypeError, ValueError, RuntimeError, OverflowError):
        inner = list(prompt) if isinstance(prompt, (list, tuple)) else []
        if inner and all(isinstance(row, (list, tuple)) for row in inner):
            raise VisitError(
                f"A trace is of one prompt, but these are {len(inner)}: pass one of them."
            ) from None
        if inner and all(isinstance(i, int) for i in inner):
            raise VisitError(
                f"Token id {max(inner, key=abs)} is outside of any vocabulary."
            ) from None
        raise VisitError(
            f"A prompt is a text, token ids or chat messages, not {type(prompt).__name__}."
        ) from None
    if ids.numel() and (ids.is_floating_point() or ids.is_complex() or ids.dtype == torch.bool):
        raise VisitError(f"Token ids are whole numbers, not {ids.dtype}.")
    if ids.ndim == 2 and ids.shape[0] == 1:
        ids = ids[0]
    if ids.ndim != 1:
        raise VisitError(
            f"A trace is of one prompt, but this one has shape {tuple(ids.shape)}: pass one row "
            "of the batch."
        )
    whole: Tensor = ids.long()
    return whole


def _masked(ids: Tensor, attention_mask: Any) -> Prepared:
    """The ids that the mask shows."""
    try:
        mask = torch.as_tensor(attention_mask).detach().cpu()
    except (TypeError, ValueError, RuntimeError):
        mask = torch.zeros(0)
    if mask.ndim == 2 and mask.shape[0] == 1:
        mask = mask[0]
    if mask.shape != ids.shape:
        raise VisitError(
            f"The attention_mask has shape {tuple(mask.shape)} for {ids.numel()} token ids: pass "
            "one row of 1 and 0, as long as the ids."
        )
    shown = _shown_by(mask).nonzero()[:, 0]
    if not shown.numel():
        raise VisitError("The attention_mask shows no token at all: nothing is left to trace.")
    first, last = int(shown[0]), int(shown[-1]) + 1
    if last - first != shown.numel():
        raise VisitError(
            "The attention_mask has holes between tokens, which no pass over one text has: leave "
            "the hidden tokens out of the ids."
        )
    return _cut(ids, first, last)


def _shown_by(mask: Tensor) -> Tensor:
    """Which tokens a mask shows, be it of ones and zeros or what is added to scores."""
    if mask.is_floating_point() and bool((mask < 0).any()):
        if bool((mask <= 0).all()):
            return mask == 0
    elif bool(((mask == 0) | (mask == 1)).all()):
        return mask != 0
    raise VisitError(
        "The attention_mask has numbers that say neither “shown” nor “hidden”: pass 1 for tokens "
        "and 0 for padding."
    )


def _without_pads(tokenizer: Any, ids: Tensor) -> Prepared:
    """The ids without the padding at their rims, as far as it can be told without a mask."""
    pad = special_id(tokenizer, "pad")
    if pad is None or not ids.numel():
        return Prepared(ids)
    start, end = special_id(tokenizer, "bos"), special_id(tokenizer, "eos")
    real = (ids != pad).nonzero()[:, 0]
    if not real.numel():
        return Prepared(ids)
    first, last = int(real[0]), int(real[-1]) + 1
    before: list[int] = []
    after: list[int] = []
    if pad in (start, end):
        # What texts are padded with may be what the tokenizer puts around each of them, too.
        before, after = put_around(tokenizer, decode(tokenizer, ids[first:last].tolist()))
    if first and before and before == ids[first - len(before) : first].tolist():
        first -= len(before)
    elif first == 1 and (pad == start or start is None):
        # One alone may be what a text starts with.
        first = 0
        if start is None and pad != end:
            return _cut(ids, 0, last).noting(
                "The prompt begins with the token that this tokenizer pads with; it was taken for "
                "the start of the text: pass attention_mask= to leave it out."
            )
    if after and after == ids[last : last + len(after)].tolist():
        last += len(after)
    elif len(ids) - last == 1 and pad == end:
        last = len(ids)
    return _cut(ids, first, last)


def _cut(ids: Tensor, first: int, last: int) -> Prepared:
    left = len(ids) - (last - first)
    made = Prepared(ids[first:last].clone())
    if not left:
        return made
    tokens = "1 token of padding was" if left == 1 else f"{left} tokens of padding were"
    return made.noting(f"{tokens} left out of the prompt.")


def _learned_positions(model: PreTrainedModel, longest: int) -> bool:
    """Whether the model looks positions up in a table of so many rows."""
    tokens = model.get_input_embeddings()
    return any(
        isinstance(m, nn.Embedding)
        and m is not tokens
        and longest <= m.num_embeddings <= longest + _SPARE_ROWS
        for m in model.modules()
    )
