"""Attention in the precision of its inputs."""

from __future__ import annotations

from typing import Any

import torch
from torch.overrides import TorchFunctionMode


class PreciseSoftmax(TorchFunctionMode):
    """Softmax in its input's precision, as fused kernels do it; the eager functions of
    transformers round to float32.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func is torch.nn.functional.softmax and args[0].dtype == torch.float64:
            kwargs["dtype"] = torch.float64
        return func(*args, **kwargs)
