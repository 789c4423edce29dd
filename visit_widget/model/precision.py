"""The dtype of careful arithmetic: float64 where the device has it, as Apple's GPU has not."""

from __future__ import annotations

import torch
from torch import Tensor

SINGLE = torch.finfo(torch.float32).eps


def widest(device: torch.device | str) -> torch.dtype:
    """float64 where the device computes in it, else float32."""
    try:
        # Asked of the device itself: what it refuses, it refuses here.
        torch.zeros(1, dtype=torch.float64, device=device).add_(1)
    except (AssertionError, NotImplementedError, RuntimeError, TypeError):
        return torch.float32
    return torch.float64


def wide(tensor: Tensor) -> Tensor:
    """The tensor's numbers in the widest dtype of its device, apart from any derivative."""
    return tensor.detach().to(widest(tensor.device))


def careful(tensor: Tensor) -> Tensor:
    """The same in the widest dtype that there is: on the CPU, where the device has no float64."""
    dtype = widest(tensor.device)
    return tensor.detach().to(dtype) if dtype == torch.float64 else wide(tensor.detach().cpu())


def resolution(tensor: Tensor) -> float:
    """The relative difference from which on two numbers differ by more than rounding.

    Not below that of float32: whatever a model's dtype, some of what it does (norms, softmax) is
    done in that. Where there is no float64 to compare them in, comparing rounds as well.
    """
    compares_in = careful(tensor.new_zeros(1)).dtype
    return max(torch.finfo(tensor.dtype).eps, SINGLE) * (1 if compares_in == torch.float64 else 16)


def noise(*shape: int, seed: int, device: torch.device | str = "cpu") -> Tensor:
    """Standard normal numbers that are the same everywhere: made on the CPU, in float32."""
    generator = torch.Generator("cpu").manual_seed(seed)
    made = torch.randn(*shape, generator=generator, dtype=torch.float32, device="cpu")
    return made.to(device)
