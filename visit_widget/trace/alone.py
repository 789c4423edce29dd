"""One position of a traced pass, run again through the model's own modules while every other
position stays as it was.

What happens at position i never changes what earlier positions left, so the blocks can be run on
that row alone, with the recorded keys and values of the others: as many variants of the row as are
wanted, at the cost of one token each, whatever the prompt's length. Every step is differentiable.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..model import BlockAnatomy, VisitError
from ..model.attention_call import AttentionCall
from ..model.loaded import eval_mode
from ..model.watch import first_tensor
from .looks import Asking, Look, look_alone
from .outlet import joined
from .projection import Projection
from .tape import differentiable

if TYPE_CHECKING:
    from .trace import Trace

# A row that is run alone may be off by this many roundings of the model's dtype.
ROUNDINGS = 64


class NotAloneError(VisitError):
    """What happens at a position cannot be told from that position alone."""


class Alone:
    """The way of one position through the blocks.

    Args:
        trace: the traced pass.
        position: from 0.
        positions: of several (`Ending`), all of them.

    Raises:
        NotAloneError: a layer needs more than this row and the others' keys and values (a state
            space, say, or attention that also looks ahead).
    """

    def __init__(self, trace: Trace, position: int, positions: list[int] | None = None) -> None:
        self.trace, self.position = trace, position
        self.positions = [position] if positions is None else positions
        self._projections: dict[int, Projection] = {}
        for layer, part in enumerate(trace.anatomy.blocks):
            if part.mixer is not None:
                raise NotAloneError(f"Layer {layer} mixes tokens in another way than attention.")
            if part.attention is not None:
                self._projections[layer] = self._projection(layer)

    def _projection(self, layer: int) -> Projection:
        kept = self.trace.attention_record(layer)
        mask = kept.mask.row(self.position, len(self.trace), self.trace.dtype, self.trace.device)
        if bool((mask[..., self.position + 1 :] > torch.finfo(mask.dtype).min / 2).any()):
            raise NotAloneError(f"Position {self.position} of layer {layer} looks ahead.")
        try:
            projection = Projection(self.trace, layer, [self.position], checked=False)
        except VisitError as error:
            raise NotAloneError(str(error)) from error
        if projection.cut is None:
            raise NotAloneError(f"The attention of layer {layer} needs every position.")
        return projection

    def start(self) -> Tensor:
        """(d_model,) the stream before the first block, as it was recorded."""
        trace = self.trace
        return trace.into(trace.anatomy.blocks[0].block, trace.record.layers[0].pre[self.position])

    def recorded(self, layer: int) -> Tensor:
        """(m, d_model) the streams before a block, after the last one for n_layers."""
        trace = self.trace
        if layer == trace.n_layers:
            return trace.record.final[self.positions]
        kept = trace.record.layers[layer].pre[self.positions]
        return trace.into(trace.anatomy.blocks[layer].block, kept)

    def verify(self) -> None:
        """See that the row alone is what the pass gave, in every layer; once a trace and position.

        Raises:
            NotAloneError: it is not.
        """
        known = self.trace.alone_at
        if self.position in known:
            return
        with torch.enable_grad():
            for layer, kept in enumerate(self.trace.record.layers):
                block = self.trace.anatomy.blocks[layer].block
                row = self.trace.into(block, kept.pre[self.position])
                # Derivatives show what depends on the row in another way than by the stream.
                self.block(layer, row.repeat(2, 1).requires_grad_(), recorded=True)
        known.add(self.position)

    def block(self, layer: int, pre: Tensor, recorded: bool = False) -> tuple[Tensor, Tensor]:
        """The streams in the middle of the block and after it, of R variants of the stream before
        it: (R, d_model) each.

        Args:
            layer: from 0.
            pre: (R, d_model).
            recorded: whether the variants are all the recorded one: the streams are then moved to
                exactly what was recorded, so that rounding does not add up from layer to layer.

        Raises:
            NotAloneError: the layer cannot be run on one position, or does not come out as it did.
        """
        kept, last = self.trace.record.layers[layer], layer + 1 == self.trace.n_layers
        after = self.trace.record.final if last else self.trace.record.layers[layer + 1].pre
        try:
            mid = self.mid(layer, pre, recorded=recorded)
            if recorded and kept.mid is not None and not self._part(layer).parallel:
                mid = self._moved(layer, pre, mid, kept.mid)
            post = self.post(layer, pre, mid)
        except (TypeError, AttributeError, RuntimeError, IndexError, ValueError) as error:
            if isinstance(error, torch.OutOfMemoryError | NotAloneError):
                raise
            raise NotAloneError(f"Layer {layer} cannot be run on one position.") from error
        return mid, self._moved(layer, pre, post, after) if recorded else post

    def _moved(self, layer: int, pre: Tensor, ours: Tensor, recorded: Tensor) -> Tensor:
        theirs = recorded[self.position].to(ours)
        self.check(layer, pre[:1], ours[:1], theirs[None])
        return ours + (theirs - ours).detach()

    def check(self, layer: int, pre: Tensor, ours: Tensor, theirs: Tensor) -> None:
        """See that streams after a layer are those of the pass, but for rounding.

        Args:
            layer: from 0.
            pre: (n, d_model) what the layer read.
            ours: (n, d_model) as they came out.
            theirs: (n, d_model) as they were.

        Raises:
            NotAloneError: they are not.
        """
        eps = max(torch.finfo(self.trace.coarsest_dtype).eps, torch.finfo(torch.float32).eps)
        off, first, second = (
            t.detach().float().norm(dim=-1) for t in (theirs - ours, theirs, pre.to(ours))
        )
        if not bool((off <= ROUNDINGS * eps * (first + second)).all()):
            raise NotAloneError(
                f"Layer {layer} does not come out as it did in the pass when one position is run "
                "alone."
            )

    def mid(
        self, layer: int, pre: Tensor, looks: Sequence[Look] = (), recorded: bool = False
    ) -> Tensor:
        """The stream between attention and MLP, of R variants of the stream before the block:
        (R, d_model) → (R, d_model). The stream before it where there is no attention.

        Args:
            layer: from 0.
            pre: (R, d_model).
            looks: how heads of some of the variants look otherwise; their rows are the variants.
            recorded: whether the variants are all the recorded one.
        """
        part = self._part(layer)
        if part.attention is None:
            return pre
        return joined(part.attention_join, pre, self._attended(layer, pre, looks, recorded))

    def post(self, layer: int, pre: Tensor, mid: Tensor) -> Tensor:
        """The stream after the block, of R variants of those before it and in its middle."""
        part = self._part(layer)
        if part.mlp is None:
            return mid
        read = pre if part.parallel else mid
        with eval_mode(part.mlp):
            normed = read[None] if part.mlp_norm is None else part.mlp_norm(read[None])
            written = first_tensor(part.mlp(normed))
        assert written is not None
        return joined(part.mlp_join, mid, written.reshape(read.shape))

    def _part(self, layer: int) -> BlockAnatomy:
        return self.trace.anatomy.blocks[layer]

    def _places(self, n_rows: int) -> list[int]:
        """The position of each of so many rows."""
        return [self.position] * n_rows

    def _attended(self, layer: int, pre: Tensor, looks: Sequence[Look], recorded: bool) -> Tensor:
        """What the attention module gives: (R, d_model)."""
        part, projection = self._part(layer), self._projections[layer]
        normed = pre if part.attention_norm is None else part.attention_norm(pre[None])[0]
        if part.attention_input_scale != 1.0:
            normed = normed * part.attention_input_scale
        places, answer = self._places(len(pre)), self._answer(layer, normed, looks)

        def hear(call: AttentionCall) -> Tensor:
            if recorded and not projection.agrees(call.query[0], call.key[0], places):
                raise NotAloneError(f"The attention of layer {layer} needs every position.")
            return answer(call)

        found = projection.attend(
            normed,
            places,
            listener=hear,
            implementation=differentiable(self.trace.model),
        )
        written = first_tensor(found)
        assert written is not None
        return written.reshape(pre.shape)

    def _answer(
        self, layer: int, source: Tensor, looks: Sequence[Look]
    ) -> Callable[[AttentionCall], Tensor]:
        """What the attention function gives for the variants of the row: each sees the recorded
        keys and values before it, and its own.
        """
        kept, at = self.trace.attention_record(layer), self.position

        def answer(call: AttentionCall) -> Tensor:
            query, key, value = (t[0].transpose(0, 1) for t in (call.query, call.key, call.value))
            self._check_call(layer, source, call)
            before = [
                t[:, :at].to(key).expand(len(query), -1, -1, -1) for t in (kept.key, kept.value)
            ]
            keys = torch.cat([before[0], key[:, :, None]], 2)
            values = torch.cat([before[1], value[:, :, None]], 2)
            mask = kept.mask.row(at, len(self.trace), key.dtype, key.device)
            module = self._part(layer).attention
            assert module is not None
            seen = mask[..., : at + 1]
            asking = Asking(query[:, :, None], keys, values, seen, kept, module)
            mixed = asking.answer()[:, 0]
            return look_alone(looks, asking, mixed)[None] if looks else mixed[None]

        return answer

    @staticmethod
    def _check_call(layer: int, source: Tensor, call: AttentionCall) -> None:
        """See that all that varies comes by the stream, where derivatives show it."""
        if source.requires_grad and not (call.key.requires_grad and call.value.requires_grad):
            raise NotAloneError(f"Layer {layer} has keys or values from somewhere else.")
        beside = (call.mask, *call.options.values())
        if any(isinstance(t, Tensor) and t.requires_grad for t in beside):
            raise NotAloneError(f"What layer {layer} hides depends on what it reads.")
