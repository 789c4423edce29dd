"""Holding a block's anatomy against what the running block itself gave, in its own dtype.

A sum of n terms, each of which may have been scaled, is stored within 2 n roundings of their sizes,
number by number: with u half the machine epsilon of the stream,

    |Σ fₖ tₖ + b − sum| ≤ 2 n u (Σ |fₖ tₖ| + |b|)

That an anatomy passes says something as far as its parts are larger than what rounding may do. How
much larger the smallest is, is the power of the test.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .anatomy import BlockAnatomy
from .find import same
from .joins import Factor, Join
from .precision import careful
from .watch import Call, Watched

# The power from which on a missing part would show: sizes of norms, four times what rounds.
ENOUGH = 4.0


@dataclass(frozen=True)
class Verdict:
    """What was found.

    Attributes:
        wrong: what does not hold, in words; "" where everything does.
        power: the size of the smallest part over what rounding may do there.
    """

    wrong: str = ""
    power: float = math.inf

    @property
    def certain(self) -> bool:
        """Whether everything holds, and a missing part would have shown."""
        return not self.wrong and self.power >= ENOUGH


def verify(part: BlockAnatomy, seen: Watched) -> Verdict:
    """Hold an anatomy against the calls of one run of the block."""
    return _Check(part, seen).verdict()


class _DoesNotHoldError(Exception):
    pass


class _Check:
    def __init__(self, part: BlockAnatomy, seen: Watched) -> None:
        self.part, self.seen, self.power = part, seen, math.inf

    def verdict(self) -> Verdict:
        try:
            self._attention()
            self._mlp_input()
            self._sums()
        except _DoesNotHoldError as error:
            return Verdict(str(error), self.power)
        return Verdict("", self.power)

    def _attention(self) -> None:
        part = self.part
        if part.attention is None:
            return
        attention, whole = self._call(part.attention), self._call(part.block)
        read = whole.input
        if part.attention_norm is not None:
            norm = self._call(part.attention_norm)
            self._hold(same(norm.input, read), "the attention's norm reads something else")
            read = norm.output
        given = any(self._scaled(read, part.attention_input_scale, x) for x in attention.inputs)
        self._hold(given, "the attention reads something else")
        heard = next((c for c in self.seen.attention if c.module is part.attention), None)
        self._hold(heard is not None, "the attention was not heard")
        assert heard is not None
        assert part.output_projection is not None
        heads = heard.output
        if part.heads_norm is not None:
            norm = self._call(part.heads_norm)
            self._hold(same(norm.input, heads), "the norm of the heads reads something else")
            heads = norm.output
        if not part.gated_heads:
            projected = self._call(part.output_projection).input
            self._hold(same(projected, heads), "the output projection reads something else")

    def _mlp_input(self) -> None:
        part = self.part
        if part.mlp is None:
            return
        first = part.mlp_entry
        if part.mlp_norm is not None:
            norm = self._call(part.mlp_norm)
            inner = next(iter(part.mlp.children())) if part.mlp_exits != (part.mlp,) else part.mlp
            self._hold(same(norm.output, self._call(inner).input), "the MLP reads something else")
        if part.parallel:
            assert first is not None
            before = self._call(part.block).input
            self._hold(same(self._call(first).input, before), "the MLP reads a later stream")

    def _sums(self) -> None:
        part, whole = self.part, self._call(self.part.block)
        before, after = whole.input, whole.output
        assert before is not None
        mixer: list[tuple[Factor, Tensor]] = []
        if part.mixer is not None and (part.attention is not None or part.mixer_late):
            mixer = [(part.mixer_scale, self._call(part.mixer).output)]
        early, late = ([], mixer) if part.mixer_late else (mixer, [])
        attended = self._written(part.attention_join, self._attention_exits())
        if part.mlp is None:
            self._sum(part.attention_join, before, [*attended, *early, *late], after)
            return
        mlp = self._written(part.mlp_join, part.mlp_exits)
        if part.parallel:
            self._sum(part.attention_join, before, [*attended, *mlp, *early, *late], after)
            return
        assert part.mlp_entry is not None
        middle = self._call(part.mlp_entry).input
        assert middle is not None
        if part.attention is not None or part.mixer is not None:
            self._sum(part.attention_join, before, [*attended, *early], middle)
        self._sum(part.mlp_join, middle, [*mlp, *late], after)

    def _attention_exits(self) -> tuple[nn.Module, ...]:
        part = self.part
        if part.output_projection is not None:
            return (part.output_projection,)
        whole = part.mixer is not None and not part.mixer_late
        return (part.mixer,) if whole and part.mixer is not None else ()

    def _written(self, join: Join, exits: tuple[nn.Module, ...]) -> list[tuple[Factor, Tensor]]:
        if join.post_norm is None:
            return [(join.scale, self._call(module).output) for module in exits]
        norm = self._call(join.post_norm)
        if len(exits) == 1:
            given = self._call(exits[0]).output
            self._hold(same(norm.input, given), "a post-norm reads something else")
        return [(join.scale, norm.output)]

    def _sum(
        self, join: Join, before: Tensor, written: list[tuple[Factor, Tensor]], after: Tensor
    ) -> None:
        carried = before
        if join.carry_norm is not None:
            norm = self._call(join.carry_norm)
            self._hold(same(norm.input, before), "the norm of the carried stream reads another")
            carried = norm.output
        total = after
        if join.stream_norm is not None:
            norm = self._call(join.stream_norm)
            self._hold(same(norm.output, after), "the norm of the sum gives another stream")
            assert norm.input is not None
            total = norm.input
        self._adds_up(total, [(join.carry, carried), *written], join.bias)

    def _adds_up(
        self, total: Tensor, terms: list[tuple[Factor, Tensor]], bias: Tensor | None
    ) -> None:
        size = total.numel()
        self._hold(all(t.numel() == size for _, t in terms), "a part has another shape")
        wide = careful(total).reshape(-1, total.shape[-1])
        parts = [_times(factor, careful(t).reshape(wide.shape)) for factor, t in terms]
        if bias is not None:
            parts.append(careful(bias).expand(wide.shape))
        stored = max(total.dtype, *(t.dtype for _, t in terms), key=lambda d: torch.finfo(d).eps)
        unit = max(torch.finfo(stored).eps, torch.finfo(wide.dtype).eps) / 2
        allowed = 2 * len(parts) * unit * torch.stack([p.abs() for p in parts]).sum(0)
        if stored == torch.float64:
            # Some of it may be done in float32 whatever the model's dtype.
            allowed = allowed * (torch.finfo(torch.float32).eps / torch.finfo(stored).eps)
        off = (torch.stack(parts).sum(0) - wide).abs()
        self._hold(bool((off <= allowed).all()), "its parts do not add up to the stream")
        rounds = float(allowed.norm()) + torch.finfo(torch.float32).tiny
        for part in parts[1:]:
            self.power = min(self.power, float(part.norm()) / rounds)

    def _scaled(self, read: Tensor | None, scale: float, given: Tensor) -> bool:
        if read is None or read.numel() != given.numel():
            return False
        if scale == 1.0:
            return same(read, given)
        ours = careful(read).reshape(-1) * scale
        off = (ours - careful(given).reshape(-1)).abs()
        near = 2 * max(torch.finfo(given.dtype).eps, torch.finfo(torch.float32).eps)
        return bool((off <= near * ours.abs()).all())

    def _call(self, module: nn.Module) -> Call:
        call = self.seen.of(module)
        if call is None or call.input is None:
            raise _DoesNotHoldError(f"{type(module).__name__} was not called")
        return call

    def _hold(self, holds: bool, otherwise: str) -> None:
        if not holds:
            raise _DoesNotHoldError(otherwise)


def _times(factor: Factor, wide: Tensor) -> Tensor:
    if isinstance(factor, Tensor):
        return careful(factor).to(wide) * wide
    return wide if factor == 1.0 else wide * factor
