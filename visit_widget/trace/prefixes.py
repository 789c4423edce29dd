"""One pass, and those of its beginnings: in a causal model each is a view of the longest.

What happens at a position never changes what earlier positions left. So the pass over a prompt and
what was generated after it holds the pass that said each of the new tokens: the tensors are kept
once, and the record of each of these passes shows the beginning of them.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from ..model import Anatomy
from .record import AttentionRecord, Half, LayerRecord, Record
from .recording import collect, run, together


@dataclass(frozen=True)
class Prefixes:
    """A pass, and n passes over its beginnings, each one token longer than the last.

    Attributes:
        whole: the record of the longest, or of a longer one.
        shortest: tokens of the first of them.
        logits: (n, n_vocab) the model's own logits at the last position of each.
        added: by layer, what a sublayer added there: (n, d_model), as in `LayerRecord`.
        in_steps: whether it was run in steps, with a cache.
    """

    whole: Record
    shortest: int
    logits: Tensor
    added: list[dict[Half, Tensor]]
    in_steps: bool = False

    def __len__(self) -> int:
        return len(self.logits)

    def record(self, place: int) -> Record:
        """The record of one of them, as views.

        Args:
            place: 0 … n − 1.
        """
        added = [{half: rows[place] for half, rows in some.items()} for some in self.added]
        return beginning(self.whole, self.shortest + place, self.logits[place], added)


def record_prefixes(
    model: PreTrainedModel,
    anatomy: Anatomy,
    input_ids: Tensor,
    n_last: int,
    keep_on: torch.device | str | None,
) -> Prefixes:
    """Run the model once on input_ids of shape (T,), for the passes that end at its last n_last
    positions.
    """
    notes, logits = run(model, anatomy, input_ids, n_last, keep_on)
    layers = collect(anatomy, notes)
    whole = together(model, layers, notes, logits[-1])
    added = [dict(notes.added[layer]) for layer in range(len(layers))]
    return Prefixes(whole, input_ids.numel() - n_last + 1, notes.kept(logits), added)


def beginning(
    whole: Record, n_tokens: int, logits: Tensor, added: list[dict[Half, Tensor]]
) -> Record:
    """The record of the first tokens of a pass, as views.

    Args:
        whole: the record of the pass.
        n_tokens: how many.
        logits: (n_vocab,) what the model said at the last of them.
        added: by layer, what sublayers added there.
    """
    of = len(whole.final)
    layers = [_beginning(k, n_tokens, of, a) for k, a in zip(whole.layers, added, strict=True)]
    return Record(layers, whole.final[:n_tokens], logits, whole.device, whole.implementation)


def _beginning(
    layer: LayerRecord, n_tokens: int, of: int, added: dict[Half, Tensor]
) -> LayerRecord:
    kept = layer.attention
    return LayerRecord(
        layer.pre[:n_tokens],
        None if layer.mid is None else layer.mid[:n_tokens],
        None if layer.mixed is None else layer.mixed[:n_tokens],
        None if kept is None else _attention(kept, n_tokens, of),
        added,
    )


def _attention(kept: AttentionRecord, n_tokens: int, of: int) -> AttentionRecord:
    args, kwargs = kept.arguments
    return AttentionRecord(
        kept.query[:, :n_tokens], kept.key[:, :n_tokens], kept.value[:, :n_tokens],
        kept.mask.until(n_tokens), kept.scaling,
        {name: shortened(o, n_tokens, of) for name, o in kept.options.items()}, kept.attend,
        (
            tuple(shortened(a, n_tokens, of) for a in args),
            {name: shortened(a, n_tokens, of) for name, a in kwargs.items()},
        ),
    )  # fmt: skip


def shortened(value: Any, n_tokens: int, of: int) -> Any:
    """An argument of an attention module, cut to the first tokens of so many."""
    if isinstance(value, (tuple, list)):
        return type(value)(shortened(v, n_tokens, of) for v in value)
    if isinstance(value, MutableMapping):
        # Some layers leave keys for later ones in it.
        return {k: shortened(v, n_tokens, of) for k, v in value.items()}
    if not isinstance(value, Tensor) or isinstance(value, nn.Parameter):
        return value
    dim = token_dim(value, of)
    return value if dim is None else value.narrow(dim, 0, n_tokens)


def token_dim(tensor: Tensor, n_tokens: int) -> int | None:
    """The dimension of an attention module's argument that counts tokens; None where there is
    none.

    It is the last but one of what has a vector for each token, the last of what has a number.
    """
    order = [*range(tensor.ndim - 2, -1, -1), tensor.ndim - 1] if tensor.ndim else []
    return next((dim for dim in order if tensor.shape[dim] == n_tokens), None)
