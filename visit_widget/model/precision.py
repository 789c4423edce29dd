"""The dtype of careful arithmetic: float64 where the device has it, as Apple's GPU has not."""

from __future__ import annotations

import torch
from torch import Tensor


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


def noise(*shape: int, seed: int, device: torch.device | str = "cpu") -> Tensor:
    """Standard normal numbers that are the same everywhere: made on the CPU, in float32."""
    generator = torch.Generator("cpu").manual_seed(seed)
    made = torch.randn(*shape, generator=generator, dtype=torch.float32, device="cpu")
    return made.to(device)
