"""What a query asks for and what a key answers to, as directions in the normed stream (the q/k
lens).

The score of query i for source j is affine in the source's normed input x_j once the query is held:

    score(i, j) = ⟨d, x_j⟩ + c        d = ∂ score(i, j) / ∂ x_j

and likewise in x_i once the key is held. The derivative is taken through the model's own
projection, so weight
layout, rotary positions, grouped heads and biases are the model's own; scales of norms on queries
and keys are frozen.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ..model import VisitError
from ..model.attention import AttentionCall, listening
from ..model.norms import Norm
from .record import HIDDEN

if TYPE_CHECKING:
    from .trace import Trace


class _HeardError(Exception):
    pass


class Projection:
    """The map from a few positions' normed inputs to their queries and keys, in one layer.

    Attributes:
        input: (R, d_model) the normed inputs at `rows`.
    """

    def __init__(self, trace: Trace, layer: int, rows: Sequence[int]) -> None:
        self.trace, self.layer, self.rows = trace, layer, list(rows)
        self.part = trace.anatomy.blocks[layer]
        self._scales: dict[nn.Module, Tensor] = {}
        self._norms: dict[nn.Module, Norm] = {}
        stream = trace.record.layers[layer].pre
        norm = self.part.attention_norm
        with torch.no_grad():
            everywhere = stream if norm is None else norm(stream[None])[0]
        self.input = everywhere[self.rows].detach()
        self._whole = everywhere.detach()
        self._sliced = True
        query, key = self(self.input)
        kept = trace.record.layers[layer]
        if not (_near(query, kept.query[:, self.rows]) and _near(key, kept.key[:, self.rows])):
            # The arguments could not be cut to these rows: run all positions and cut afterwards.
            self._sliced = False
            self._scales.clear()
            query, key = self(self.input)
            if not (_near(query, kept.query[:, self.rows]) and _near(key, kept.key[:, self.rows])):
                raise VisitError(
                    f"The queries and keys of layer {layer} could not be computed again from the "
                    "stream, so what they look for is not shown."
                )

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(R, d_model) → queries (n_heads, R, d_head) and keys (n_kv_heads, R, d_head),
        differentiable in x.
        """
        if self._sliced:
            query, key = self._run(x, self.rows)
            return query, key
        if len(set(self.rows)) == len(self.rows):
            query, key = self._run(self._with(x, self.rows), None)
            return query[:, self.rows], key[:, self.rows]
        # A row asked for several times is run as often, in its place among the others.
        runs = [self._run(self._with(x[n, None], [r]), None) for n, r in enumerate(self.rows)]
        picked = [(q[:, r], k[:, r]) for (q, k), r in zip(runs, self.rows, strict=True)]
        return torch.stack([q for q, _ in picked], 1), torch.stack([k for _, k in picked], 1)

    def _with(self, x: Tensor, rows: list[int]) -> Tensor:
        """All positions' inputs, with x at the rows."""
        return self._whole.index_put((torch.tensor(rows, device=x.device),), x)

    def _run(self, x: Tensor, rows: list[int] | None) -> tuple[Tensor, Tensor]:
        heard: list[AttentionCall] = []
        attention = self.part.attention
        args, kwargs = self.trace.record.layers[self.layer].arguments
        n_tokens = self._whole.shape[0]

        def put(value: Any) -> Any:
            if value is HIDDEN:
                return x[None]
            return value if rows is None else _cut(value, rows, n_tokens)

        args, kwargs = tuple(put(a) for a in args), {k: put(v) for k, v in kwargs.items()}

        def hear(call: AttentionCall) -> None:
            heard.append(call)
            raise _HeardError

        with ExitStack() as stack:
            for norm in self.part.inner_norms:
                handle = norm.register_forward_hook(self._freeze)
                stack.callback(handle.remove)
            stack.enter_context(listening(self.trace.model, hear, within=attention))
            try:
                attention(*args, **kwargs)
            except _HeardError:
                return heard[0].query[0], heard[0].key[0]
        raise VisitError(f"The attention of layer {self.layer} could not be run again on its own.")

    def _freeze(self, module: nn.Module, args: tuple[Tensor, ...], _output: Tensor) -> Tensor:
        """A norm of queries or keys: its scale is the one at the first call."""
        x = args[0].to(self.trace.dtype)
        norm = self._norms.get(module)
        if norm is None:
            norm = self._norms[module] = Norm(
                module, x.shape[-1], x.dtype, x.device, "a norm of queries or keys"
            )
        if module not in self._scales:
            self._scales[module] = norm.scale(x.detach())
        return norm.forward_frozen(x, self._scales[module]).to(args[0].dtype)


