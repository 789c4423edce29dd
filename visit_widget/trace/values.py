"""What a layer's values are made of: each is linear in the stream at its source.

    v_j = W · pre_j + c_j

once the scales of the norms on the way are frozen at what was observed. `pull_back` takes
directions at the values back to the stream, through the model's own projection; `constants` are
the c_j.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..model import VisitError
from .audit import tolerance_of
from .projection import Projection

if TYPE_CHECKING:
    from .trace import Trace


class Values:
    """How one layer's values read the stream before the block, at some sources.

    Args:
        trace: the traced pass.
        layer: from 0.
        sources: R positions.

    Attributes:
        constants: (n_kv_heads, R, d_value) what does not come from the stream: biases of the norm
            and of the projection.
    """

    def __init__(self, trace: Trace, layer: int, sources: Sequence[int]) -> None:
        self._trace, part = trace, trace.anatomy.blocks[layer]
        self._layer, self._sources = layer, list(sources)
        sources = self._sources
        self._projection = Projection(trace, layer, sources)
        self._norm = trace.norm(part.attention_norm)
        self._before = trace.work(trace.record.layers[layer].pre[sources])
        self._factor = part.attention_input_scale
        zero = torch.zeros_like(self._projection.input)
        if self._norm is not None:
            zero = zero + self._norm.bias.to(zero) * self._factor
        with torch.no_grad():
            self.constants = trace.work(self._projection.values(zero))

    @torch.inference_mode(False)
    def pull_back(self, directions: Tensor) -> Tensor:
        """The directions in the stream at the sources that directions at the values read.

        Args:
            directions: (n_kv_heads, R, d_value).

        Returns:
            (R, d_model): ⟨returned, pre_j⟩ + ⟨directions, c_j⟩ = ⟨directions, v_j⟩.

        Raises:
            VisitError: the values do not come from this layer's stream.
        """
        x = self._projection.input.clone().requires_grad_()
        with torch.enable_grad():
            value = self._projection.values(x)
            if not value.requires_grad:
                raise VisitError(f"The values of layer {self._layer} are made in another layer.")
            read = (value * directions.to(value).clone()).sum()
            (found,) = torch.autograd.grad(read, x)
        back = self._trace.work(found) * self._factor
        if self._norm is None:
            return back
        return self._norm.pull_back(back, self._norm.scale(self._before))

    def off(self) -> float:
        """How far from the truth, relatively: read along the values themselves, which leaves
        nothing out.
        """
        value = self._trace.work(self._trace.attention_record(self._layer).value[:, self._sources])
        read = (self.pull_back(value) * self._before).sum() + (value * self.constants).sum()
        square = value.square().sum().clamp_min(torch.finfo(value.dtype).tiny)
        return float((read - square).abs() / square)


def values_of(trace: Trace, layer: int, sources: Sequence[int]) -> Values | None:
    """How the layer's values read the stream; None where that cannot be told: values that are made
    in another layer, or past a norm that is not understood.
    """
    try:
        found = Values(trace, layer, sources)
        return found if found.off() <= tolerance_of(trace) else None
    except VisitError:
        return None
