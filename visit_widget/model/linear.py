"""The matrix of a linear module, whichever way the module lays it out."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D


def linear_map(module: nn.Module, n_in: int, dtype: torch.dtype) -> tuple[Tensor, Tensor | None]:
    """W of shape (n_in, n_out) and b of shape (n_out,) or None, with module(x) = x W + b.

    `Conv1D` stores [in, out], `nn.Linear` [out, in]; anything else (adapters, quantised layers) is
    read by applying
    it to the identity. The result may share memory with the module's weight: do not write to it.
    """
    if type(module) is nn.Linear:
        weight, bias = module.weight.detach().T, module.bias
    elif type(module) is Conv1D:
        weight, bias = module.weight.detach(), module.bias
    else:
        return _by_identity(module, n_in, dtype)
    return weight.to(dtype), None if bias is None else bias.detach().to(dtype)


def _by_identity(module: nn.Module, n_in: int, dtype: torch.dtype) -> tuple[Tensor, Tensor | None]:
    like = next((p for p in module.parameters() if p.is_floating_point()), torch.empty(0))
    device = next(module.parameters(), like).device
    with torch.no_grad():
        bias = module(torch.zeros(1, n_in, dtype=like.dtype, device=device))[0].to(dtype)
        weight = module(torch.eye(n_in, dtype=like.dtype, device=device)).to(dtype) - bias
    return weight, bias if bool(bias.any()) else None
