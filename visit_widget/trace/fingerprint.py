"""Whether a model is the one that a trace was made of."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from ..model import VisitError
from ..model.precision import widest
from ..model.sharded import gathered
from .audit import tolerance_of
from .stream import carry
from .trace import Trace

# Of each tensor so many numbers are looked at; training changes about all of them.
N_SAMPLED = 32
# An error this many times what rounding may cause is no rounding.
NOT_ROUNDING = 10


def fingerprint(model: PreTrainedModel) -> str | None:
    """A digest of the names, shapes, dtypes and some of the numbers of a model's weights, and of
    which adapters are off; None where they cannot be read, as those that are put away.
    """
    digest = hashlib.sha256()
    try:
        with torch.no_grad():
            tensors = dict(model.named_parameters())
            for (name, tensor), sample in zip(tensors.items(), _samples(tensors), strict=True):
                digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype};".encode())
                digest.update(sample)
        for name, module in model.named_modules():
            if getattr(module, "_disable_adapters", False):
                # The same weights, switched off.
                digest.update(f"{name} off;".encode())
    except (NotImplementedError, RuntimeError, TypeError, ValueError):
        return None
    return digest.hexdigest()


def _samples(tensors: Mapping[str, Tensor]) -> list[bytes]:
    """Some numbers of each tensor, one copy for all tensors of a kind: this is asked often."""
    samples, kinds = dict[str, bytes](), defaultdict[Any, dict[str, Tensor]](dict)
    for name, tensor in tensors.items():
        flat = gathered(tensor).reshape(-1)
        some = flat[:: max(1, flat.numel() // N_SAMPLED)]
        kinds[tensor.dtype, tensor.device][name] = some
    for kind in kinds.values():
        numbers, begin = torch.cat(list(kind.values())).cpu().to(widest("cpu")).numpy(), 0
        for name, some in kind.items():
            samples[name] = bytes(numbers[begin : begin + len(some)].tobytes())
            begin += len(some)
    return [samples[name] for name in tensors]


def check_same_model(trace: Trace) -> None:
    """Whether the model gives what the trace kept, layer by layer at the last position.

    Raises:
        VisitError: it does not.
    """
    at, worst = len(trace) - 1, 0.0
    for layer, part in enumerate(trace.anatomy.blocks):
        pre, post = trace.residual(layer, "pre")[at], trace.residual(layer)[at]
        mixed = trace.mixer_output(layer, at)
        mid = carry(trace, layer, at, "attention").forward(pre)
        mid = mid + trace.attention_output(layer, at) + (0 if part.mixer_late else mixed)
        if part.mlp is not None:
            mid = carry(trace, layer, at, "mlp").forward(mid) + trace.mlp_output(layer, at)
        off = mid + (mixed if part.mixer_late else 0) - post
        worst = max(worst, float(off.norm() / post.norm().clamp_min(1e-30)))
    said = trace.logits(at)
    cap = trace.anatomy.softcap
    said = said if cap is None else torch.tanh(said / cap) * cap
    theirs = trace.work(trace.record.logits)
    worst = max(worst, float((said - theirs).norm() / theirs.norm().clamp_min(1e-30)))
    if not worst <= NOT_ROUNDING * tolerance_of(trace):
        raise other_model(f"what it computes is off by {worst:.1e}")


def other_model(why: str) -> VisitError:
    """The error that says that a model is not the trace's."""
    return VisitError(
        f"This is not the model that the trace was made of: {why}. Load the model as it was then "
        "(the same weights, adapters and dtype), or make a new trace with vw.trace."
    )
