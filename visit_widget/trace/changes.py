"""What is done to parts of a pass while it runs, by hooks on the model's own modules.

Every edit is affine, `factor · x + put`: taken away, scaled, or exchanged for something else. Most
parts are a slice of what a module is given or gives: heads in the input of W_O, neurons in that of
W_out, what a sublayer writes, the stream (`Change`). The stream between sublayers is no module's
output (`MidChange`), nor is a neuron of a mixture of experts a column (`ExpertChange`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, Protocol

import torch
from torch import Tensor, nn

from ..model import VisitError
from ..model.anatomy import Beside, Chain
from ..model.norms import Norm
from ..model.watch import first_tensor
from ..model.writers import writers_at
from .outlet import joined, like

if TYPE_CHECKING:
    from ..model import BlockAnatomy
    from .record import Half

# What is running a module aside, to see what its neurons do: nothing is changed meanwhile.
_aside: list[object] = []
# Of a neuron of a mixture of experts: whether it is one of those that are edited.
Chosen = Literal["neuron", "expert"]


class Hooked(Protocol):
    """Something that is done on a module while it runs."""

    def hook(self, stack: ExitStack) -> None:
        """Do it until the stack is left."""


@dataclass(frozen=True)
class Change:
    """Rows of what a module is given, or gives, become `factor · x + put`.

    Attributes:
        module: the module.
        side: "input" or "output".
        rows: (n,) places among its rows, whatever their shape: positions of a pass of one prompt.
        factor: a number.
        columns: of each row; all by default.
        put: (width,) or (n, width); nothing by default.
    """

    module: nn.Module
    side: Literal["input", "output"]
    rows: Tensor
    factor: float
    columns: slice = field(default_factory=lambda: slice(None))
    put: Tensor | None = None

    def hook(self, stack: ExitStack) -> None:
        """Do it until the stack is left."""
        if self.side == "input":
            hook = self.module.register_forward_pre_hook(_on_input(self.changed), with_kwargs=True)
        else:
            hook = self.module.register_forward_hook(_on_output(self.changed))
        stack.callback(hook.remove)

    def changed(self, x: Tensor) -> Tensor:
        """All rows (…, width), those that are meant changed."""
        found = x.reshape(-1, x.shape[-1]).clone()
        rows = self.rows.to(x.device)
        new = found[rows, self.columns] * self.factor
        found[rows, self.columns] = new if self.put is None else new + self.put.to(new)
        return found.reshape(x.shape)

    def among(self, positions: Sequence[int], x: Tensor) -> Tensor:
        """Likewise of the rows (n, width) at some positions."""
        where = {position: n for n, position in enumerate(positions)}
        rows = [(n, where[r]) for n, r in enumerate(self.rows.tolist()) if r in where]
        if not rows:
            return x
        put = self.put
        if put is not None and put.ndim == 2 and len(put) > 1:
            put = put[[n for n, _ in rows]]
        places = torch.tensor([place for _, place in rows])
        return Change(self.module, self.side, places, self.factor, self.columns, put).changed(x)


@dataclass(frozen=True)
class MidChange:
    """Rows of the stream between attention and MLP become `factor · x + put`, where no norm gives
    that stream.

    Attributes:
        part: the block's modules.
        rows: (n,) places among its rows.
        factor: a number.
        put: (d_model,) or (n, d_model); nothing by default.
    """

    part: BlockAnatomy
    rows: Tensor
    factor: float
    put: Tensor | None = None

    def hook(self, stack: ExitStack) -> None:
        """Do it until the stack is left."""
        before: list[Tensor] = []

        def keep(_: nn.Module, args: Any, kwargs: Any) -> None:
            before[:] = [hidden_in(args, kwargs)]

        def change(written: Tensor) -> Tensor:
            rows = self.rows.to(written.device)
            found = written.reshape(-1, written.shape[-1]).clone()
            pre = before[0].reshape(found.shape)[rows]
            join = replace(self.part.attention_join, post_norm=None)
            mid = joined(join, pre, found[rows]) * self.factor
            mid = mid if self.put is None else mid + self.put.to(mid)
            # Such that the sum is that: what is left of zero by rounding may be far from nothing.
            rest = mid - joined(join, pre, torch.zeros_like(pre))
            found[rows] = rest.to(found) / like(join.scale, found)
            return found.reshape(written.shape)

        module, _ = exit_of(self.part, "attention")
        stack.callback(self.part.block.register_forward_pre_hook(keep, with_kwargs=True).remove)
        stack.callback(module.register_forward_hook(_on_output(change)).remove)


@dataclass
class ExpertChange:
    """Neurons of a mixture of experts fire `factor` times as much, whatever the router chose.

    Attributes:
        part: the block's modules.
        rows: (n,) places among the MLP's rows.
        factor: a number.
        kind: whether `number` is a neuron's or an expert's.
        number: which.
    """

    part: BlockAnatomy
    rows: Tensor
    factor: float
    kind: Chosen
    number: int

    def hook(self, stack: ExitStack) -> None:
        """Do it until the stack is left."""
        read, mlp = list[Tensor](), self.part.mlp
        assert mlp is not None
        # Containers of this package's own are not called: their modules are.
        first = mlp[0] if isinstance(mlp, (Chain, Beside)) else mlp

        def keep(_: nn.Module, args: Any, kwargs: Any) -> None:
            if not _aside:
                read[:] = [hidden_in(args, kwargs)]

        def change(written: Tensor) -> Tensor:
            found = written.reshape(-1, written.shape[-1]).clone()
            inputs = read[0].reshape(-1, read[0].shape[-1])
            _aside.append(self)
            try:
                for row in self.rows.tolist():
                    found[row] += self._more(inputs[row]).to(found)
            finally:
                _aside.pop()
            return found.reshape(written.shape)

        stack.callback(first.register_forward_pre_hook(keep, with_kwargs=True).remove)
        last = self.part.mlp_exits[0]
        stack.callback(last.register_forward_hook(_on_output(change)).remove)

    def _more(self, x: Tensor) -> Tensor:
        assert self.part.mlp is not None
        assert self.part.writers is not None
        found = writers_at(self.part.mlp, self.part.writers, x, x.dtype)
        mine = self.mine(found.index, found.expert)
        activations = found.activations[mine] * (self.factor - 1)
        return activations @ found.matrix[mine].to(activations)

    def mine(self, index: Tensor | None, experts: Tensor | None) -> Tensor:
        """(n,) which of the neurons that may fire at a position are edited."""
        if self.kind == "neuron":
            assert index is not None
            return index == self.number
        assert experts is not None
        return experts == self.number


@dataclass
class HeldNorm:
    """A norm whose scale is what it was in another pass.

    Attributes:
        norm: the norm.
        module: the module that it was read from.
        scales: what to divide by, call by call.
    """

    norm: Norm
    module: nn.Module
    scales: list[Tensor]

    def hook(self, stack: ExitStack) -> None:
        """Hold it until the stack is left."""
        calls = iter(self.scales)

        def hold(_: nn.Module, args: Any, output: Tensor) -> Tensor:
            x = args[0].to(self.norm.gain.dtype)
            return self.norm.forward_frozen(x, next(calls)).to(output)

        stack.callback(self.module.register_forward_hook(hold).remove)


def exit_of(part: BlockAnatomy, half: Half) -> tuple[nn.Module, tuple[nn.Module, ...]]:
    """The module that gives what a sublayer writes, before any factor; and those whose outputs are
    summed with it.
    """
    if half == "attention":
        found = part.attention_join.post_norm or part.attention
        assert found is not None
        return found, ()
    if part.mlp_join.post_norm is not None:
        return part.mlp_join.post_norm, ()
    return part.mlp_exits[0], part.mlp_exits[1:]


def hidden_in(args: Any, kwargs: Any) -> Tensor:
    """The stream, or what else a module is about, among its arguments."""
    x = first_tensor(args) if args else kwargs.get("hidden_states", first_tensor(kwargs))
    assert x is not None
    return x


def _on_input(changed: Callable[[Tensor], Tensor]) -> Any:
    def change(_: nn.Module, args: Any, kwargs: Any) -> Any:
        if _aside:
            return None
        x = hidden_in(args, kwargs)
        return given_instead(args, kwargs, x, changed(x))

    return change


def _on_output(changed: Callable[[Tensor], Tensor]) -> Any:
    def change(_module: nn.Module, _args: Any, output: Any) -> Any:
        if _aside:
            return None
        x = first_tensor(output)
        assert x is not None
        return _exchanged(output, x, changed(x))

    return change


def given_instead(args: Any, kwargs: Any, old: Tensor, new: Tensor) -> tuple[Any, Any]:
    """Arguments with one tensor in the place of another, wherever it stands."""
    return (
        tuple(new if a is old else a for a in args),
        {k: new if v is old else v for k, v in kwargs.items()},
    )


def _exchanged(output: Any, old: Tensor, new: Tensor) -> Any:
    """What a module gave, with one tensor in the place of another."""
    if output is old:
        return new
    if isinstance(output, (tuple, list)):
        every = [new if v is old else v for v in output]
        return type(output)(*every) if hasattr(output, "_replace") else type(output)(every)
    if isinstance(output, dict):
        for name in [name for name, value in output.items() if value is old]:
            output[name] = new
        return output
    raise VisitError(f"What a module gave as {type(output).__name__} cannot be exchanged.")
