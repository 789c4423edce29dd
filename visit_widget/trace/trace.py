"""A Trace: one forward pass, and the exact parts it splits into.

A Trace keeps little (the residual stream, and each layer's queries, keys and values) and derives
the rest on demand,
for one layer and one position, by re-running that small piece of the model. Tracing therefore costs
about a plain
forward pass, and no tensor of T × T is kept.

    trace = vw.trace(model, tokenizer, "The capital of Japan is the city of")
    trace.attention(23)          # (n_heads, T): whom the last token looks at in layer 23
    trace.logit_parts(" Tokyo")  # {"embed": …, "L0.attn": …}: sums to the logit
    print(trace.audit())         # how far off each identity is

Source of the maths: Elhage et al. 2021; Katz & Belinkov 2023 (arXiv 2305.13417).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, lru_cache
from typing import Any, Literal

import torch
from torch import Tensor

from ..model import VisitError
from ..model.exclusive import exclusive
from ..model.linear import apply
from . import attention as _attention
from . import directions as _directions
from . import logit as _logit
from . import mlp as _mlp
from . import rounding as _rounding
from . import score_parts as _score_parts
from . import stream as _stream
from . import stream_parts as _stream_parts
from .audit import Audit, audit
from .base import TracedPass
from .copies import Copied
from .projection import attention_input
from .target import TargetLike
from .upward import Upward

At = Literal["pre", "mid", "post"]
# Bytes that rows of attention are remembered in.
ROWS_KEPT = 2**26


class Trace(TracedPass, Copied, Upward):
    """One forward pass and what can be derived from it. Made by `trace`.

    Tensors that methods return are of `dtype` (float64 for a float64 model, else float32) and on
    `device`. Positions may be negative, counting from the end; −1 is the last token.

    Attributes:
        model: the traced model.
        tokenizer: its tokenizer, or None.
        input_ids: (T,) on the CPU.
        anatomy: where the model keeps its parts.
        record: the kept tensors.
        n_layers, n_heads, d_model, d_mlp, n_vocab: sizes; of heads and neurons, the most that any
            layer has.
    """

    # One layer and position is asked for many times in a row (heads, bias, sources, logit):
    # remember a few; of a short prompt, those of all its positions.

    @cached_property
    def _attention_row(self) -> Any:
        wide = self.d_model if self.record.final.dtype == self.dtype else self.d_model**2
        each = 4 * (2 * len(self) * self.d_model + wide)
        size = max(4, min(64, ROWS_KEPT // each))
        return lru_cache(maxsize=size)(lambda layer, at: _attention.attention_row(self, layer, at))

    @cached_property
    def _mlp_row(self) -> Any:
        return lru_cache(maxsize=4)(lambda layer, at: _mlp.mlp_row(self, layer, at))

    def residual(self, layer: int, at: At = "post") -> Tensor:
        """The residual stream of one layer: (T, d_model).

        Args:
            layer: 0 … n_layers − 1.
            at: "pre" before the block, "mid" between attention and MLP, "post" after the block.
        """
        layer = self.layer(layer)
        if at == "pre":
            return self.work(self.record.layers[layer].pre)
        if at == "post":
            last = layer + 1 == self.n_layers
            return self.work(self.record.final if last else self.record.layers[layer + 1].pre)
        if at != "mid":
            raise VisitError(f"at={at!r} is not a place in the stream: use 'pre', 'mid' or 'post'.")
        part, kept = self.anatomy.blocks[layer], self.record.layers[layer]
        if part.mlp is None:
            return self.residual(layer)
        if not part.parallel:
            assert kept.mid is not None
            return self.work(kept.mid)
        return torch.stack([self.mid(layer, i) for i in range(len(self))])

    def mid(self, layer: int, position: int = -1) -> Tensor:
        """The stream between attention and MLP at one position: (d_model,)."""
        layer, at = self.layer(layer), self.position(position)
        part, kept = self.anatomy.blocks[layer], self.record.layers[layer]
        if part.mlp is None or not part.parallel:
            return self.work(self.residual(layer)[at] if kept.mid is None else kept.mid[at])
        carried = _stream.carry(self, layer, at, "attention").forward(self.work(kept.pre[at]))
        mixed = _stream.mixer_output(self, layer, at)
        total = carried + self.attention_output(layer, at)
        return total if mixed is None or part.mixer_late else total + mixed

    def logits(self, position: int = -1) -> Tensor:
        """The model's logits at one position: (n_vocab,), before any softcapping."""
        anatomy = self.anatomy
        stream = self.record.final[self.position(position)][None, None]
        stream = self.into(anatomy.final_norm or anatomy.unembedding, stream)
        with torch.no_grad(), exclusive(self.model):
            normed = stream if anatomy.final_norm is None else anatomy.final_norm(stream)
            normed = self.into(anatomy.unembedding, normed * anatomy.head_scale)
            said = apply(anatomy.unembedding, normed[0])[0]
            return self.work(said) * anatomy.logit_scale

    def attention_input(self, layer: int, position: int = -1) -> Tensor:
        """What queries, keys and values are made of at one position: the (normed) stream before
        the block, (d_model,).
        """
        self.needs_model("What queries, keys and values are made of")
        layer, at = self.layer(layer), self.position(position)
        return self.work(attention_input(self, layer, at)[0])

    def attention(self, layer: int, position: int = -1) -> Tensor:
        """One query's attention weights: (n_heads, T), zero where it does not look."""
        return self.attention_row(layer, position).weights

    def head_outputs(self, layer: int, position: int = -1) -> Tensor:
        """What each head adds to the stream: (n_heads, d_model)."""
        return self.attention_row(layer, position).heads

    def head_parts(self, layer: int, position: int = -1) -> Tensor:
        """What each head adds to the stream, by source token: (n_heads, T, d_model)."""
        row = self.attention_row(layer, position)
        return torch.stack([row.sources(h) for h in range(row.weights.shape[0])])

    def attn_bias(self, layer: int, position: int = -1) -> Tensor:
        """What the attention sublayer adds whatever it attends to: (d_model,), zeros where it has
        no bias.
        """
        return self._or_zeros(self.attention_row(layer, position).bias)

    def attention_output(self, layer: int, position: int = -1) -> Tensor:
        """What the attention sublayer adds to the stream: (d_model,); zeros where a layer has
        none.
        """
        if not self.attends(layer):
            return self._or_zeros(None)
        return self.head_outputs(layer, position).sum(0) + self.attn_bias(layer, position)

    def mixer_output(self, layer: int, position: int = -1) -> Tensor:
        """What a part that mixes tokens in another way than attention (a state-space or convolution
        layer) adds to the stream: (d_model,); zeros where a layer has none.
        """
        return self._or_zeros(
            _stream.mixer_output(self, self.layer(layer), self.position(position))
        )

    def rounding(self, layer: int, at: _rounding.Where = "post", position: int = -1) -> Tensor:
        """What rounding in half precision added: (d_model,), zeros where it is nil.

        Args:
            layer: 0 … n_layers − 1.
            at: "mid" or "post", to the stream there; "attn" or "mlp", to what that sublayer adds.
            position: where.
        """
        if at not in ("attn", "mid", "mlp", "post"):
            raise VisitError(
                f"at={at!r} is not where something is rounded: use 'attn', 'mid', 'mlp' or 'post'."
            )
        found = _rounding.rounding(self, self.layer(layer), at, self.position(position))
        return self._or_zeros(found)

    def neurons(self, layer: int, position: int = -1) -> Tensor:
        """The neurons' activations, as they enter the down projection: (d_mlp,).

        In a mixture of experts they have the router's weight in them, and are zero for experts that
        it did not choose.
        """
        row = self.mlp_row(layer, position)
        if row.index is None:
            return row.activations
        every = row.activations.new_zeros(self.anatomy.blocks[layer].d_mlp)
        every[row.index] = row.activations
        return every

    def neuron_values(self, layer: int, position: int = -1) -> Tensor:
        """What each neuron adds to the stream per unit of activation: (d_mlp, d_model).

        The position matters only for models with a norm after the MLP, whose scale is frozen there,
        and for a mixture of experts, where the values of the experts that were not chosen there are
        left zero.
        """
        row = self.mlp_row(layer, position)
        values = row.outlet.to_stream(row.matrix)
        if row.index is None:
            return values
        every = values.new_zeros(self.anatomy.blocks[layer].d_mlp, self.d_model)
        every[row.index] = values
        return every

    def mlp_bias(self, layer: int, position: int = -1) -> Tensor:
        """What the MLP adds whatever fires: (d_model,), zeros where it has no bias."""
        return self._or_zeros(self.mlp_row(layer, position).bias)

    def mlp_output(self, layer: int, position: int = -1) -> Tensor:
        """What the MLP adds to the stream: (d_model,); zeros where a layer has none."""
        if self.anatomy.blocks[self.layer(layer)].mlp is None:
            return self._or_zeros(None)
        return self.mlp_row(layer, position).total

    def neuron_directions(self, layer: int, neurons: Sequence[int], position: int = -1) -> Tensor:
        """What neurons look for, as directions in the MLP's normed input: (len(neurons),
        d_model).
        """
        row, neurons = self.mlp_row(layer, position), list(neurons)
        count = self.anatomy.blocks[layer].d_mlp
        missing = [n for n in neurons if not 0 <= n < count]
        if missing:
            raise VisitError(f"Layer {layer} has no neuron {missing[0]}: it has 0 to {count - 1}.")
        chosen = torch.as_tensor(neurons, dtype=torch.long, device=self.device)
        return _mlp.neuron_directions(self, self.layer(layer), row, chosen)

    def query_directions(
        self, layer: int, position: int = -1,
        heads: Sequence[int] | None = None, sources: Sequence[int] | None = None,
    ) -> Tensor:  # fmt: skip
        """What each head's query asks for at each source: (heads, sources, d_model); all of both by
        default.

        ⟨direction, x_j⟩ plus a constant is the score (before mask and softmax) that the query at
        `position` gives
        source j, where x_j is the normed input of the key projection.
        """
        found = self._directions(_directions.query_directions, layer, position, heads, sources)
        return found[0]

    def key_directions(
        self, layer: int, position: int = -1,
        heads: Sequence[int] | None = None, sources: Sequence[int] | None = None,
    ) -> Tensor:  # fmt: skip
        """What each head's key at each source answers to: (heads, sources, d_model); all of both by
        default.

        ⟨direction, x_i⟩ plus a constant is the score of the key at source j for the query at
        `position`, where x_i
        is the normed input of the query projection there.
        """
        found = self._directions(_directions.key_directions, layer, position, heads, sources)
        return found[0]

    def score_parts(
        self, layer: int, head: int, source: int, position: int = -1, by: _stream_parts.By = "part"
    ) -> _score_parts.ScoreParts:
        """Why a head looks there: one score, split by what wrote the stream that the query reads
        and what wrote the one that the key reads.

        The score is the scaled product of query and key, before position biases, softcap and
        softmax. With the scales of norms held it is a sum over pairs of parts, and sums exactly.

        Args:
            layer: 0 … n_layers − 1.
            head: of that layer.
            source: position of the token that is looked at.
            position: where the query is.
            by: how finely streams are split: "layer", "part" (attention and MLP of each layer), or
                "head" (each head; attention's bias apart).

        Raises:
            VisitError: the query does not see the source, or query or key is not made of the stream
                in a way that can be split.
        """
        self.needs_model("A score's parts")
        layer = self.layer(layer)
        places = self.position(source), self.position(position)
        return _score_parts.score_parts(self, layer, self.head(layer, head), *places, by)

    def logit_parts(
        self,
        target: TargetLike,
        foil: TargetLike | None = None,
        position: int = -1,
        by: _logit.By = "component",
    ) -> dict[str, float]:
        """Every part's share of a logit: {node id: value}, summing to the logit (before any
        softcapping).

        Args:
            target: token id, or a text that is one token; several of them (the mean of their
                logits), a direction, or anything else that `Target` says.
            foil: likewise; with a foil the sum is logit[target] − logit[foil].
            position: whose next-token logit.
            by: "component" (attention and MLP of each layer), "head" (attention by head), "neuron"
                (MLP by neuron).
        """
        self.needs_model("A logit's parts")
        return _logit.logit_parts(self, target, foil, self.position(position), by)

    def audit(self, position: int = -1) -> Audit:
        """Compute each identity on the traced numbers, and compare with fresh passes of the model
        itself.
        """
        self.needs_model("An audit")
        if self.edits is not None:
            raise VisitError(
                "An audit compares a trace with the model as it is, and this one is a rerun with "
                "interventions: audit the trace that it was made of."
            )
        return audit(self, self.position(position))

    # What the rooms of this package use.

    def attention_row(self, layer: int, position: int = -1) -> _attention.AttentionRow:
        """One layer's attention at one position."""
        self.needs_model("What heads write")
        row: _attention.AttentionRow = self._attention_row(
            self.layer(layer), self.position(position)
        )
        return row

    def mlp_row(self, layer: int, position: int = -1) -> _mlp.MlpRow:
        """One layer's MLP at one position."""
        if self.anatomy.blocks[self.layer(layer)].mlp is None:
            raise VisitError(f"Layer {layer} has no MLP.")
        self.needs_model("What neurons do")
        row: _mlp.MlpRow = self._mlp_row(self.layer(layer), self.position(position))
        return row

    def look_directions(
        self,
        layer: int,
        position: int,
        asks: _directions.HeadSources,
        answers: _directions.HeadSources,
    ) -> tuple[Tensor, Tensor]:
        """Some of `query_directions` and of `key_directions`, at the cost of one.

        Args:
            layer: 0 … n_layers − 1.
            position: of the query.
            asks: (head, source) of the first, n of them.
            answers: (head, source) of the others, m of them.

        Returns:
            (n, d_model) and (m, d_model).
        """
        self.needs_model("What queries and keys look for")
        if not asks and not answers:
            nothing = torch.zeros(0, self.d_model, dtype=self.dtype, device=self.device)
            return nothing, nothing
        layer, position = self.layer(layer), self.position(position)
        both = (
            [(self.head(layer, head), self.position(source)) for head, source in looks]
            for looks in (asks, answers)
        )
        return _directions.look_directions(self, layer, position, *both)

    def _directions(
        self,
        derive: Any,
        layer: int,
        position: int,
        heads: Sequence[int] | None,
        sources: Sequence[int] | None,
    ) -> tuple[Tensor, Any]:
        self.needs_model("What queries and keys look for")
        layer, position = self.layer(layer), self.position(position)
        count = self.attention_record(layer).query.shape[0]
        heads = range(count) if heads is None else [self.head(layer, head) for head in heads]
        every = range(len(self)) if sources is None else sources
        sources = [self.position(source) for source in every]
        if not heads or not sources:
            shape = len(heads), len(sources), self.d_model
            nothing = torch.zeros(shape, dtype=self.dtype, device=self.device)
            return nothing, nothing
        result: tuple[Tensor, Any] = derive(self, layer, position, heads, sources)
        return result
