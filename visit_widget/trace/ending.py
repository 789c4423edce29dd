"""The last positions of a traced pass, run again through the model's own modules while those before
them stay as they were.

What is changed from some position on leaves all earlier ones as they were. So variants of the pass
are run from there on alone, with the recorded keys and values of what is before (`alone.py`, for
more than one position), and from the layer on in which they begin to differ.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ..model import VisitError
from ..model.attention_call import AttentionCall
from .alone import Alone, NotAloneError
from .looks import Asking, Look
from .projection import Projection
from .trace import Trace


class Ending(Alone):
    """The way of several positions, one after the other, through the blocks.

    Streams of R variants are (R · m, d_model), the m positions of each together.

    Args:
        trace: the traced pass.
        first: the first of the positions, from 0.
        position: the last of them.

    Raises:
        NotAloneError: a layer needs more than these rows and the others' keys and values.
    """

    def __init__(self, trace: Trace, first: int, position: int) -> None:
        super().__init__(trace, position, list(range(first, position + 1)))

    def _projection(self, layer: int) -> Projection:
        if self._mask(layer)[1]:
            raise NotAloneError(f"A position of layer {layer} looks ahead.")
        try:
            projection = Projection(self.trace, layer, self.positions, checked=False)
        except VisitError as error:
            raise NotAloneError(str(error)) from error
        if projection.cut is None:
            raise NotAloneError(f"The attention of layer {layer} needs every position.")
        return projection

    def _mask(self, layer: int) -> tuple[Tensor, bool]:
        """What is added to the scores, (1, 1 or n_heads, m, T); and whether any looks ahead."""
        kept, trace = self.trace.attention_record(layer).mask, self.trace
        rows = [kept.row(p, len(trace), trace.dtype, trace.device) for p in self.positions]
        ahead = any(
            bool((row[..., p + 1 :] > torch.finfo(row.dtype).min / 2).any())
            for p, row in zip(self.positions, rows, strict=True)
        )
        return torch.cat(rows, -2), ahead

    def verify(self) -> None:
        """See that these rows alone are what the pass gave, in every layer; once a trace.

        Raises:
            NotAloneError: they are not.
        """
        known = self.trace.endings_at
        if any(first <= self.positions[0] and at == self.position for first, at in known):
            return
        with torch.enable_grad():
            for layer in range(self.trace.n_layers):
                self.block(layer, self.recorded(layer).repeat(2, 1).requires_grad_(), recorded=True)
        known.add((self.positions[0], self.position))

    def _moved(self, layer: int, pre: Tensor, ours: Tensor, recorded: Tensor) -> Tensor:
        theirs = recorded[self.positions].to(ours).repeat(len(ours) // len(self.positions), 1)
        self.check(layer, pre, ours, theirs)
        return ours + (theirs - ours).detach()

    def _places(self, n_rows: int) -> list[int]:
        return list(self.positions) * (n_rows // len(self.positions))

    def _answer(
        self,
        layer: int,
        source: Tensor,
        looks: Sequence[Look],
    ) -> Callable[[AttentionCall], Tensor]:
        if looks:
            raise NotAloneError("How heads look is edited one position at a time.")
        kept, first, at = self.trace.attention_record(layer), self.positions[0], self.position
        mask, m = self._mask(layer)[0], len(self.positions)

        def answer(call: AttentionCall) -> Tensor:
            self._check_call(layer, source, call)
            query, key, value = (
                # (heads, R · m, width) → (R, heads, m, width)
                t[0].unflatten(1, (-1, m)).transpose(0, 1)
                for t in (call.query, call.key, call.value)
            )
            before = [
                t[:, :first].to(key).expand(len(query), -1, -1, -1) for t in (kept.key, kept.value)
            ]
            module = self._part(layer).attention
            assert module is not None
            asking = Asking(
                query, torch.cat([before[0], key], 2), torch.cat([before[1], value], 2),
                mask[..., : at + 1].to(device=key.device, dtype=key.dtype), kept, module,
            )  # fmt: skip
            return asking.answer().flatten(0, 1)[None]

        return answer
