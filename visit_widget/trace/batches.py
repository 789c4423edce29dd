"""Many prompts, a padded batch at a time; one by one where a model runs no batch."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from transformers import PreTrainedModel

from ..model import Anatomy, VisitError
from .batch import Side, trace_batch_prepared
from .inputs import Prepared
from .trace import Trace


class Batches:
    """Traces batches of prompts that are ready.

    Args:
        model: the model.
        tokenizer: its tokenizer, or None.
        padding: where shorter prompts are padded.
        anatomy: where the model keeps its parts, when that cannot be found.
        keep_on: device for the kept tensors.

    Attributes:
        notes: what there is to say of how it went.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: Any,
        padding: Side = "right",
        anatomy: Anatomy | None = None,
        keep_on: torch.device | str | None = None,
    ) -> None:
        self.model, self.tokenizer, self.padding = model, tokenizer, padding
        self.anatomy, self.keep_on = anatomy, keep_on
        self.notes: list[str] = []
        self._checked = self._one_by_one = False

    def __call__(self, made: Sequence[Prepared], stacklevel: int = 2) -> Iterator[Trace]:
        """A trace of each, in their order. That padding leaves the numbers as they are is checked
        once.

        Raises:
            VisitError: a prompt cannot be run by itself.
        """
        if not self._one_by_one and len(made) > 1:
            try:
                traces = trace_batch_prepared(
                    self.model, self.tokenizer, made, self.padding, not self._checked,
                    self.anatomy, self.keep_on,
                )  # fmt: skip
            except VisitError as error:
                # Whatever is wrong with a prompt itself comes up again when it is run alone.
                self._one_by_one = True
                self.notes.append(f"The prompts were run one by one: {error}")
                warnings.warn(self.notes[-1], stacklevel=stacklevel + 1)
            else:
                self._checked = self._checked or len({len(t) for t in traces}) > 1
                return iter(traces)
        return (self.alone(prompt) for prompt in made)

    def alone(self, prompt: Prepared) -> Trace:
        """The trace of one prompt by itself."""
        return trace_batch_prepared(
            self.model, self.tokenizer, [prompt], anatomy=self.anatomy, keep_on=self.keep_on
        )[0]


def batched(lengths: Sequence[int], most_prompts: int, most_tokens: int) -> list[list[int]]:
    """The numbers of prompts that are run together: of like lengths, so that little is padding.

    Args:
        lengths: tokens of each prompt.
        most_prompts: in a batch.
        most_tokens: in a batch, padding included; a longer prompt is run by itself.
    """
    found: list[list[int]] = []
    for number in sorted(range(len(lengths)), key=lambda n: (lengths[n], n)):
        # Sorted, so this one is as wide as the batch.
        fits = found and (len(found[-1]) + 1) * lengths[number] <= most_tokens
        if fits and len(found[-1]) < most_prompts:
            found[-1].append(number)
        else:
            found.append([number])
    return found
