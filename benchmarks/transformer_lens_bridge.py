"""TransformerLens on the demo model's own weights, for a side-by-side."""

from __future__ import annotations

import copy
import logging
import os
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from visit_widget.model.demo import DEMO_MODEL

from .setting import available
from .storage import storage_bytes


class MissingError(Exception):
    """TransformerLens cannot take part; the message says why."""


class Bridge:
    """A TransformerBridge on a copy of a model (booting takes the model apart).

    Raises:
        MissingError: TransformerLens is not installed or cannot take the model.
    """

    def __init__(self, model: Any, tokenizer: Any) -> None:
        os.environ.setdefault("WANDB_MODE", "disabled")
        logging.getLogger().setLevel(logging.ERROR)
        try:
            from transformer_lens.model_bridge import TransformerBridge
        except ImportError as error:
            raise MissingError(f"TransformerLens is not installed ({error}).") from error
        try:
            self.bridge = TransformerBridge.boot_transformers(
                DEMO_MODEL,
                hf_model=copy.deepcopy(model),
                tokenizer=tokenizer,
                dtype=model.dtype,
                device=model.device,
            )
        except Exception as error:
            raise MissingError(f"TransformerLens could not take the model: {error}") from error

    @torch.no_grad()
    def forward(self, ids: Tensor) -> Tensor:
        """(1, T, n_vocab) logits."""
        logits: Tensor = self.bridge(ids[None])
        return logits

    @torch.no_grad()
    def run_with_cache(self, ids: Tensor) -> Any:
        return self.bridge.run_with_cache(ids[None])[1]

    def cached_bytes(self, n_tokens: int, prompt: Callable[[int], Tensor]) -> float:
        """What run_with_cache keeps: exact up to 512 tokens, beyond by its linear and quadratic
        terms.
        """
        if n_tokens <= 512:
            return self._kept(prompt(n_tokens))
        half, full = self._kept(prompt(256)), self._kept(prompt(512))
        quadratic = (full - 2 * half) / (512**2 - 2 * 256**2)
        linear = full / 512 - quadratic * 512
        return linear * n_tokens + quadratic * n_tokens**2

    def too_big(self, n_tokens: int, prompt: Callable[[int], Tensor]) -> str | None:
        """Why run_with_cache cannot be run on so many tokens here, if it cannot."""
        needed, there = self.cached_bytes(n_tokens, prompt) * 1.3, available()
        if there is None or needed < there:
            return None
        return (
            f"run_with_cache was not run at {n_tokens:,} tokens: it needs {needed / 2**30:.0f} GiB,"
            f" and {there / 2**30:.0f} GiB are free."
        )

    def _kept(self, ids: Tensor) -> int:
        return storage_bytes(self.run_with_cache(ids))
