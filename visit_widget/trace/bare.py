"""A trace without its model: what the pass left behind, and what follows from that alone.

Tokens, streams, queries, keys, values and masks are all there; so are attention weights where the
model's attention is a plain softmax, and what sublayers added at the last position, as the model
itself rounded it. Everything else is made of weights, and says so.
"""

from __future__ import annotations

from typing import Any, NoReturn

import torch
from torch import Tensor, nn

from ..model import VisitError
from ..model.operations import plain_attention
from .record import AttentionRecord
from .trace import Trace


class Missing(nn.Module):
    """Stands for a module of a model that is not here."""

    def forward(self, *_: Any, **__: Any) -> NoReturn:
        """Says so."""
        raise _needs("This")


class BareTrace(Trace):
    """A trace without its model. Made by `load_trace`.

    Attributes:
        about: what is known of the model, as it was saved.
        plain_rows: by layer, whether its attention was found to be a plain softmax.
        plain_mixers: by layer, whether what its mixer gave joined the stream as it was.
    """

    about: dict[str, Any]
    plain_rows: list[bool]
    plain_mixers: list[bool]

    def __repr__(self) -> str:
        name = self.about["model"]["class"]
        return f"Trace({name}, {len(self)} tokens, {self.n_layers} layers, without its model)"

    def needs_model(self, what: str) -> None:
        """Always raises: the model is not here."""
        raise _needs(what)

    def mid(self, layer: int, position: int = -1) -> Tensor:
        """As the pass left it; in a parallel block at the last position alone."""
        layer, at = self.layer(layer), self.position(position)
        part = self.anatomy.blocks[layer]
        if part.mlp is None or not part.parallel:
            return super().mid(layer, at)
        if not part.attention_join.carries_as_is:
            raise _needs("The stream inside a parallel block")
        total = self.residual(layer, "pre")[at] + self.attention_output(layer, at)
        return total if part.mixer_late else total + self.mixer_output(layer, at)

    def logits(self, position: int = -1) -> Tensor:
        """The model's own logits, which were kept for the last position."""
        if self.position(position) != len(self) - 1 or self.anatomy.softcap is not None:
            raise _needs("The logits at another position, or before softcapping,")
        return self.work(self.record.logits)

    def attention(self, layer: int, position: int = -1) -> Tensor:
        """One query's attention weights, where they are a plain softmax of the scores."""
        layer, at = self.layer(layer), self.position(position)
        kept = self.attention_record(layer)
        if not self.plain_rows[layer]:
            raise _needs("This model's attention, which is no plain softmax,")
        return plain_weights(self, kept, at)

    def attention_output(self, layer: int, position: int = -1) -> Tensor:
        """What the pass gave at the last position."""
        if not self.attends(layer):
            return self._or_zeros(None)
        return self._added(layer, position, "attention", "What attention writes")

    def mlp_output(self, layer: int, position: int = -1) -> Tensor:
        """What the pass gave at the last position."""
        if self.anatomy.blocks[self.layer(layer)].mlp is None:
            return self._or_zeros(None)
        return self._added(layer, position, "mlp", "What an MLP writes")

    def mixer_output(self, layer: int, position: int = -1) -> Tensor:
        """What the mixer gave, where that is what joined the stream."""
        layer, at = self.layer(layer), self.position(position)
        mixed = self.record.layers[layer].mixed
        if mixed is None:
            return self._or_zeros(None)
        if not self.plain_mixers[layer]:
            raise _needs("What this layer adds to the stream")
        return self.work(mixed[at])

    def _added(self, layer: int, position: int, half: Any, what: str) -> Tensor:
        added = self.record.layers[self.layer(layer)].added.get(half)
        if added is None or self.position(position) != len(self) - 1:
            raise _needs(f"{what} at another position than the last")
        return self.work(added)


def plain_weights(trace: Trace, kept: AttentionRecord, position: int) -> Tensor:
    """(n_heads, T) the softmax of one query's scaled scores and mask, and nothing else."""
    query = trace.work(kept.query[:, position : position + 1])
    key, value = trace.work(kept.key), trace.work(kept.value)
    mask = kept.mask.row(position, key.shape[1], trace.dtype, trace.device)
    with torch.no_grad():
        weights = plain_attention(
            Missing(), query[None], key[None], value[None], mask, kept.scaling
        )[1]
    return weights[0, :, 0]


def _needs(what: str) -> VisitError:
    return VisitError(
        f"{what} needs the model, which this trace was loaded without: pass it, as in "
        "vw.load_trace(path, model=model, tokenizer=tokenizer)."
    )
