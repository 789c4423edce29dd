"""What a walk passes: streams of one layer, their parts, and what comes back to them."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..trace.attention import AttentionRows
from ..trace.linear_reading import LinearMlp
from ..trace.outlet import Passage
from .measures import Along


@dataclass
class Credit:
    """What has come back to some streams; rows are positions.

    Attributes:
        direction: (n, d_model) how the followed logit reads them along kept ways: those without an
            MLP, or all of them where MLPs are held as linear maps.
        carried: (n, 2) influence that no direction reads: along ways without an MLP, and through
            one or more.
    """

    direction: Tensor
    carried: Tensor

    def rows(self, index: Tensor) -> Credit:
        """That of some of the rows."""
        return Credit(self.direction[index], self.carried[index])


@dataclass(frozen=True)
class Single:
    """A part of every whole of a stage that is one vector: the stream before, an MLP, a bias.

    Attributes:
        name: "residual", or the end of its node's id.
        vectors: (n, d_model).
        passage: what carries the stream here; for the residual alone.
        inner: the MLP as a linear map of the stream that it reads; for the MLP alone, and where
            that is what is followed.
        influence: (n,).
        kept: (n,) which are drawn.
        from_stream: (n,) of an MLP that is followed so, the influence that goes on to the stream
            that it reads; the rest is its constants'. None where it ends here.
    """

    name: str
    vectors: Tensor
    passage: Passage = field(default_factory=Passage)
    inner: LinearMlp | None = None
    influence: Tensor = field(default_factory=lambda: torch.zeros(0))
    kept: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.bool))
    from_stream: Tensor | None = None

    @property
    def leads_on(self) -> bool:
        """Whether what it carries goes on to an earlier stream."""
        if self.name == "mlp":
            return self.inner is None or self.from_stream is not None
        return self.name == "residual"


@dataclass(frozen=True)
class Memories:
    """The kept (position, head, source) parts of a stage.

    Attributes:
        rows: (K,) places among the stage's positions.
        heads: (K,).
        sources: (K,) positions.
        weights: (K,) what the values are multiplied with.
        influence: (K,).
        from_stream: (K,) the influence that goes on to the source; the rest is the constants'.
        readable: whether what they are made of can be told.
        attention: what makes their vectors.
        fixed: (n_kv_heads, T, d_value) what of each value does not come from the stream at its
            source; None where there is nothing.
    """

    rows: Tensor
    heads: Tensor
    sources: Tensor
    weights: Tensor
    influence: Tensor
    from_stream: Tensor
    readable: bool
    attention: AttentionRows
    fixed: Tensor | None

    def of(self, row: int) -> Memories:
        """Those of one of the stage's positions."""
        here = self.rows == row
        return Memories(
            self.rows[here], self.heads[here], self.sources[here], self.weights[here],
            self.influence[here], self.from_stream[here], self.readable, self.attention, self.fixed,
        )  # fmt: skip

    def vectors(self) -> Tensor:
        """(K, d_model) the parts. Mind the size."""
        return self.attention.parts(self.rows, self.heads, self.sources)

    def constants(self) -> Tensor:
        """(K, d_model) what of each part does not come from the stream at its source."""
        if self.fixed is None:
            return self.vectors() * 0
        return self.attention.parts(self.rows, self.heads, self.sources, self.fixed)


@dataclass(frozen=True)
class Stage:
    """Streams of one layer, and the parts that flow into them.

    Attributes:
        layer: from 0.
        name: "mid" or "post".
        before: "mid", or "pre" for the stream before the block: what the residual comes from.
        positions: n positions.
        wholes: (n, d_model).
        credit: what came back to them.
        influence: (n,).
        singles: parts that are one vector each.
        memories: the attention parts that are kept; None where no attention flows in.
        left_out: (n,) how many parts are not drawn.
        rest: (n,) their influence.
        effects: (n, d_model) what the parts were measured by, where it is not the credit.
    """

    layer: int
    name: str
    before: str
    positions: list[int]
    wholes: Tensor
    credit: Credit
    influence: Tensor
    singles: list[Single]
    memories: Memories | None
    left_out: Tensor
    rest: Tensor
    effects: Tensor | None = None

    def along(self, row: int) -> Along:
        """How the followed logit hangs on one of the streams."""
        effect = None if self.effects is None else self.effects[row]
        return Along(self.credit.direction[row], effect)
