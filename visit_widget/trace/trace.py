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
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from ..model import Anatomy, VisitError, anatomy_of
from ..model.attention import MODEL_LOCK
from ..model.norms import Norm
from ..model.tokens import SPACE, token_texts
from . import attention as _attention
from . import directions as _directions
from . import logit as _logit
from . import mlp as _mlp
from .audit import Audit, audit
from .inputs import Prompt, prompt_ids
from .record import Record, record

if TYPE_CHECKING:
    from ..flow import FlowGraph, Keep

At = Literal["pre", "mid", "post"]


def trace(
    model: PreTrainedModel, tokenizer: Any, prompt: Prompt, *, anatomy: Anatomy | None = None
) -> Trace:
    """Trace one forward pass of a causal language model.

    Args:
        model: a decoder of `transformers`; left exactly as it is found.
        tokenizer: its tokenizer; None when the prompt is token ids.
        prompt: a string, or token ids of shape (T,) or (1, T).
        anatomy: where the model keeps its parts, when that cannot be found.

    Raises:
        VisitError: the prompt cannot be used; the message says why.
        UnsupportedModelError: the model's anatomy was not understood.
    """
    if not isinstance(model, PreTrainedModel):
        raise VisitError(
            f"A model of transformers is needed, not {type(model).__name__}: load one with "
            "AutoModelForCausalLM."
        )
    input_ids = prompt_ids(model, tokenizer, prompt)
    with MODEL_LOCK:
        anatomy = anatomy or anatomy_of(model)
        kept = record(model, anatomy, input_ids)
    text = prompt if isinstance(prompt, str) else None
    return Trace(model, tokenizer, input_ids, anatomy, kept, text)


