"""The way from a sublayer's output projection to the stream, part by part.

Most models add the projection's output as it is. Some put a norm between: frozen at the scale of
what was written, it is linear, so each summand goes through it on its own, and the norm's bias
joins the projection's.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ..model.norms import Norm


@dataclass(frozen=True)
class Outlet:
    """How what a sublayer writes reaches the stream at one position.

    Attributes:
        norm: the norm after the sublayer, if any.
        scale: its scale, frozen at what the sublayer wrote.
        bias: (d_model,) what is added to the stream whatever the sublayer does; None where there
            is nothing.
    """

    norm: Norm | None
    scale: Tensor | None
    bias: Tensor | None

    @classmethod
    def at(cls, norm: Norm | None, written: Tensor, bias: Tensor | None) -> Outlet:
        """For one position.

        Args:
            norm: the norm after the sublayer, if any.
            written: (d_model,) the projection's output there, without its bias.
            bias: (d_model,) the projection's bias, if any.
        """
        if norm is None:
            return cls(None, None, bias)
        scale = norm.scale(written if bias is None else written + bias)
        constant = None if bias is None else norm.linear(bias, scale)
        if bool(norm.bias.any()):
            constant = norm.bias if constant is None else constant + norm.bias
        return cls(norm, scale, constant)

    def to_stream(self, written: Tensor) -> Tensor:
        """What summands of the projection's output become in the stream; shapes (…, d_model)."""
        if self.norm is None or self.scale is None:
            return written
        return self.norm.linear(written, self.scale)

    def from_stream(self, direction: Tensor) -> Tensor:
        """The direction at the projection's output that a direction in the stream reads."""
        if self.norm is None or self.scale is None:
            return direction
        return self.norm.pull_back(direction, self.scale)
