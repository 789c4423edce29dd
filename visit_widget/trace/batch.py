"""Traces of many prompts by one padded forward pass.

    ids = [[a b c ·] [d e f g]]   →   one pass   →   a Trace of "a b c", a Trace of "d e f g"

Each trace is of its own prompt and knows no padding: streams, queries, keys and values are views of
the batch's, masks and the arguments of attention are cut to the prompt's rows and columns. Whether
padding leaves a model's numbers as they are is not taken for granted: one prompt is run alone and
compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor
from transformers import PreTrainedModel

from ..model import Anatomy, VisitError, anatomy_of
from ..model.encoding import special_id
from ..model.exclusive import exclusive
from ..model.given import check_language_model, check_text_only, tokenizer_of
from ..model.loaded import check_traceable, unwrapped
from .audit import tolerance_of
from .inputs import Prepared, Prompt, longest_of, prepare
from .recording import record_rows
from .rows import Row, batch_of, fitting_width
from .trace import Trace
from .tracing import trace_prepared

Side = Literal["right", "left"]


def trace_batch(
    model: PreTrainedModel,
    tokenizer: Any,
    prompts: Sequence[Prompt],
    *,
    padding: Side = "right",
    check: bool = True,
    anatomy: Anatomy | None = None,
    keep_on: torch.device | str | None = None,
) -> list[Trace]:
    """Trace several prompts by one padded forward pass.

    Args:
        model: as `trace` takes it.
        tokenizer: its tokenizer; None where the prompts are token ids.
        prompts: texts, token ids, or whatever else `trace` takes, of any lengths.
        padding: where shorter prompts are padded: "right", or "left".
        check: whether the shortest prompt is also run alone, and held against its row of the batch.
        anatomy: where the model keeps its parts, when that cannot be found.
        keep_on: device for the kept tensors.

    Returns:
        A trace of each, as `trace` would have given it.

    Raises:
        VisitError: a prompt cannot be used; or padding changes what this model says of it.
        UnsupportedModelError: the model's anatomy was not understood, or it runs no batch.
    """
    model = unwrapped(model)
    check_language_model(model)
    check_traceable(model)
    tokenizer = tokenizer_of(tokenizer)
    made = [prepare(model, tokenizer, prompt) for prompt in prompts]
    return trace_batch_prepared(model, tokenizer, made, padding, check, anatomy, keep_on)


def trace_batch_prepared(
    model: PreTrainedModel,
    tokenizer: Any,
    prompts: Sequence[Prepared],
    padding: Side = "right",
    check: bool = True,
    anatomy: Anatomy | None = None,
    keep_on: torch.device | str | None = None,
) -> list[Trace]:
    """As `trace_batch`, of prompts that are ready."""
    if padding not in ("right", "left"):
        raise VisitError(f"padding={padding!r} is not a side to pad: use 'right' or 'left'.")
    if len(prompts) < 2:
        return [trace_prepared(model, tokenizer, p, anatomy, keep_on) for p in prompts]
    for prompt in prompts:
        check_text_only(model, prompt.ids)
    with exclusive(model):
        found = anatomy or anatomy_of(model)
        records = _records(model, tokenizer, found, prompts, padding, keep_on)
    traces = []
    for prompt, kept in zip(prompts, records, strict=True):
        one = Trace(model, tokenizer, prompt.ids, found, kept, prompt.text)
        one.anatomy_given, one.keep_on = anatomy is not None, keep_on
        one.special, one.notes = prompt.special, (*prompt.notes, *found.notes)
        traces.append(one)
    if check:
        shortest = min(range(len(prompts)), key=lambda n: prompts[n].ids.numel())
        alone = trace_prepared(model, tokenizer, prompts[shortest], found, keep_on)
        _check_same(alone, traces[shortest], padding)
    return traces


def _records(
    model: PreTrainedModel,
    tokenizer: Any,
    anatomy: Anatomy,
    prompts: Sequence[Prepared],
    side: Side,
    keep_on: torch.device | str | None,
) -> list[Any]:
    every = [prompt.ids for prompt in prompts]
    longest = max(ids.numel() for ids in every)
    width = fitting_width(model, len(every), longest, longest_of(model))
    pad = special_id(tokenizer, "pad") if tokenizer is not None else None
    ids, mask = batch_of(every, width, side, 0 if pad is None else pad)
    given: dict[str, Tensor] = {}
    if not bool(mask.all()):
        given["attention_mask"] = mask
        if side == "left":
            given["position_ids"] = (mask.cumsum(-1) - 1).clamp_min(0)
    rows = []
    for index, prompt in enumerate(every):
        begin = 0 if side == "right" else width - prompt.numel()
        rows.append(Row(index, begin, begin + prompt.numel(), len(every), width))
    return record_rows(model, anatomy, ids, rows, given, keep_on)


def _check_same(alone: Trace, row: Trace, side: Side) -> None:
    """Whether a prompt's row of the batch is what the prompt is alone.

    Raises:
        VisitError: it is not.
    """
    pairs = [
        (alone.record.final, row.record.final),
        (alone.record.logits[None], row.record.logits[None]),
    ]
    off = max(
        float((alone.work(a) - row.work(b)).norm() / alone.work(a).norm().clamp_min(1e-30))
        for a, b in pairs
    )
    if not off <= tolerance_of(alone):
        other = "left" if side == "right" else "right"
        raise VisitError(
            f"Padding on the {side} changes what {type(alone.model).__name__} makes of a prompt "
            f"(by {off:.1e}): try padding={other!r}, or run the prompts one by one "
            "(batch_size=1)."
        )
