"""All that is done to one pass: changes on modules, and heads that look otherwise."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ..model import VisitError
from ..model.operations import plain_attention
from .changes import Change, ExpertChange, Hooked, given_instead, hidden_in
from .looks import ROWS_AT_ONCE, Look, asking, look_again

if TYPE_CHECKING:
    from ..model import BlockAnatomy
    from .record import AttentionRecord, Half


@dataclass
class Edits:
    """All that is done to one pass.

    Attributes:
        hooks: on modules, in the order in which they are done.
        looks: how heads look otherwise, by layer.
        sublayers: (layer, half) → what is done to all that it adds, in the stream's own unit.
        held: layers whose queries and keys are these, whatever the stream before them is.
        layers: those in which something is edited.
        names: {id: what was done there}.
    """

    hooks: list[Hooked] = field(default_factory=list)
    looks: dict[int, list[Look]] = field(default_factory=lambda: defaultdict(list))
    sublayers: dict[tuple[int, Half], list[Change]] = field(
        default_factory=lambda: defaultdict(list)
    )
    held: dict[int, AttentionRecord] = field(default_factory=dict)
    layers: set[int] = field(default_factory=set)
    names: dict[str, str] = field(default_factory=dict)
    # What attention gives otherwise, of modules whose own output cannot be exchanged.
    _pending: dict[nn.Module, Tensor] = field(default_factory=dict)

    def hook(self, stack: ExitStack, blocks: Iterable[BlockAnatomy] = ()) -> None:
        """Do it all until the stack is left.

        Args:
            stack: what takes the hooks away again.
            blocks: the model's, where attention may be asked again in the pass.
        """
        for part in blocks:
            if part.output_projection is not None:
                late = part.output_projection.register_forward_pre_hook(
                    self._late, with_kwargs=True
                )
                stack.callback(late.remove)
        for hooked in self.hooks:
            hooked.hook(stack)

    def heard(
        self, layer: int, part: BlockAnatomy, kept: AttentionRecord, output: Tensor
    ) -> Tensor | None:
        """What goes on in the place of what an attention call of the pass gave.

        Args:
            layer: from 0.
            part: its modules.
            kept: what is kept of the call; held queries and keys are put into it.
            output: (1, T, n_heads, d_value).

        Returns:
            Likewise; None where it stays.

        Raises:
            VisitError: it cannot be exchanged in this model.
        """
        held = self.held.get(layer)
        if held is not None:
            kept.query, kept.key = held.query.to(kept.query), held.key.to(kept.key)
        if held is None and not self.looks.get(layer):
            return None
        every = torch.arange(output.shape[1])
        mixed = output[0].clone()
        if held is not None:
            for rows in every.split(ROWS_AT_ONCE):
                mixed[rows] = asking(kept, part, rows).answer()[0].to(mixed)
        mixed = self.mixed(layer, part, kept, every, mixed)
        if kept.attend is not plain_attention:
            return mixed[None]
        if part.heads_norm is not None or part.gated_heads:
            raise VisitError(
                f"The heads of layer {layer} go through a norm or a gate in the model's own code, "
                f"so that what they look at cannot be edited: edit whole heads (L{layer}.H0)."
            )
        assert part.output_projection is not None
        self._pending[part.output_projection] = (mixed - output[0]).flatten(1)
        return None

    def mixed(
        self,
        layer: int,
        part: BlockAnatomy,
        kept: AttentionRecord,
        positions: Tensor,
        mixed: Tensor,
    ) -> Tensor:
        """The heads' mixes of values as they are edited; as in `look_again`."""
        return look_again(self.looks.get(layer, ()), kept, part, positions, mixed)

    def columns(self, module: nn.Module | None, positions: Sequence[int], x: Tensor) -> Tensor:
        """What enters a module at some positions, (n, width), as it is edited."""
        for change in self.hooks:
            if isinstance(change, Change) and change.module is module and change.side == "input":
                x = change.among(positions, x)
        return x

    def fired(
        self, part: BlockAnatomy, position: int, index: Tensor | None, experts: Tensor | None,
        activations: Tensor,
    ) -> Tensor:  # fmt: skip
        """(n,) activations of a mixture of experts at a position, as they are edited."""
        for change in self.hooks:
            if not isinstance(change, ExpertChange) or change.part is not part:
                continue
            if position in change.rows.tolist():
                mine = change.mine(index, experts).to(activations.device)
                activations = torch.where(mine, activations * change.factor, activations)
        return activations

    def added(self, layer: int, half: Half, position: int, vector: Tensor) -> Tensor:
        """What a sublayer adds at a position, (d_model,), as it is edited."""
        for change in self.sublayers.get((layer, half), ()):
            vector = change.among([position], vector[None])[0]
        return vector

    def _late(self, module: nn.Module, args: Any, kwargs: Any) -> Any:
        more = self._pending.pop(module, None)
        if more is None:
            return None
        x = hidden_in(args, kwargs)
        return given_instead(args, kwargs, x, (x.reshape(more.shape) + more.to(x)).reshape(x.shape))
