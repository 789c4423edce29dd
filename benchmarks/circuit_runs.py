"""The model with all parts outside of circuits patched from another prompt, by plain hooks.

Nothing of the package is asked, so that its reruns can be compared with these.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor

from .circuit_tasks import Pair, said

AT_ONCE = 48


class Patched:
    """One pair's prompts, run with circuits.

    Args:
        model: of the demo model's kind.
        pair: the prompts.

    Attributes:
        names: of all parts: heads by layer, then MLPs.
    """

    def __init__(self, model: Any, pair: Pair) -> None:
        self.model, self.pair = model, pair
        self.blocks = list(model.model.layers)
        self.n_heads = model.config.num_attention_heads
        self.names = [f"L{n}.H{h}" for n in range(len(self.blocks)) for h in range(self.n_heads)]
        self.names += [f"L{n}.mlp" for n in range(len(self.blocks))]
        self._mixed: dict[int, Tensor] = {}
        self._written: dict[int, Tensor] = {}

        def keep_mixed(layer: int) -> Callable[..., None]:
            return lambda _m, args: self._mixed.__setitem__(layer, args[0][0].clone())

        def keep_written(layer: int) -> Callable[..., None]:
            return lambda _m, _a, out: self._written.__setitem__(layer, out[0].clone())

        self._run(pair.corrupted[None], keep_mixed, keep_written)

    def said(self, kept: Tensor) -> Tensor:
        """(n,) m with each circuit.

        Args:
            kept: (n, n_parts) which parts are of it; the others are as in the corrupted prompt.
        """
        return torch.cat([self._patched(some) for some in kept.split(AT_ONCE)])

    def _patched(self, kept: Tensor) -> Tensor:
        n_layers = len(self.blocks)
        heads = kept[:, : n_layers * self.n_heads].unflatten(1, (n_layers, self.n_heads))
        mlps = kept[:, n_layers * self.n_heads :]

        def patch_mixed(layer: int) -> Callable[..., Any]:
            def hook(_module: Any, args: Any) -> Any:
                width = args[0].shape[-1] // self.n_heads
                own = heads[:, layer].repeat_interleave(width, -1)[:, None]
                return (torch.where(own, args[0], self._mixed[layer]), *args[1:])

            return hook

        def patch_written(layer: int) -> Callable[..., Any]:
            return lambda _m, _a, out: torch.where(
                mlps[:, layer, None, None], out, self._written[layer]
            )

        return self._run(self.pair.clean.expand(len(kept), -1), patch_mixed, patch_written)

    def _run(
        self, ids: Tensor, mixed: Callable[[int], Any], written: Callable[[int], Any]
    ) -> Tensor:
        with ExitStack() as stack:
            for layer, block in enumerate(self.blocks):
                projection = block.self_attn.o_proj
                stack.callback(projection.register_forward_pre_hook(mixed(layer)).remove)
                stack.callback(block.mlp.register_forward_hook(written(layer)).remove)
            return said(self.model, ids, self.pair)
