"""What the prediction is without each of many parts: variants of one pass, run side by side.

Taking something away at one position changes, at that position, only what comes later there:
earlier positions, and so all other keys and values, stay as they were. So a variant is one row,
which joins the batch at the layer where its part is (`Alone`); of what is edited at other positions
it is the rows from the first of them on (`Ending`). Where a model cannot be run that way, whole
prompts are run side by side.
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
from ..trace.ending import Ending
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
# Runs of whole prompts that are not worth seeing first whether rows can be run alone.
FEW = 8
# As many variants as are worth a run of their own.
AT_LEAST = 16
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
                    alone = Alone(self.trace, self.position)
                    found[here] = self._rows(alone, [parts[n] for n in here], told)
                except NotAloneError:
                    self._done, others = 0, list(range(len(parts)))
            for some in _by_first(others, parts, where):
                first = min(min(where[n]) for n in some)
                try:
                    if len(some) < FEW:
                        raise NotAloneError("A few are run sooner than that is seen to.")
                    ending = Ending(self.trace, first, self.position)
                    found[some] = self._rows(
                        ending, [parts[n] for n in some], told, [where[n] for n in some]
                    )
                except NotAloneError:
                    there = [where[n] for n in some]
                    found[some] = self._whole([parts[n] for n in some], there, told)
            return found

    def _ready(self, n: int) -> None:
        """Tell that n more are done."""
        self._done += n
        if self.progress is not None:
            self.progress(self._done, self._of)

    def _rows(
        self,
        way: Alone | Ending,
        parts: Sequence[Part],
        told: Sequence[Followed],
        where: Sequence[Sequence[int]] | None = None,
    ) -> Tensor:
        """Of each variant only the rows of some positions.

        Args:
            way: through the blocks, of these positions.
            parts: one a variant.
            told: targets, foils.
            where: at which positions each is edited; at the one that is run by default.

        Raises:
            NotAloneError: these rows cannot be run without the others.
        """
        way.verify()
        done = self._done
        order = sorted(range(len(parts)), key=lambda n: _start(parts[n]))
        found = torch.zeros(len(parts), len(told), dtype=torch.float64)
        size = max(1, self._rows_at_once() // len(way.positions))
        for first in range(0, len(order), size):
            numbers = order[first : first + size]
            places = [[self.position] if where is None else where[n] for n in numbers]
            try:
                last = self._streams(way, [parts[n] for n in numbers], places)
            except _FAILURES as error:
                self._done = done
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

    def _streams(
        self, way: Alone | Ending, parts: Sequence[Part], where: Sequence[Sequence[int]]
    ) -> Tensor:
        """(1 + n, d_model) the last stream as it is, and with each of these parts edited, which are
        ordered by where they start.
        """
        trace, start, m = self.trace, _start(parts[0]), len(way.positions)
        x = way.recorded(start)
        for layer in range(start, trace.n_layers):
            here = [n for n, part in enumerate(parts) if _start(part) == layer]
            if layer > start and here:
                x = torch.cat([x, way.recorded(layer).to(x).repeat(len(here), 1)])
            elif here:
                x = x.repeat(1 + len(here), 1)
            new = [(parts[n], where[n], self._places(way, 1 + n, where[n])) for n in here]
            x = self._through(way, layer, x, new)
        late = [n for n, part in enumerate(parts) if _start(part) == trace.n_layers]
        if late:
            x = torch.cat([x, way.recorded(trace.n_layers).to(x).repeat(len(late), 1)])
            for n in late:
                rows = self._places(way, 1 + n, where[n])
                x[rows] = self._edited(parts[n], x[rows], where[n])
        way.check(
            trace.n_layers - 1, way.recorded(start).to(x), x[:m], way.recorded(trace.n_layers).to(x)
        )
        return x[m - 1 :: m]

    @staticmethod
    def _places(way: Alone | Ending, variant: int, where: Sequence[int]) -> Tensor:
        """Rows of a variant at some positions."""
        first, m = way.positions[0], len(way.positions)
        return torch.tensor([variant * m + p - first for p in where])

    def _through(
        self,
        way: Alone | Ending,
        layer: int,
        x: Tensor,
        new: Sequence[tuple[Part, Sequence[int], Tensor]],
    ) -> Tensor:
        """The stream after a block, some rows with a part of it edited."""
        edits = Edits()
        compiler, mids = Compiler(self.trace, edits), []
        x = x.to(way.recorded(layer).device)
        for part, where, rows in new:
            if part.kind == "stream" and part.where == "mid":
                mids.append((part, where, rows))
            elif part.kind == "stream":
                x[rows] = self._edited(part, x[rows], where)
            else:
                compiler.add(part, self.action, where, rows)
        with ExitStack() as stack:
            edits.hook(stack)
            mid = way.mid(layer, x, edits.looks.get(layer, ()))
            for part, where, rows in mids:
                mid[rows] = self._edited(part, mid[rows], where)
            return way.post(layer, x, mid)

    def _edited(self, part: Part, stream: Tensor, where: Sequence[int]) -> Tensor:
        put = put_of(self.trace, part, self.action, where)
        if self.action.kind == "replace":
            put = Compiler(self.trace, Edits()).vector(part, self.action)
        new = stream * self.action.factor
        return new if put is None else new + put.to(new)

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


def _by_first(
    numbers: Sequence[int], parts: Sequence[Part], where: Sequence[Sequence[int]]
) -> list[list[int]]:
    """Variants that are run together, by the first position at which they are edited: a run has all
    positions from there on. Those in which heads look otherwise are apart.
    """
    groups: list[list[int]] = []
    looks = [n for n in numbers if parts[n].kind in _LOOKS]
    for n in sorted(set(numbers) - set(looks), key=lambda n: min(where[n])):
        same = groups and min(where[groups[-1][-1]]) == min(where[n])
        if groups and (same or len(groups[-1]) < AT_LEAST):
            groups[-1].append(n)
        else:
            groups.append([n])
    return [*groups, *([looks] if looks else [])]