@torch.inference_mode(False)
def query_directions(
    trace: Trace, layer: int, position: int, heads: Sequence[int], sources: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """Directions (len(heads), len(sources), d_model) and constants (len(heads), len(sources)).

    ⟨d[h, j], x_j⟩ + c[h, j] is the score that head h's query gives source j.
    """
    projection = Projection(trace, layer, sources)
    kept = trace.record.layers[layer]
    scale = _scale(kept.scaling, kept.query)
    shared = kept.query.shape[0] // kept.key.shape[0]
    x = projection.input.clone().requires_grad_()
    with torch.enable_grad():
        key = projection(x)[1]
        directions = [
            torch.autograd.grad(
                (key[h // shared] @ kept.query[h, position] * scale).sum(), x, retain_graph=True
            )[0]
            for h in heads
        ]
    with torch.no_grad():
        base = projection(torch.zeros_like(x))[1]
        constants = [base[h // shared] @ kept.query[h, position] * scale for h in heads]
    return trace.work(torch.stack(directions)), trace.work(torch.stack(constants))


@torch.inference_mode(False)
def key_directions(
    trace: Trace, layer: int, position: int, heads: Sequence[int], sources: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """Directions (len(heads), len(sources), d_model) and constants (len(heads), len(sources)).

    ⟨d[h, j], x_i⟩ + c[h, j] is the score that head h gives source j, x_i the normed input at
    `position`.
    """
    # One copy of the row for each source, so that one derivative a head serves all sources.
    projection = Projection(trace, layer, [position] * len(sources))
    kept = trace.record.layers[layer]
    shared = kept.query.shape[0] // kept.key.shape[0]
    keys = kept.key[:, list(sources)] * _scale(kept.scaling, kept.query)
    x = projection.input.clone().requires_grad_()
    with torch.enable_grad():
        query = projection(x)[0]
        directions = [
            torch.autograd.grad((query[h] * keys[h // shared]).sum(), x, retain_graph=True)[0]
            for h in heads
        ]
    with torch.no_grad():
        base = projection(torch.zeros_like(x))[0]
        constants = [(base[h] * keys[h // shared]).sum(-1) for h in heads]
    return trace.work(torch.stack(directions)), trace.work(torch.stack(constants))


def _cut(value: Any, rows: list[int], n_tokens: int) -> Any:
    """The value with its token dimension, if it has one, cut to the rows."""
    if isinstance(value, tuple):
        return tuple(_cut(v, rows, n_tokens) for v in value)
    if isinstance(value, Tensor) and value.ndim >= 2 and n_tokens in value.shape[:-1]:
        dim = value.shape[:-1].index(n_tokens)
        return value.index_select(dim, torch.tensor(rows, device=value.device))
    if isinstance(value, Tensor) and value.ndim == 2 and value.shape[-1] == n_tokens:
        return value[:, rows]
    return value


def _near(a: Tensor, b: Tensor) -> bool:
    if a.shape != b.shape:
        return False
    # A wrong cut is off by much; norms and rotary tables of transformers round to float32 whatever
    # the dtype.
    tolerance = max(1e-4, 8 * torch.finfo(a.dtype).eps)
    return bool((a - b).norm() <= tolerance * b.norm().clamp_min(1e-30))


def _scale(scaling: float | None, query: Tensor) -> float:
    return float(query.shape[-1]) ** -0.5 if scaling is None else float(scaling)
