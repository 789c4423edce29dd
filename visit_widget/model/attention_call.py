"""What a model's attention is asked, and with what it is re-run."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from .errors import UnsupportedModelError
from .exclusive import MODEL_LOCK
from .loaded import eval_mode

# Called like the `eager_attention_forward` of transformers.
Attend = Callable[..., tuple[Tensor, Tensor | None]]


def own_function(module: nn.Module, name: str) -> Attend:
    """The function of this name (`eager_attention_forward`) beside the class that defines the
    module.

    Raises:
        UnsupportedModelError: there is none.
    """
    for cls in type(module).__mro__:
        function = getattr(sys.modules.get(cls.__module__), name, None)
        if function is not None:
            return function  # type: ignore[no-any-return]
    raise UnsupportedModelError(
        f"{type(module).__name__} has no {name} beside it, so its attention cannot be re-run for "
        "one query. "
        "Open an issue with the model's name."
    )


def own_attention(module: nn.Module, *given: Any, **options: Any) -> tuple[Tensor, Tensor | None]:
    """The module's own `eager_attention_forward`, looked up when it is called, in eval mode: some
    drop out with a module of their own.

    Raises:
        UnsupportedModelError: there is none.
    """
    function = own_function(module, "eager_attention_forward")
    with MODEL_LOCK, eval_mode(module):
        return function(module, *given, **options)


@dataclass
class AttentionCall:
    """What one attention module asked of the attention function.

    Attributes:
        module: the attention module.
        query: (1, n_heads, T, d_head), after rotary embedding and q/k norm.
        key: (1, n_kv_heads, T, d_head), likewise.
        value: (1, n_kv_heads, T, d_value).
        mask: what was added to or selected from the scores; None for plain causal attention.
        scaling: factor on the scores; None where the module leaves it to the function (1/√d_head).
        options: everything else that was passed (softcap, sinks, sliding window, …).
        output: (1, T, n_heads, d_value), the mixed values before the output projection.
        weights: (1, n_heads, T, T) where the implementation gives them (eager does), else None.
        attend: what the same attention is re-run with for a few rows, given (module, query, key,
            value, mask, scaling=, dropout=, **options) as above.
    """

    module: nn.Module
    query: Tensor
    key: Tensor
    value: Tensor
    mask: Tensor | None
    scaling: float | None
    options: dict[str, Any]
    output: Tensor
    weights: Tensor | None
    attend: Attend = own_attention


# What it returns, if a tensor, goes on in the place of the output.
Listener = Callable[[AttentionCall], Any]


# Called with (module, query, key), before they attend.
Before = Callable[[nn.Module, Tensor, Tensor], None]
