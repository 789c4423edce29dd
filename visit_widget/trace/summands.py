"""Summands that are many and alike: each a number times a vector that a matrix brings to the
stream, as neurons, the rows of W_O and what a head takes from its sources are.

What ranks them is told without making them: of a large model's MLP they are hundreds of megabytes
a layer, and a few are drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .outlet import Outlet, Passage

# Numbers of rows that are carried to the stream at once, where they have to be.
AT_ONCE = 2**22


@dataclass(frozen=True)
class Summands:
    """n summands of the stream.

    Attributes:
        factors: (n,).
        vectors: (n, width) what each multiplies.
        outlet: the way to the stream.
        matrix: (width, d_model) what writes the vectors; None where they are written as they are.
    """

    factors: Tensor
    vectors: Tensor
    outlet: Outlet
    matrix: Tensor | None = None

    @classmethod
    def of(cls, vectors: Tensor) -> Summands:
        """Those that are written out already: (n, d_model)."""
        return cls(vectors.new_ones(len(vectors)), vectors, Outlet(Passage(), Passage(), None))

    def __len__(self) -> int:
        return len(self.factors)

    def __getitem__(self, numbers: Sequence[int]) -> Tensor:
        """(k, d_model) some of them, in memory of their own."""
        chosen = torch.as_tensor(numbers, dtype=torch.long, device=self.factors.device)
        return self._in_stream(self.factors[chosen, None] * self.vectors[chosen])

    def every(self) -> Tensor:
        """(n, d_model) all of them."""
        return self._in_stream(self.factors[:, None] * self.vectors)

    def total(self) -> Tensor:
        """(d_model,) their sum."""
        return self._in_stream(self.factors @ self.vectors)

    def along(self, direction: Tensor) -> Tensor:
        """(n,) ⟨summand, direction⟩."""
        read = self.outlet.from_stream(direction)
        read = read if self.matrix is None else self.matrix @ read
        found: Tensor = self.factors * (self.vectors @ read)
        return found

    def lengths(self) -> Tensor:
        """(n,) the length of each."""
        width = self.vectors.shape[1] if self.matrix is None else self.matrix.shape[1]
        rows = self.vectors.split(max(1, AT_ONCE // width))
        # Not by `norm`, which is several times slower on a transposed matrix.
        squares = [self._in_stream(some).square().sum(-1) for some in rows]
        return self.factors.abs() * torch.cat(squares).sqrt()

    def signed_lengths(self) -> Tensor:
        """(n,) the length of each with the sign of its factor: what the published tool ranks by."""
        return self.factors.sign() * self.lengths()

    def _in_stream(self, vectors: Tensor) -> Tensor:
        return self.outlet.to_stream(vectors if self.matrix is None else vectors @ self.matrix)
