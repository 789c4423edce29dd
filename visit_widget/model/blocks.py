"""Understanding a model's blocks: each kind once, on a copy in double precision, and then every
block of it held against what the running model gave.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from .anatomy import BlockAnatomy
from .attention_call import AttentionCall
from .block import BlockReader
from .errors import UnsupportedModelError
from .find import called
from .kinds import Kind, kinds_of
from .plan import Plan, with_layout_in
from .precision import widest
from .replica import FAILURES, CannotCopyError, Replica
from .verify import Verdict, verify
from .watch import Watched

# Plans that are kept, by what was understood: models of one class and shape are read once in a
# process.
_KEPT = 256
_plans: OrderedDict[tuple[Any, ...], Plan] = OrderedDict()


def understand(
    model: PreTrainedModel, blocks: Sequence[nn.Module], seen: Watched
) -> tuple[tuple[BlockAnatomy, ...], tuple[str, ...]]:
    """The anatomy of each block, and a sentence on those that could not be copied.

    Args:
        model: the model.
        blocks: in order.
        seen: a pass of the model.

    Raises:
        UnsupportedModelError: naming what was not understood.
    """
    model_kind = type(model), _digest(model)
    found, plainly = [], []
    for index, (block, kind) in enumerate(zip(blocks, kinds_of(blocks), strict=True)):
        reader = _Block(model, seen, index, block, (*model_kind, kind))
        found.append(reader.understood())
        if reader.plainly:
            plainly.append(index)
    return tuple(found), _notes(plainly, blocks, seen)


def _notes(plainly: list[int], blocks: Sequence[nn.Module], seen: Watched) -> tuple[str, ...]:
    if not plainly:
        return ()
    one = len(plainly) == 1
    which = f"Layer {plainly[0]}" if one else f"{len(plainly)} of {len(blocks)} layers"
    dtype = called(seen, blocks[plainly[0]], "a block").output.dtype
    said = (
        f"{which} could not be copied to double precision (packed or absent weights, say), and "
        f"{'was' if one else 'were'} understood on the running model, in {str(dtype)[6:]}."
    )
    return (said,)


def _digest(model: PreTrainedModel) -> str:
    """What the config says, but for where it was loaded from."""
    try:
        said = model.config.to_json_string(use_diff=False)
    except (TypeError, ValueError, AttributeError):
        return str(id(model))
    lines = [line for line in said.splitlines() if '"_name_or_path"' not in line]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


class _Block:
    def __init__(
        self,
        model: PreTrainedModel,
        seen: Watched,
        index: int,
        block: nn.Module,
        kind: tuple[type, str, Kind],
    ) -> None:
        self.model, self.seen, self.index, self.block, self.kind = model, seen, index, block, kind
        self.call = called(seen, block, f"block {index}")
        self.own = self.call.output.dtype
        self.plainly = False

    def understood(self) -> BlockAnatomy:
        """The block's anatomy.

        Raises:
            UnsupportedModelError: naming what was not understood.
        """
        plan = _plans.get(self.kind)
        if plan is not None:
            known = plan.of(self.block)
            if not self._verdict(known).wrong:
                self.plainly = not plan.copied
                _plans.move_to_end(self.kind)
                return known
        refusals: list[UnsupportedModelError] = []
        for plan in self._plans(refusals):
            part = with_layout_in(plan.of(self.block), self.block)
            if not self._verdict(part).wrong:
                self.plainly = not plan.copied
                if plan.shared:
                    _plans[self.kind] = plan
                    while len(_plans) > _KEPT:
                        _plans.popitem(last=False)
                return part
        if refusals:
            raise refusals[0]
        # It cannot be copied, nor run out of turn: what the pass itself shows has to do.
        self.plainly = True
        return self._read(self.seen, self.block)

    def _plans(self, refusals: list[UnsupportedModelError]) -> Iterator[Plan]:
        """What copies of the block, the most precise first, and the block itself tell."""
        for dtype in self._dtypes():
            try:
                replica = Replica(self.model, self.call, dtype)
                anatomy = self._tell(replica)
            except UnsupportedModelError as error:
                refusals.append(error)
            except (CannotCopyError, *FAILURES):
                continue
            else:
                yield Plan(anatomy, dtype is not None or self.own == torch.float64)

    def _dtypes(self) -> list[torch.dtype | None]:
        """Those to copy the block to; None is the block itself."""
        wider = [d for d in (widest(self.call.output.device), torch.float32) if d != self.own]
        wider = [d for d in wider if torch.finfo(d).bits > torch.finfo(self.own).bits]
        return [*dict.fromkeys(wider), None]

    def _tell(self, replica: Replica) -> BlockAnatomy:
        """What a replica tells of the block on one stream, held against what it does on others.

        Raises:
            UnsupportedModelError: as the reader of blocks does.
        """
        stream, seen = replica.balanced(seed=2)
        if len(seen.attention) != len(self._heard(self.seen, self.block)):
            raise CannotCopyError("its attention is not heard as in the model")
        others = [
            replica.run(replica.noise(seed=3, size=_size(stream))),
            replica.run(replica.stream),
        ]
        try:
            anatomy = self._read(seen, replica.block)
        except UnsupportedModelError:
            # A stream out of nowhere may lead an MLP where it never goes.
            anatomy, others = self._read(others[1], replica.block), [seen, others[0]]
        for other in others:
            wrong = verify(anatomy, other).wrong
            if wrong:
                raise _unsteady(self.index, self.block, wrong)
        return anatomy

    def _read(self, seen: Watched, block: nn.Module) -> BlockAnatomy:
        return BlockReader(seen, self.index, block, self._heard(seen, block)).read()

    def _heard(self, seen: Watched, block: nn.Module) -> list[AttentionCall]:
        inside = set(block.modules())
        return [call for call in seen.attention if call.module in inside]

    def _verdict(self, part: BlockAnatomy) -> Verdict:
        """Hold an anatomy against the running model: the pass as it was, and where a part could
        have been lost in rounding there, a stream of a fitting size.
        """
        found = verify(part, self.seen)
        if found.wrong or found.certain:
            return found
        try:
            again = verify(part, Replica(self.model, self.call).balanced(seed=4)[1])
        except FAILURES:
            return found
        return again


def _size(stream: torch.Tensor) -> float:
    return float(stream.float().square().mean().sqrt())


def _unsteady(index: int, block: nn.Module, wrong: str) -> UnsupportedModelError:
    return UnsupportedModelError(
        f"Block {index} ({type(block).__name__}) was understood on one stream, but on another "
        f"{wrong}. If you know where the model keeps its parts, pass an Anatomy by hand: see "
        "docs/models.md."
    )
