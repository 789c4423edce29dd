"""How an MLP reads the stream when what is nonlinear in it is held.

    mlp(x) = M x + c

With each activation's secant, each product of a gate, each router's weight and each norm's scale
held at what was observed (`held.py`), an MLP is one linear map of the stream that it reads, and
constants: its biases, and what its activations give for zero. So a direction after it reads the
stream before it, and what it adds is told exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..model import VisitError
from ..model.exclusive import exclusive
from ..model.loaded import eval_mode
from ..model.norms import Norm
from ..model.watch import first_tensor
from .audit import tolerance_of
from .held import Held, NotHeldError
from .outlet import Outlet

if TYPE_CHECKING:
    from .trace import Trace

# What a module may raise that does not take to being held.
_FAILURES = (
    NotHeldError, VisitError, RuntimeError, TypeError, IndexError, ValueError, AttributeError,
)  # fmt: skip
# More than so many times what rounding may cause is no linear map.
NOT_ROUNDING = 10


class LinearMlp:
    """One layer's MLP at n positions, held.

    Args:
        trace: the traced pass.
        layer: from 0; it has an MLP.
        positions: n of them.

    Attributes:
        outlet: the way from what it writes to the stream.
        before: (n, d_model) the stream that it reads.
        added: (n, d_model) what it adds to the stream.
        constants: (n, d_model) what of that is there whatever the stream holds; None where the MLP
            could not be held.
    """

    @torch.inference_mode(False)
    def __init__(self, trace: Trace, layer: int, positions: Sequence[int]) -> None:
        self._trace, self._part = trace, trace.anatomy.blocks[layer]
        part, mid = self._part, trace.record.layers[layer].mid
        assert part.mlp is not None
        assert mid is not None
        stream = trace.into(part.mlp_entry, mid[list(positions)])
        self._norm: Norm | None = None
        self.before = trace.work(stream)
        with torch.no_grad(), exclusive(self._trace.model), eval_mode(part.mlp):
            normed = stream if part.mlp_norm is None else part.mlp_norm(stream[None])[0]
            normed = trace.into(part.mlp, normed)
        kept: list[Any] = []
        self._source = normed.detach().clone().requires_grad_()
        self._written = self._held_or_plain(kept)
        written = trace.work(self._written)
        self.outlet = Outlet.at(part.mlp_join, trace.norm, self.before, written, None)
        self.added = self.outlet.total(written)
        self.constants: Tensor | None = None
        if not self._written.requires_grad:
            return
        try:
            self._norm = trace.norm(part.mlp_norm)
            fixed = self._run(self._without_stream(), kept)
            self.constants = self.outlet.total(trace.work(fixed))
        except _FAILURES as error:
            if isinstance(error, torch.OutOfMemoryError):
                raise

    def _held_or_plain(self, kept: list[Any]) -> Tensor:
        """What the MLP writes, (n, d_model): in the graph of its input where it can be held."""
        try:
            return self._run(self._source, kept)
        except _FAILURES as error:
            if isinstance(error, torch.OutOfMemoryError):
                raise
        part, x = self._part, self._source.detach()
        assert part.mlp is not None
        with torch.no_grad(), exclusive(self._trace.model), eval_mode(part.mlp):
            written = first_tensor(part.mlp(x[None]))
        assert written is not None
        return written.reshape(len(x), -1).detach()

    def _without_stream(self) -> Tensor:
        """(n, d_model) what the MLP is given where the stream is zero."""
        zero = torch.zeros_like(self._source)
        zero = zero if self._norm is None else zero + self._norm.bias.to(zero)
        return zero.detach().requires_grad_()

    def _run(self, x: Tensor, kept: list[Any]) -> Tensor:
        """(n, d_model) → what the MLP writes, (n, d_model)."""
        part = self._part
        assert part.mlp is not None
        with exclusive(self._trace.model), eval_mode(part.mlp), torch.enable_grad():
            held = Held(x, kept)
            with held:
                written = first_tensor(part.mlp(x[None]))
                assert written is not None
            return held.finished(written).reshape(len(x), -1)

    @torch.inference_mode(False)
    def pull_back(self, directions: Tensor) -> Tensor | None:
        """The directions in the stream that it reads.

        Args:
            directions: (n, d_model) in the stream that it writes to.

        Returns:
            (n, d_model): ⟨returned, before⟩ + ⟨directions, constants⟩ = ⟨directions, added⟩; None
            where that does not hold: something in the MLP is not understood.
        """
        if self.constants is None:
            return None
        into = self.outlet.from_stream(directions).to(self._written)
        try:
            (found,) = torch.autograd.grad(self._written, self._source, into, retain_graph=True)
        except RuntimeError as error:
            if isinstance(error, torch.OutOfMemoryError):
                raise
            return None  # an operation without a derivative
        back = self._trace.work(found)
        if self._norm is not None:
            back = self._norm.pull_back(back, self._norm.scale(self.before))
        read = (back * self.before).sum(-1)
        fixed, whole = ((directions * v).sum(-1) for v in (self.constants, self.added))
        size = (back * self.before).norm(dim=-1) + directions.norm(dim=-1) * (
            self.added.norm(dim=-1) + self.constants.norm(dim=-1)
        )
        off = (read + fixed - whole).abs() / size.clamp_min(torch.finfo(size.dtype).tiny)
        return back if bool((off <= NOT_ROUNDING * tolerance_of(self._trace)).all()) else None