class Trace:
    """One forward pass and what can be derived from it. Made by `trace`.

    Tensors that methods return are of `dtype` (float64 for a float64 model, else float32) and on
    `device`.
    Positions may be negative, counting from the end; −1 is the last token.

    Attributes:
        model: the traced model.
        tokenizer: its tokenizer, or None.
        input_ids: (T,) on the CPU.
        anatomy: where the model keeps its parts.
        record: the kept tensors.
        n_layers, n_heads, d_model, d_mlp, n_vocab: sizes.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: Any,
        input_ids: Tensor,
        anatomy: Anatomy,
        kept: Record,
        text: str | None = None,
    ) -> None:
        self.model, self.tokenizer, self.input_ids = model, tokenizer, input_ids
        self.anatomy, self.record, self._text = anatomy, kept, text
        self.n_layers = len(anatomy.blocks)
        self.n_heads, self.d_model, self.d_mlp = anatomy.n_heads, anatomy.d_model, anatomy.d_mlp
        self.n_vocab = anatomy.n_vocab
        self.dtype = torch.promote_types(kept.final.dtype, torch.float32)
        self.device = kept.final.device
        # One layer and position is asked for many times in a row (heads, bias, sources, logit):
        # remember a few.
        self._attention_row = lru_cache(maxsize=4)(
            lambda layer, at: _attention.attention_row(self, layer, at)
        )
        self._mlp_row = lru_cache(maxsize=4)(lambda layer, at: _mlp.mlp_row(self, layer, at))
        self._norms: dict[nn.Module, Norm] = {}

    def __repr__(self) -> str:
        return f"Trace({type(self.model).__name__}, {len(self)} tokens, {self.n_layers} layers)"

    def __len__(self) -> int:
        return int(self.input_ids.numel())

    @property
    def prompt(self) -> str:
        """The prompt as text; what its ids decode to where it was given as ids; "" without a
        tokenizer.
        """
        if self._text is not None:
            return self._text
        return "" if self.tokenizer is None else str(self.tokenizer.decode(self.input_ids.tolist()))

    @cached_property
    def tokens(self) -> list[str]:
        """The prompt's tokens as a person reads them."""
        return token_texts(self.tokenizer, self.input_ids.tolist())

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
        if not self.anatomy.blocks[layer].parallel:
            return self.work(self.record.layers[layer].mid)
        written = torch.stack([self.attention_output(layer, i) for i in range(len(self))])
        return self.work(self.record.layers[layer].pre) + written

    def logits(self, position: int = -1) -> Tensor:
        """The model's logits at one position: (n_vocab,), before any softcapping."""
        stream = self.record.final[self.position(position)]
        with torch.no_grad(), MODEL_LOCK:
            norm = self.anatomy.final_norm
            normed = stream[None, None] if norm is None else norm(stream[None, None])
            return self.work(self.anatomy.unembedding(normed)[0, 0])

    def attention(self, layer: int, position: int = -1) -> Tensor:
        """One query's attention weights: (n_heads, T), zero where it does not look."""
        return self.attention_row(layer, position).weights

    def head_outputs(self, layer: int, position: int = -1) -> Tensor:
        """What each head adds to the stream: (n_heads, d_model)."""
        return self.attention_row(layer, position).heads

    def head_parts(self, layer: int, position: int = -1) -> Tensor:
        """What each head adds to the stream, by source token: (n_heads, T, d_model)."""
        row = self.attention_row(layer, position)
        return torch.stack([row.sources(h) for h in range(self.n_heads)])

    def attn_bias(self, layer: int, position: int = -1) -> Tensor:
        """What the attention sublayer adds whatever it attends to: (d_model,), zeros where it has
        no bias.
        """
        bias = self.attention_row(layer, position).bias
        return (
            torch.zeros(self.d_model, dtype=self.dtype, device=self.device)
            if bias is None
            else bias
        )

    def attention_output(self, layer: int, position: int = -1) -> Tensor:
        """What the attention sublayer adds to the stream: (d_model,)."""
        return self.head_outputs(layer, position).sum(0) + self.attn_bias(layer, position)

    def neurons(self, layer: int, position: int = -1) -> Tensor:
        """The neurons' activations, as they enter the down projection: (d_mlp,)."""
        return self.mlp_row(layer, position).activations

    def neuron_values(self, layer: int, position: int = -1) -> Tensor:
        """What each neuron adds to the stream per unit of activation: (d_mlp, d_model).

        The position matters only for models with a norm after the MLP, whose scale is frozen there.
        """
        row = self.mlp_row(layer, position)
        return row.outlet.to_stream(row.matrix)

    def mlp_bias(self, layer: int, position: int = -1) -> Tensor:
        """What the MLP adds whatever fires: (d_model,), zeros where it has no bias."""
        bias = self.mlp_row(layer, position).bias
        return (
            torch.zeros(self.d_model, dtype=self.dtype, device=self.device)
            if bias is None
            else bias
        )

    def mlp_output(self, layer: int, position: int = -1) -> Tensor:
        """What the MLP adds to the stream: (d_model,)."""
        return self.mlp_row(layer, position).total

    def neuron_directions(self, layer: int, neurons: Sequence[int], position: int = -1) -> Tensor:
        """What neurons look for, as directions in the MLP's normed input: (len(neurons),
        d_model).
        """
        row, neurons = self.mlp_row(layer, position), list(neurons)
        missing = [n for n in neurons if not 0 <= n < row.activations.numel()]
        if missing:
            raise VisitError(
                f"Layer {layer} has no neuron {missing[0]}: "
                f"it has 0 to {row.activations.numel() - 1}."
            )
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
        return self._directions(_directions.query_directions, layer, position, heads, sources)

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
        return self._directions(_directions.key_directions, layer, position, heads, sources)

    def logit_parts(
        self,
        target: int | str,
        foil: int | str | None = None,
        position: int = -1,
        by: _logit.By = "component",
    ) -> dict[str, float]:
        """Every part's share of a logit: {node id: value}, summing to the logit (before any
        softcapping).

        Args:
            target: token id, or a text that is one token.
            foil: with a foil the sum is logit[target] − logit[foil].
            position: whose next-token logit.
            by: "component" (attention and MLP of each layer), "head" (attention by head), "neuron"
                (MLP by neuron).
        """
        at = self.position(position)
        return _logit.logit_parts(
            self, self.token(target), None if foil is None else self.token(foil), at, by
        )

    def audit(self, position: int = -1) -> Audit:
        """Compute each identity on the traced numbers, and compare with fresh passes of the model
        itself.
        """
        return audit(self, self.position(position))

    def flow(
        self,
        position: int = -1,
        target: int | str | None = None,
        foil: int | str | None = None,
        layers: Sequence[int] = (),
        keep: Keep | None = None,
        measure: str = "share",
    ) -> FlowGraph:
        """The pruned flow graph: every layer's overview, and the block graph of each layer in
        `layers`.

        See `visit_widget.flow.flow_graph`, which does the work.
        """
        # The one look up the house: a trace is where a user asks for its graph.
        from ..flow import flow_graph

        return flow_graph(self, position, target, foil, layers, keep, measure)

    # What the rooms of this package use.

    @property
    def final_norm(self) -> Norm | None:
        """The final norm, ready for frozen arithmetic."""
        return self.norm(self.anatomy.final_norm, "the final norm")

    def norm(self, module: nn.Module | None, name: str) -> Norm | None:
        """A norm module ready for frozen arithmetic, made once."""
        if module is None:
            return None
        if module not in self._norms:
            self._norms[module] = Norm(module, self.d_model, self.dtype, self.device, name)
        return self._norms[module]

    def attention_row(self, layer: int, position: int = -1) -> _attention.AttentionRow:
        """One layer's attention at one position."""
        row: _attention.AttentionRow = self._attention_row(
            self.layer(layer), self.position(position)
        )
        return row

    def mlp_row(self, layer: int, position: int = -1) -> _mlp.MlpRow:
        """One layer's MLP at one position."""
        row: _mlp.MlpRow = self._mlp_row(self.layer(layer), self.position(position))
        return row

    def work(self, tensor: Tensor) -> Tensor:
        """The tensor in the dtype and on the device of the trace's arithmetic."""
        return tensor.detach().to(device=self.device, dtype=self.dtype)

    def position(self, position: int) -> int:
        """A position from 0, checked."""
        if not -len(self) <= position < len(self):
            raise VisitError(
                f"Position {position} is outside the prompt, which has {len(self)} tokens."
            )
        return position % len(self)

    def layer(self, layer: int) -> int:
        """A layer from 0, checked."""
        if not 0 <= layer < self.n_layers:
            raise VisitError(
                f"Layer {layer} does not exist: the model has layers 0 to {self.n_layers - 1}."
            )
        return layer

    def head(self, head: int) -> int:
        """A head from 0, checked."""
        if not 0 <= head < self.n_heads:
            raise VisitError(
                f"There is no head {head}: a layer of the model has heads 0 to {self.n_heads - 1}."
            )
        return head

    def token(self, token: int | str) -> int:
        """A token id, from an id or from a text that is one token."""
        if isinstance(token, str):
            if self.tokenizer is None:
                raise VisitError(
                    f"Without a tokenizer a token is given by its id, not as {token!r}."
                )
            # As typed, or as shown on screen.
            text = token.replace(SPACE, " ")
            ids = self._ids_of(text)
            if len(ids) != 1:
                pieces = " ".join(token_texts(self.tokenizer, ids)) or "nothing"
                spaced = not text.startswith(" ") and len(self._ids_of(" " + text)) == 1
                hint = f" {' ' + text!r}, with a space before it, is one." if spaced else ""
                raise VisitError(
                    f"{token!r} is not one token of this model but {len(ids)}: {pieces}.{hint}"
                )
            token = int(ids[0])
        if not 0 <= int(token) < self.n_vocab:
            raise VisitError(
                f"Token id {token} is outside the model's vocabulary of {self.n_vocab}."
            )
        return int(token)

    def _ids_of(self, text: str) -> list[int]:
        return [int(i) for i in self.tokenizer(text, add_special_tokens=False)["input_ids"]]

    def _directions(
        self,
        derive: Any,
        layer: int,
        position: int,
        heads: Sequence[int] | None,
        sources: Sequence[int] | None,
    ) -> Tensor:
        layer, position = self.layer(layer), self.position(position)
        heads = range(self.n_heads) if heads is None else [self.head(head) for head in heads]
        every = range(len(self)) if sources is None else sources
        sources = [self.position(source) for source in every]
        if not heads or not sources:
            shape = len(heads), len(sources), self.d_model
            return torch.zeros(shape, dtype=self.dtype, device=self.device)
        result: Tensor = derive(self, layer, position, heads, sources)[0]
        return result
