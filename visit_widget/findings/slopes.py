"""Integrated gradients of an MLP neuron by neuron, where its maps are plain matrices around
functions of single numbers.

    MLP(x) = W_out h(W_1 x + b_1, W_2 x + b_2, …) + b        h elementwise

    ∫₀¹ J(t x) x_j dt = W_out Σ_k (∫₀¹ ∂h/∂z_k dt) ⊙ W_k x_j

so that the way from zero to the input is walked once, whatever the number of parts.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from ..model.exclusive import exclusive
from ..model.linear import is_plain, linear_map
from ..model.loaded import eval_mode
from ..trace import Trace

# How far two ways to a slope may be apart, relatively: more is no function of single numbers.
_SAME = 1e-4


class _ReachedError(Exception):
    pass


@torch.inference_mode(False)
def neuron_integrals(
    trace: Trace, layer: int, points: Tensor, weights: Tensor, parts: Tensor
) -> Tensor | None:
    """∫₀¹ J(t x) part dt of each part, (n, d_model); None where the MLP is not of this form.

    Args:
        trace: the traced pass.
        layer: from 0.
        points: (1, n_points, d_model) t x, as the MLP takes them.
        weights: (n_points,) of the quadrature.
        parts: (n, d_model).
    """
    part = trace.anatomy.blocks[layer]
    mlp, down = part.mlp, part.down_projection
    if mlp is None or down is None or not is_plain(down):
        return None
    inner = [m for m in mlp.modules() if isinstance(m, (nn.Linear, Conv1D)) and m is not down]
    known = {p for m in (*inner, down) for p in m.parameters()}
    if not all(map(is_plain, inner)) or set(mlp.parameters()) - known:
        return None
    with exclusive(trace.model):
        slopes = _slopes(mlp, down, inner, points)
    if slopes is None:
        return None
    found = torch.zeros((), dtype=parts.dtype, device=parts.device)
    for module, slope in zip(inner, slopes, strict=True):
        matrix, _ = linear_map(module, parts.shape[-1], parts.dtype)
        held = (weights[:, None] * trace.work(slope)).sum(0)
        found = found + held * (parts @ trace.work(matrix))
    matrix, _ = linear_map(down, found.shape[-1], parts.dtype)
    return found @ trace.work(matrix)


def _slopes(
    mlp: nn.Module, down: nn.Module, inner: list[Any], points: Tensor
) -> list[Tensor] | None:
    """∂h_n/∂z_n at each point, (n_points, d_mlp) for each of the inner maps; None where an inner
    map reads something else than the MLP's input, or h_n more than its own numbers.
    """
    leaves: dict[Any, Tensor] = {}
    caught: list[Tensor] = []

    def enters(module: nn.Module, args: tuple[Any, ...], written: Tensor) -> Tensor | None:
        if module in leaves or not args or not torch.equal(args[0].view_as(points), points):
            return None
        leaves[module] = written.detach().clone().requires_grad_()
        return leaves[module]

    def reached(_: nn.Module, args: tuple[Any, ...]) -> None:
        caught.append(args[0])
        raise _ReachedError

    with eval_mode(mlp), torch.enable_grad():
        handles = [m.register_forward_hook(enters) for m in inner]
        handles.append(down.register_forward_pre_hook(reached))
        try:
            mlp(points)
        except _ReachedError:
            pass
        finally:
            for handle in handles:
                handle.remove()
        if not caught or len(leaves) != len(inner) or not inner:
            return None
        hidden = caught[0]
        if any(leaf.shape != hidden.shape for leaf in leaves.values()):
            return None
        into = [leaves[m] for m in inner]
        # By other weights each slope has to come out the same, if no neuron reads another's number.
        signs = torch.ones_like(hidden)
        signs[..., ::2] = -1.0
        signs[..., ::3] *= 2.0
        plain = torch.autograd.grad(
            hidden.sum(), into, retain_graph=True, allow_unused=True, materialize_grads=True
        )
        signed = torch.autograd.grad(
            (hidden * signs).sum(), into, allow_unused=True, materialize_grads=True
        )
    for one, other in zip(plain, signed, strict=True):
        if (one - other / signs).abs().max() > _SAME * one.abs().max():
            return None
    return [one.reshape(-1, one.shape[-1]) for one in plain]
