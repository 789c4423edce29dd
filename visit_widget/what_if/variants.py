"""What the prediction is without each of many parts: variants of one pass, run side by side.

Taking something away at one position changes, at that position, only what comes later there:
earlier positions, and so all other keys and values, stay as they were. So a variant is one row,
which joins the batch at the layer where its part is (`Alone`). Where a model cannot be run that
way, and for edits at other positions, whole prompts are run side by side.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress

import torch
from torch import Tensor

from ..model import VisitError
from ..model.exclusive import exclusive
from ..model.forward import logits_of
from ..model.loaded import eval_mode
from ..model.watch import first_tensor, input_device
from ..trace import Trace
from ..trace.alone import Alone, NotAloneError
from ..trace.edits import Edits
from ..trace.logit import values_of
from ..trace.recording import record
from ..trace.target import Followed
from .actions import Action, put_of
from .compiled import Compiler
from .parts import Part

# Told how many of how many variants are done; what it raises ends the work.
Progress = Callable[[int, int], None]
# Bytes that one batch may take beside the model.
MEMORY = 2**28
_FAILURES = (TypeError, AttributeError, RuntimeError, IndexError, ValueError)
_LOOKS = ("part", "weight", "query", "key", "value")


class _EndError(Exception):
    """The pass is over as far as anybody wants it."""


class Variants:
    """Runs of one prompt, each with one part edited.

    Args:
        trace: the pass as it was.
        action: what is done to each part.
        position: whose prediction is looked at, from 0.
        memory: bytes that one batch may take beside the model.
        progress: told how many are done.
    """

    def __init__(
        self,
        trace: Trace,
        action: Action,
        position: int,
        memory: int = MEMORY,
        progress: Progress | None = None,
    ) -> None:
        self.trace, self.action, self.position = trace, action, position
        self.memory, self.progress = memory, progress
        self._done = self._of = 0

    def losses(
        self, parts: Sequence[Part], positions: Sequence[int], told: Sequence[Followed]
    ) -> Tensor:
        """(n, len(told)) by how much each target's logit falls with each part edited.

        Args:
            parts: n parts.
            positions: where they are edited.
            told: targets, foils.

        Raises:
            VisitError: a part cannot be edited.
        """
        with exclusive(self.trace.model), torch.inference_mode(False), torch.no_grad():
            where = [[p.position] if p.position is not None else list(positions) for p in parts]
            self._done, self._of = 0, len(parts)
            found = torch.zeros(len(parts), len(told), dtype=torch.float64)
            here = [n for n, w in enumerate(where) if w == [self.position]]
            others = [n for n, w in enumerate(where) if w != [self.position]]
            if here:
                try:
                    found[here] = self._alone([parts[n] for n in here], told)
                except NotAloneError:
                    self._done, others = 0, list(range(len(parts)))
            if others:
                there = [where[n] for n in others]
                found[others] = self._whole([parts[n] for n in others], there, told)
            return found

    def _ready(self, n: int) -> None:
        """Tell that n more are done."""
        self._done += n
        if self.progress is not None:
            self.progress(self._done, self._of)

    def _alone(self, parts: Sequence[Part], told: Sequence[Followed]) -> Tensor:
        """One row each."""
        alone = Alone(self.trace, self.position)
        alone.verify()
        order = sorted(range(len(parts)), key=lambda n: _start(parts[n]))
        found = torch.zeros(len(parts), len(told), dtype=torch.float64)
        size = self._rows_at_once()
        for first in range(0, len(order), size):
            numbers = order[first : first + size]
            try:
                last = self._streams(alone, [parts[n] for n in numbers])
            except _FAILURES as error:
                if isinstance(error, torch.OutOfMemoryError | NotAloneError):
                    raise
                raise NotAloneError("Several rows of this model cannot be run alone.") from error
            for column, target in enumerate(told):
                values = values_of(self.trace, target, last).double().cpu()
                found[numbers, column] = values[0] - values[1:]
            self._ready(len(numbers))
        return found

    def _rows_at_once(self) -> int:
        """Rows have the keys and values of every earlier position, and the MLP's inside."""
        trace, bytes_each = self.trace, 4
        widest = max(
            (
                layer.attention.key.shape[0]
                * (layer.attention.key.shape[-1] + layer.attention.value.shape[-1])
                for layer in trace.record.layers
                if layer.attention is not None
            ),
            default=0,
        )
        each = bytes_each * (3 * (self.position + 1) * widest + 4 * max(trace.d_mlp, trace.d_model))
        return max(8, min(1024, self.memory // max(1, each)))

    def _streams(self, alone: Alone, parts: Sequence[Part]) -> Tensor:
        """(1 + n, d_model) the last stream as it is, and without each of these parts, which are
        ordered by where they start.
        """
        trace, start = self.trace, _start(parts[0])
        if start == trace.n_layers:
            x = trace.record.final[self.position][None]
        else:
            x = self._recorded(start)
        for layer in range(start, trace.n_layers):
            here = [n for n, part in enumerate(parts) if _start(part) == layer]
            if layer > start and here:
                x = torch.cat([x, self._recorded(layer).expand(len(here), -1)])
            elif here:
                x = x.repeat(1 + len(here), 1)
            x = self._through(alone, layer, x, [(1 + n, parts[n]) for n in here])
        late = [part for part in parts if _start(part) == trace.n_layers]
        if late:
            final = trace.record.final[self.position][None].to(x)
            x = torch.cat([x, final.expand(len(late), -1)])
            for row, part in enumerate(late, len(x) - len(late)):
                x[row] = self._edited(part, x[row])
        return x

    def _recorded(self, layer: int) -> Tensor:
        """(1, d_model) the stream before a block."""
        trace = self.trace
        kept = trace.record.layers[layer].pre[self.position]
        return trace.into(trace.anatomy.blocks[layer].block, kept)[None]

    def _through(
        self, alone: Alone, layer: int, x: Tensor, new: Sequence[tuple[int, Part]]
    ) -> Tensor:
        """The stream after a block, some rows with a part of it edited."""
        edits = Edits()
        compiler, mids = Compiler(self.trace, edits), []
        x = x.to(self._recorded(layer).device)
        for row, part in new:
            if part.kind == "stream" and part.where == "mid":
                mids.append((row, part))
            elif part.kind == "stream":
                x[row] = self._edited(part, x[row])
            else:
                compiler.add(part, self.action, [self.position], torch.tensor([row]))
        with ExitStack() as stack:
            edits.hook(stack)
            mid = alone.mid(layer, x, edits.looks.get(layer, ()))
            for row, part in mids:
                mid[row] = self._edited(part, mid[row])
            return alone.post(layer, x, mid)

    def _edited(self, part: Part, stream: Tensor) -> Tensor:
        put = put_of(self.trace, part, self.action, [self.position])
        if self.action.kind == "replace":
            put = Compiler(self.trace, Edits()).vector(part, self.action)
        new = stream * self.action.factor
        return new if put is None else new + put[0].to(new)

    def _whole(
        self, parts: Sequence[Part], where: Sequence[Sequence[int]], told: Sequence[Followed]
    ) -> Tensor:
        """Whole prompts side by side, those that attend otherwise one by one."""
        trace, n_tokens = self.trace, len(self.trace)
        base = torch.stack([values_of(trace, t, trace.record.final[[self.position]]) for t in told])
        found = torch.zeros(len(parts), len(told), dtype=torch.float64)
        together = [n for n, part in enumerate(parts) if part.kind not in _LOOKS]
        each = 4 * n_tokens * (12 * trace.d_model + 3 * trace.d_mlp + trace.n_heads * n_tokens)
        size = max(1, min(64, self.memory // each))
        batches = [together[n : n + size] for n in range(0, len(together), size)]
        batches += [[n] for n, part in enumerate(parts) if part.kind in _LOOKS]
        for numbers in batches:
            edits = Edits()
            compiler = Compiler(trace, edits)
            for row, n in enumerate(numbers):
                rows = torch.tensor(where[n]) + row * n_tokens
                compiler.add(parts[n], self.action, where[n], rows)
            last = self._run(edits, len(numbers))
            for column, target in enumerate(told):
                values = values_of(trace, target, last).double().cpu()
                found[numbers, column] = float(base[column]) - values
            self._ready(len(numbers))
        return found

    def _run(self, edits: Edits, n: int) -> Tensor:
        """(n, d_model) the last streams of n prompts at the focus."""
        trace = self.trace
        if edits.looks:
            kept = record(trace.model, trace.anatomy, trace.input_ids, None, edits)
            return kept.final[[self.position]]
        final: list[Tensor] = []

        def keep(_module: object, _args: object, output: object) -> None:
            stream = first_tensor(output)
            assert stream is not None
            final[:] = [stream.reshape(n, -1, stream.shape[-1])]
            raise _EndError

        ids = trace.input_ids.repeat(n, 1).to(input_device(trace.model))
        with ExitStack() as stack, eval_mode(trace.model):
            edits.hook(stack)
            last = trace.anatomy.blocks[-1].block
            stack.callback(last.register_forward_hook(keep).remove)
            # What comes after the last block is not wanted of every token of every prompt.
            with suppress(_EndError):
                logits_of(trace.model, ids)
        if final[0].shape[1] != len(trace):
            raise VisitError("This model leaves out positions, so that its parts cannot be edited.")
        return final[0][:, self.position]


def _start(part: Part) -> int:
    """The layer at which a variant parts from the pass."""
    late = part.kind == "stream" and part.where == "post"
    return part.layer + 1 if late else part.layer
