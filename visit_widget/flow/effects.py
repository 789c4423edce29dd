"""The walk by effects: what every part of every stream does to the prediction, to first order, with
everything later reacting, at its own position and at those that attend to it.

    influence(part) = effect(part) = ⟨∂m / ∂s, part⟩          m = the followed logit, s its stream

so the parts of a stream sum to the stream's effect, whatever is pruned: an effect is of the part
along all ways, drawn or not. For the same reason what leaves a stream does not sum to what it has:
it is read by queries, keys, MLPs and norms as well, in ways that no edge shows. A stream at whose
position something further down counts is followed there, though it may itself sum to nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from ..trace import Trace
from ..trace.attention import attention_rows
from ..trace.effect import Everywhere
from ..trace.logit import LogitDirection
from ..trace.tape import At
from .keep import Keep
from .stage import Stage
from .walk import Walk


class EffectWalk(Walk):
    """As `Walk`, parts measured by their effects.

    Args:
        everywhere: how the followed logit hangs on every stream.
        Else as `Walk`.

    Attributes:
        logit: the prediction's logit.
        total: what all that flows into the logits would do together: no logit, for the last norm
            takes the length of the stream away.
    """

    def __init__(
        self, trace: Trace, read: LogitDirection, position: int, keep: Keep, everywhere: Everywhere
    ) -> None:
        super().__init__(trace, read, position, keep, "effect", everywhere)
        self.slopes, self.logit = everywhere, self.total
        slope = everywhere.at(trace.n_layers - 1, "post", [position])[0]
        self.total = float(self.final @ slope) + read.constant

    def __iter__(self) -> Iterator[Stage]:
        self.below = self._counting()
        yield from super().__iter__()

    def told(self, attribution: dict[str, Any]) -> dict[str, Any]:
        """The effects of all tokens' embeddings, reached or not; "bias" is what they leave of the
        logit.
        """
        last = self.focus + 1
        embeddings = self.trace.residual(0, "pre")[:last]
        values = (embeddings * self.slopes.at(0, "pre", range(last))).sum(-1).tolist()
        values += [0.0] * (len(self.trace) - last)
        tokens = [
            {**token, "value": value}
            for token, value in zip(attribution["tokens"], values, strict=True)
        ]
        found = {**attribution, "tokens": tokens, "total": self.logit}
        found.update({n: 0.0 for n in ("opaque", "rest", "rounding") if n in attribution})
        return {**found, "bias": self.logit - sum(values)}

    def _counting(self) -> dict[tuple[int, At], Tensor]:
        """For each stream, at which positions something counts that it is made of further down:
        (focus + 1,).
        """
        trace = self.trace
        found: dict[tuple[int, At], Tensor] = {}
        below = torch.zeros(self.focus + 1, dtype=torch.bool, device=trace.device)
        for layer, part in enumerate(trace.anatomy.blocks):
            two_steps = part.mlp is not None and not part.parallel
            names: list[At] = ["mid", "post"] if two_steps else ["post"]
            for name in names:
                found[layer, name] = below.clone()
                for positions in self._chunks(layer, list(range(self.focus + 1))):
                    below[positions] |= self._counts(layer, name, names, positions)
        return found

    def _counts(self, layer: int, name: At, names: list[At], positions: list[int]) -> Tensor:
        """(n,) at which positions anything but the stream before counts."""
        attends = self.trace.attends(layer) and name == names[0]
        rows = attention_rows(self.trace, layer, positions) if attends else None
        direction = self.slopes.at(layer, name, positions)
        singles = self._singles(layer, name, names, positions, rows)
        parts = torch.stack([s.vectors for s in singles], 1)
        effects = torch.einsum("nkd,nd->nk", parts, direction)
        if rows is not None:
            memories = rows.along(rows.reading(direction)).flatten(1)
            effects = torch.cat([effects, memories], -1)
        effects, exists = effects / self.scale, torch.ones_like(effects, dtype=torch.bool)
        kept = self._choose(effects, effects, exists, len(singles), rows)
        return (kept & (effects != 0))[:, 1:].any(-1)
