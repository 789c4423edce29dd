"""What findings read vectors by: the logit lens, and how much two readings have in common.

    I_k(a, b) = |top-k(LL a) ∩ top-k(LL b)| / k

with LL(x) = U · N_f(x) + b, the final norm computed on the vector itself. Katz & Belinkov (2023,
arXiv 2305.13417) compare hidden states by it, with k = 50; of two readings that have nothing to do
with one another it is k / n_vocab on average.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence

import torch
from torch import Tensor

from ..lens import Lens, lens_of
from ..model.exclusive import exclusive
from ..model.linear import apply
from ..trace import Trace

K = 50


_lenses: weakref.WeakKeyDictionary[Trace, Lens] = weakref.WeakKeyDictionary()


def logit_lens(trace: Trace) -> Lens:
    """The logit lens of a traced model, looked up once a trace: it takes a look at all weights."""
    if trace not in _lenses:
        _lenses[trace] = lens_of("logit", trace)
    return _lenses[trace]


def top_tokens(trace: Trace, vectors: Tensor, k: int = K) -> Tensor:
    """The k tokens that each vector says most: (…, d_model) → (…, k) token ids."""
    flat = vectors.reshape(-1, vectors.shape[-1])
    found = logit_lens(trace).project(flat, k, probabilities=False).top_ids
    return found.reshape(*vectors.shape[:-1], found.shape[-1])


class Tops:
    """Vectors of all layers, read together: a projection of many costs little more than one of few,
    which reads the whole unembedding as well.

    Args:
        trace: the traced pass.
        k: how many tokens of each.
    """

    def __init__(self, trace: Trace, k: int) -> None:
        self._trace, self._k = trace, k
        self._pieces: list[Tensor] = []
        self._shelves: list[int] = []
        self._read: Tensor | None = None

    def put(self, vectors: Tensor, shelves: Sequence[int] | None = None) -> slice:
        """Add vectors.

        Args:
            vectors: (n, d_model) or (d_model,).
            shelves: (n,) numbers; those of one number are read together. Vectors that are zero but
                for the same columns take a fraction of the product.

        Returns:
            The place of what they say in `at`.
        """
        rows = vectors.reshape(-1, vectors.shape[-1])
        begin = len(self._shelves)
        self._pieces.append(rows)
        self._shelves += [-1] * len(rows) if shelves is None else shelves
        return slice(begin, len(self._shelves))

    def at(self, place: slice) -> Tensor:
        """(n, k) token ids of what was put there."""
        if self._read is None:
            every, shelves = torch.cat(self._pieces), torch.tensor(self._shelves)
            numbers = [(shelves == shelf).nonzero()[:, 0] for shelf in shelves.unique()]
            said = [top_tokens(self._trace, every[n.to(every.device)], self._k) for n in numbers]
            order = torch.cat(numbers).argsort()
            self._read = torch.cat(said)[order.to(said[0].device)]
        return self._read[place]


def overlap(first: Tensor, second: Tensor) -> Tensor:
    """I_k of the top tokens of two readings, (…, k) each; shapes broadcast → (…)."""
    both = first[..., :, None] == second[..., None, :]
    return both.any(-1).double().mean(-1)


def target_of(trace: Trace, position: int = -1) -> int:
    """The model's first choice there."""
    return int(trace.logits(position).argmax())


def raw_logits(trace: Trace, vectors: Tensor) -> Tensor:
    """U · x + b, without the final norm: (n, d_model) → (n, n_vocab)."""
    anatomy = trace.anatomy
    with torch.no_grad(), exclusive(trace.model):
        x = trace.into(anatomy.unembedding, vectors * anatomy.head_scale)
        return trace.work(apply(anatomy.unembedding, x)) * anatomy.logit_scale


def in_own_place(trace: Trace, vectors: Tensor, heads: Sequence[int], n_heads: int) -> Tensor:
    """Heads' vectors (n, d) as vectors of d_model, each at its head's place among the flattened
    heads and zero elsewhere: how a head is read “directly”.

    Args:
        trace: the traced pass.
        vectors: (n, d) queries, keys or values.
        heads: (n,) whose they are.
        n_heads: of the layer; n_heads · d is d_model, or nothing is at its place (`has_places`).
    """
    placed = vectors.new_zeros(len(vectors), n_heads, vectors.shape[-1])
    placed[torch.arange(len(vectors)), torch.as_tensor(list(heads))] = vectors
    return placed.reshape(len(vectors), trace.d_model)


def has_places(trace: Trace, n_heads: int, width: int) -> bool:
    """Whether the flattened heads are as wide as the stream, so that heads can be read directly."""
    return n_heads * width == trace.d_model


def written(trace: Trace, layer: int, position: int = -1) -> dict[str, Tensor]:
    """What stands in the stream of a layer and is written to it there, (d_model,) each:
    "pre", "attention" (where the layer has one), "mid", "mlp" (likewise), "post".
    """
    found = {"pre": trace.residual(layer, "pre")[position]}
    if trace.attends(layer):
        found["attention"] = trace.attention_output(layer, position)
    found["mid"] = trace.mid(layer, position)
    if trace.anatomy.blocks[layer].mlp is not None:
        found["mlp"] = trace.mlp_output(layer, position)
    found["post"] = trace.residual(layer)[position]
    return found
