"""How a logit hangs on what every sublayer writes, by plain hooks and autograd."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from tests.tiny import blocks_of, final_norm_of


def writers_of(model: PreTrainedModel) -> dict[str, nn.Module]:
    """What writes to the stream in a tiny model, past its own norm, by the name of its node."""
    found: dict[str, nn.Module] = {}
    for n, block in enumerate(blocks_of(model)):
        found[f"L{n}.attn"] = block.after_attention or block.attention
        found[f"L{n}.mlp"] = block.after_mlp or block.mlp
    return found


@contextmanager
def added_to(modules: dict[str, nn.Module], more: dict[str, Tensor]) -> Iterator[None]:
    """Within the block something is added to what modules give: (T, d_model)."""

    def adding(add: Tensor) -> Callable[..., Any]:
        def hook(_m: Any, _a: Any, out: Any) -> Any:
            if isinstance(out, tuple):
                return (out[0] + add, *out[1:])
            return out + add

        return hook

    handles = [modules[name].register_forward_hook(adding(add)) for name, add in more.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def said(
    model: PreTrainedModel, ids: list[int], position: int, target: int, foil: int | None
) -> Tensor:
    """The target's logit (minus the foil's) before any cap."""
    head = model.get_output_embeddings()
    kept: list[Tensor] = []
    handle = final_norm_of(model).register_forward_hook(lambda _m, _a, out: kept.append(out))
    try:
        model(torch.tensor([ids]), use_cache=False)
    finally:
        handle.remove()
    logits = torch.nn.functional.linear(kept[-1][0, position], head.weight, head.bias)
    return logits[target] - (0 if foil is None else logits[foil])


def own_slopes(
    model: PreTrainedModel, ids: list[int], position: int, target: int, foil: int | None = None
) -> dict[str, Tensor]:
    """{node id of a sublayer: (T, d_model)} the derivatives by what it adds at every position."""
    width = model.get_output_embeddings().weight.shape[1]
    modules = writers_of(model)
    leaves = {
        name: torch.zeros(len(ids), width, dtype=model.dtype, requires_grad=True)
        for name in modules
    }
    with torch.enable_grad(), added_to(modules, leaves):
        value = said(model, ids, position, target, foil)
        found = torch.autograd.grad(value, list(leaves.values()), allow_unused=True)
    return {
        name: torch.zeros_like(leaf) if g is None else g
        for (name, leaf), g in zip(leaves.items(), found, strict=True)
    }
