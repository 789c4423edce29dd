"""From parts and actions to what hooks do in a pass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ..model import BlockAnatomy, VisitError
from ..model.joins import Join
from ..trace import Trace
from ..trace.changes import Change, Chosen, ExpertChange, Hooked, MidChange, exit_of
from ..trace.edits import Edits
from ..trace.looks import Look
from ..trace.outlet import like
from .actions import Action, drawn, put_of
from .parts import Part

if TYPE_CHECKING:
    pass


class Compiler:
    """Adds what is done to parts to the edits of one run.

    Args:
        trace: the pass as it was.
        edits: what is added to.
    """

    def __init__(self, trace: Trace, edits: Edits) -> None:
        self.trace, self.edits = trace, edits

    def add(self, part: Part, action: Action, positions: Sequence[int], rows: Tensor) -> None:
        """One part, at n positions.

        Args:
            part: which.
            action: what is done to it.
            positions: n, of the prompt.
            rows: (n,) which rows of the run these are: the positions themselves, unless one
                position is run many times over.
        """
        self.edits.layers.add(part.layer)
        block = self.trace.anatomy.blocks[part.layer]
        put = put_of(self.trace, part, action, positions)
        if action.kind == "replace":
            put = self.vector(part, action)
        if part.kind == "stream":
            self._stream(part, block, action, rows, put)
        elif part.kind == "sublayer":
            self._sublayer(part, block, action, positions, rows, put)
        elif part.kind == "bias":
            bias = torch.stack([drawn(self.trace, part, p) for p in positions])
            new = bias * action.factor + (0 if put is None else put)
            self._into_stream(part, block, rows, new - bias)
        else:
            self._within(part, block, action, rows, put)

    def _within(
        self, part: Part, block: BlockAnatomy, action: Action, rows: Tensor, put: Tensor | None
    ) -> None:
        """A part of what a sublayer writes."""
        factor, own = action.factor, put
        if part.kind == "expert" or (part.kind == "neuron" and block.down_projection is None):
            kind: Chosen = "expert" if part.kind == "expert" else "neuron"
            self.edits.hooks.append(ExpertChange(block, rows, factor, kind, part.number))
            own = None
        elif action.kind == "replace" and part.kind not in ("query", "key", "value"):
            own = None
        if part.kind in ("head", "row") or (part.kind == "neuron" and block.down_projection):
            module, columns = self._columns(part, block)
            self.edits.hooks.append(Change(module, "input", rows, factor, columns, own))
        elif part.kind in ("part", "weight", "query", "key", "value"):
            look = Look(part.kind, part.heads, rows, factor, part.source, own)
            self.edits.looks[part.layer].append(look)
        if put is not None and own is None:
            self._into_stream(part, block, rows, put)

    def _columns(self, part: Part, block: BlockAnatomy) -> tuple[nn.Module, slice]:
        if part.kind == "neuron":
            assert block.down_projection is not None
            return block.down_projection, slice(part.number, part.number + 1)
        assert block.output_projection is not None
        if part.kind == "row":
            return block.output_projection, slice(part.number, part.number + 1)
        width = self.trace.attention_record(part.layer).value.shape[-1]
        head = part.heads[0]
        return block.output_projection, slice(head * width, (head + 1) * width)

    def vector(self, part: Part, action: Action) -> Tensor:
        """(1, width) the vector that replaces a part."""
        assert action.vector is not None
        width = self.trace.d_model
        if part.kind in ("query", "key", "value"):
            kept = self.trace.attention_record(part.layer)
            tensor = {"query": kept.query, "key": kept.key, "value": kept.value}[part.kind]
            width = int(tensor.shape[-1])
        elif part.kind == "weight":
            raise VisitError(f"{part.id} is one attention weight: it can be scaled, or taken away.")
        if action.vector.numel() != width:
            raise VisitError(
                f"What replaces {part.id} has {width} numbers, not {action.vector.numel()}."
            )
        return action.vector[None]

    def _stream(
        self, part: Part, block: BlockAnatomy, action: Action, rows: Tensor, put: Tensor | None
    ) -> None:
        change: Hooked
        if part.where == "mid":
            norm = block.attention_join.stream_norm
            if block.mixer is not None and not block.mixer_late:
                raise VisitError(
                    f"{part.id} is the sum of attention and a mixer: edit L{part.layer}.attn, "
                    f"L{part.layer}.mix or L{part.layer}.pre."
                )
            change = MidChange(block, rows, action.factor, put)
            if norm is not None:
                change = Change(norm, "output", rows, action.factor, put=put)
        elif part.where == "pre":
            change = Change(block.block, "input", rows, action.factor, put=put)
            # Where what one block gives is what the next is given, the change belongs to both.
            if part.layer:
                before = self.trace.anatomy.blocks[part.layer - 1].block
                change = Change(before, "output", rows, action.factor, put=put)
                self.edits.layers.add(part.layer - 1)
        else:
            change = Change(block.block, "output", rows, action.factor, put=put)
        self.edits.hooks.append(change)

    def _sublayer(
        self,
        part: Part,
        block: BlockAnatomy,
        action: Action,
        positions: Sequence[int],
        rows: Tensor,
        put: Tensor | None,
    ) -> None:
        """All that a sublayer adds: factor · added + put, in the stream's unit."""
        factor = action.factor
        if part.where == "mixer":
            assert block.mixer is not None
            if put is not None:
                put = put / like(block.mixer_scale, put)
            self.edits.hooks.append(Change(block.mixer, "output", rows, factor, put=put))
            return
        join: Join = block.attention_join if part.half == "attention" else block.mlp_join
        if put is not None and join.stream_norm is not None:
            # As drawn, with the norm of the stream held.
            was = torch.stack([drawn(self.trace, part, p) for p in positions])
            self._into_stream(part, block, rows, put - was)
            return
        own = None if put is None else put / like(join.scale, put)
        if join.bias is not None and join.stream_norm is None:
            more = (join.bias * (factor - 1))[None] / like(join.scale, join.bias)
            own = more if own is None else own + more
        module, beside = exit_of(block, part.half)
        self.edits.hooks.append(Change(module, "output", rows, factor, put=own))
        self.edits.hooks.extend(Change(m, "output", rows, factor) for m in beside)
        self.edits.sublayers[part.layer, part.half].append(
            Change(module, "output", rows, factor, put=put)
        )

    def _into_stream(self, part: Part, block: BlockAnatomy, rows: Tensor, put: Tensor) -> None:
        """Add something to the stream where a sublayer writes."""
        join: Join = block.attention_join if part.half == "attention" else block.mlp_join
        if join.stream_norm is not None:
            self.edits.hooks.append(Change(join.stream_norm, "output", rows, 1.0, put=put))
            return
        module, _ = exit_of(block, part.half)
        own = put / like(join.scale, put)
        self.edits.hooks.append(Change(module, "output", rows, 1.0, put=own))
        self.edits.sublayers[part.layer, part.half].append(
            Change(module, "output", rows, 1.0, put=put)
        )
