"""The sweep: what becomes of every family of models. `make families` writes it down."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
import transformers
from transformers import PreTrainedModel

import visit_widget as vw
from tests.families import independent
from tests.families.configs import CANNOT, FAMILIES, FLOAT32_ONLY, PROMPT, VARIANTS, build
from tests.tiny import float64_throughout
from visit_widget.model import UnsupportedModelError
from visit_widget.model.find import HINT

NAMES: tuple[str, ...] = (*FAMILIES, *VARIANTS)
POSITIONS = (-1, 3)
TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-4}

# Families whose passes return no attention weights; their rows are checked by the audit alone.
NO_ATTENTIONS: dict[str, str] = {"got_ocr2": "gives those of the image alone"}

# Families whose eager attention is another function than the one that they run by default: their
# rows are those of a trace of the eager model.
EAGER_DIFFERS: dict[str, str] = {"falcon-alibi": "adds its bias twice (transformers 5.23)"}


@dataclass
class Finding:
    """What became of a family.

    Attributes:
        name: of the family, or of a variant.
        status: "exact", "refused", "not built", or "broken": neither exact nor refused as it
            should be.
        note: why it is not exact; for exact ones, what there is to know.
        audit: {dtype: largest error}.
        parts: what is special about it, in words.
        problems: what is off.
    """

    name: str
    status: str = "exact"
    note: str = ""
    audit: dict[str, float] = field(default_factory=dict)
    parts: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def recorded(self) -> dict[str, Any]:
        """The finding as `families.json` keeps it."""
        kept: dict[str, Any] = {"status": self.status, "note": self.note}
        if self.status == "exact":
            kept["audit"] = {name: bucket(self.audit[name]) for name in sorted(self.audit)[::-1]}
            kept["parts"] = self.parts
        return kept


def bucket(error: float) -> float:
    """The power of ten above an error, 1e-12 at least: rounding differs from machine to machine."""
    return float(f"1e{max(-12, math.ceil(math.log10(max(error, 1e-30))))}")


def examine(name: str) -> Finding:
    """Trace a family's tiny model and check everything that can be said about it."""
    family, changes = VARIANTS.get(name, (name, {}))
    found = Finding(name)
    if family in CANNOT:
        found.status, found.note = "not built", sentence(CANNOT[family])
        return found
    with quiet():
        try:
            build(family, torch.float32, **changes)
        except Exception as error:  # noqa: BLE001 – whatever keeps a model from being built is noted
            found.status, found.note = "not built", f"{type(error).__name__}: {error}"
            return found
        try:
            for dtype in (torch.float32, torch.float64):
                if dtype == torch.float64 and family in FLOAT32_ONLY:
                    found.note = sentence("float32 only: " + FLOAT32_ONLY[family])
                    continue
                thorough = dtype == torch.float64 or family in FLOAT32_ONLY
                with widened(dtype):
                    _check(found, partial(build, family, dtype, **changes), dtype, thorough)
        except UnsupportedModelError as error:
            found.status = "refused"
            found.note = sentence(str(error).removesuffix(HINT).strip())
        except Exception as error:  # noqa: BLE001 – any other error is the finding
            found.problems.append(f"{type(error).__name__}: {error}")
    if found.problems:
        found.status, found.note = "broken", "; ".join(found.problems)
    return found


def widened(dtype: torch.dtype) -> AbstractContextManager[None]:
    """Where float64 models run: nothing there rounds to float32."""
    return float64_throughout() if dtype == torch.float64 else nullcontext()


def sentence(words: str) -> str:
    """Words as a sentence."""
    return words[:1].upper() + words[1:].rstrip(".") + "."


def _check(
    found: Finding, make: Callable[..., PreTrainedModel], dtype: torch.dtype, thorough: bool
) -> None:
    """Trace one model of the family, and note what is off in it."""
    name = str(dtype).removeprefix("torch.")
    worst: dict[str, float] = {}
    try:
        for what, error in _errors(found, make, name, thorough):
            if not error <= TOLERANCE[dtype]:
                worst[what] = max(error, worst.get(what, error))
    finally:
        found.problems += [f"{what}: {error:.0e} in {name}" for what, error in worst.items()]


