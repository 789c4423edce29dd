"""What all benchmarks share: the demo model, the prompts, and how much to measure."""

from __future__ import annotations

import os
import platform
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor

import visit_widget as vw

PROMPT = "The capital of Japan is the city of"


@dataclass
class Setting:
    """What to measure.

    Attributes:
        lengths: prompt lengths in tokens, for `trace`.
        memory_lengths: likewise, for memory.
        repeats: counted rounds instead of each benchmark's own number.
        quick: fewer rounds.
    """

    lengths: list[int]
    memory_lengths: list[int]
    repeats: int | None
    quick: bool

    def rounds(self, usual: int) -> int:
        """How many rounds count, where a benchmark usually takes `usual`."""
        if self.repeats is not None:
            return self.repeats
        return max(2, usual // 4) if self.quick else usual

    @cached_property
    def loaded(self) -> tuple[Any, Any]:
        """The demo model, in float32, and its tokenizer."""
        model, tokenizer = vw.load_demo()
        assert next(model.parameters()).dtype == torch.float32
        return model, tokenizer

    @property
    def model(self) -> Any:
        return self.loaded[0]

    @property
    def tokenizer(self) -> Any:
        return self.loaded[1]

    def prompt(self, n_tokens: int) -> Tensor:
        """(n_tokens,) ids: the demo prompt, over and over."""
        return prompt_ids(self.tokenizer, n_tokens)

    def forward(self, ids: Tensor, every_logit: bool = False) -> Any:
        """A plain pass of the model."""
        return plain_pass(self.model, ids, every_logit)


def prompt_ids(tokenizer: Any, n_tokens: int) -> Tensor:
    ids: Tensor = tokenizer(PROMPT, return_tensors="pt")["input_ids"][0]
    return ids.repeat(-(-n_tokens // len(ids)))[:n_tokens]


@torch.no_grad()
def plain_pass(model: Any, ids: Tensor, every_logit: bool = False) -> Any:
    """The model's forward pass, without a cache of keys and values.

    Args:
        model: a decoder.
        ids: (T,).
        every_logit: also at the positions before the last, which `trace` does not ask for.
    """
    return model(input_ids=ids[None], use_cache=False, logits_to_keep=0 if every_logit else 1)


def machine(setting: Setting) -> str:
    """A sentence on what was measured on, and with what."""
    versions = f"Python {platform.python_version()}, torch {torch.__version__}"
    other = [f"transformers {transformers.__version__}"]
    try:
        other.append(f"TransformerLens {metadata.version('transformer-lens')}")
    except metadata.PackageNotFoundError:
        other.append("no TransformerLens")
    config = setting.model.config
    return (
        f"Measured on {datetime.now(UTC).date()} on {_processor()}, {os.cpu_count()} cores "
        f"({torch.get_num_threads()} torch threads), {_memory()}; {versions}, {', '.join(other)}; "
        f"SmolLM2-135M-Instruct in {str(setting.model.dtype).removeprefix('torch.')} "
        f"({config.num_hidden_layers} layers, d_model {config.hidden_size}, "
        f"{config.vocab_size:,} tokens), attention: {config._attn_implementation}."
    )


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        found = re.search(r"^model name\s*:\s*(.+)$", info.read_text(), re.MULTILINE)
        if found:
            return found.group(1).strip()
    return platform.processor() or platform.machine()


def _memory() -> str:
    total = available("MemTotal")
    return f"{total / 2**30:.0f} GiB of memory" if total else "memory unknown"


def available(entry: str = "MemAvailable") -> int | None:
    """Bytes of memory that the system says it has; None where it does not say."""
    info = Path("/proc/meminfo")
    if not info.exists():
        return None
    found = re.search(rf"^{entry}:\s*(\d+) kB", info.read_text(), re.MULTILINE)
    return int(found.group(1)) * 1024 if found else None