def _errors(
    found: Finding, make: Callable[..., PreTrainedModel], name: str, thorough: bool
) -> Iterator[tuple[str, float]]:
    """Everything that is compared, and how far off it is."""
    model = make()
    trace = vw.trace(model, None, PROMPT)
    positions = POSITIONS if thorough else POSITIONS[:1]
    for position in positions:
        audit = trace.audit(position)
        found.audit[name] = max(audit.max_error, found.audit.get(name, 0.0))
        # Attention rows are not asked for where a model gives none; all else always is.
        yield from ((what, e) for what, e in audit.errors.items() if e == e or "rows" not in what)
    trace.flow(layers=range(trace.n_layers))
    if not thorough:
        return
    found.parts = parts_of(trace)
    eager = make(implementation="eager")
    looking = vw.trace(eager, None, PROMPT) if found.name in EAGER_DIFFERS else trace
    for position in positions:
        rows = independent.rows(eager, looking, position)
        if rows is None and found.name not in NO_ATTENTIONS:
            found.problems.append("returns no attentions, and is not in NO_ATTENTIONS")
        yield "rows by output_attentions", rows or 0.0
        yield "logits by their parts", independent.logits(model, trace, position)
        yield "logits as they are said", independent.said(model, trace, position)
    bench = independent.Bench(model, trace, POSITIONS[1])
    for what in (independent.heads, independent.neurons, independent.mixers):
        for layer in range(trace.n_layers):
            yield f"{what.__name__} of layer {layer}", what(bench, layer) or 0.0


def parts_of(trace: vw.Trace) -> list[str]:
    """What is special about a model, from what was found in it."""
    anatomy, blocks = trace.anatomy, trace.anatomy.blocks
    attending = [n for n in range(trace.n_layers) if trace.attends(n)]
    kept = [trace.attention_record(n) for n in attending]
    joins = [j for b in blocks for j in (b.attention_join, b.mlp_join)]
    whole = sum(b.mixer is not None and b.attention is None for b in blocks)
    rows = [trace.attention_row(n, -1) for n in attending]
    beside = [b for b in blocks if b.mixer is not None and b.attention is not None]

    def trivial(factor: float | torch.Tensor) -> bool:
        return isinstance(factor, float) and factor == 1.0

    special = {
        "one key for all heads": any(k.key.shape[0] == 1 < k.query.shape[0] for k in kept),
        "grouped heads": any(1 < k.key.shape[0] < k.query.shape[0] for k in kept),
        "norms inside attention": any(b.inner_norms for b in blocks),
        "attention drains away": any(bool((r.gain < 1).any()) for r in rows),
        "gated heads": any(b.gated_heads for b in blocks),
        "norm of the heads": any(b.heads_norm is not None for b in blocks),
        "parallel": any(b.parallel for b in blocks),
        "mixture of experts": any(b.writers and b.writers.n_experts for b in blocks),
        "post-norms": any(j.post_norm is not None for j in joins),
        "norm of the sum": any(j.stream_norm is not None for j in joins),
        "carried from the norm": any(j.carry_norm is not None for j in joins),
        "scaled residual": not all(trivial(j.scale) and trivial(j.carry) for j in joins),
        "a constant in the stream": any(j.bias is not None for j in joins),
        f"hybrid: {whole} of {len(blocks)} layers shown whole": whole > 0,
        "a mixer beside attention": any(
            b.mixer and b.attention and not b.mixer_late for b in blocks
        ),
        "a third part after the MLP": any(b.mixer_late for b in beside),
        "layers without MLP": any(b.mlp is None for b in blocks),
        "no final norm": anatomy.final_norm is None,
        "scaled final state": anatomy.head_scale != 1,
        "logit scale": anatomy.logit_scale != 1,
        "softcap": anatomy.softcap is not None,
    }
    return [words for words, here in special.items() if here]


@contextmanager
def quiet() -> Iterator[None]:
    """Without what transformers logs about tiny configs."""
    usual = transformers.logging.get_verbosity()
    disabled = logging.root.manager.disable
    transformers.logging.set_verbosity_error()
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        transformers.logging.set_verbosity(usual)
        logging.disable(disabled)
