"""Listening to a model's attention, through the attention interface of `transformers`.

`transformers` lets one register an attention function by name and switch a model to it. `listening`
switches a model
to a function that hands (module, query, key, value, mask, scaling) to a listener and then calls the
implementation
that the model would have used. On the way out the model is exactly as it was, whatever happened
inside.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from transformers import AttentionInterface, PreTrainedModel
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, AttentionMaskInterface
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from .errors import UnsupportedModelError

# One model, one hook, one listener at a time: a widget's handlers may run on any thread while a
# cell is running.
MODEL_LOCK = threading.RLock()

_PREFIX = "visit_widget_"
_listeners: list[Listener] = []


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


Listener = Callable[[AttentionCall], None]


def own_function(module: nn.Module, name: str) -> Callable[..., tuple[Tensor, Tensor | None]]:
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


def _register(implementation: str) -> str:
    """Register the listening twin of an attention implementation, once; returns its name."""
    name = _PREFIX + implementation.replace("|", "_").replace("/", "_")
    if name in ALL_ATTENTION_FUNCTIONS:
        return name

    def listen_then_attend(
        module: nn.Module,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attention_mask: Any,
        **options: Any,
    ) -> tuple[Tensor, Tensor | None]:
        if implementation == "eager":
            attend = own_function(module, "eager_attention_forward")
        else:
            attend = ALL_ATTENTION_FUNCTIONS[implementation]
        result: tuple[Tensor, Tensor | None] = attend(
            module, query, key, value, attention_mask, **options
        )
        if _listeners:
            rest = {k: v for k, v in options.items() if k not in ("scaling", "dropout")}
            scaling = options.get("scaling")
            given = (module, query, key, value, attention_mask, scaling, rest)
            _listeners[-1](AttentionCall(*given, *result))
        return result

    AttentionInterface.register(name, listen_then_attend)
    if implementation in ALL_MASK_ATTENTION_FUNCTIONS:
        AttentionMaskInterface.register(name, ALL_MASK_ATTENTION_FUNCTIONS[implementation])
    return name


def _configs(model: PreTrainedModel) -> list[Any]:
    """Every config object in the model on which an attention implementation is set."""
    found: dict[int, Any] = {}
    todo: list[Any] = [m.config for m in model.modules() if isinstance(m, PreTrainedModel)]
    while todo:
        config = todo.pop()
        if config is None or id(config) in found:
            continue
        found[id(config)] = config
        todo += [getattr(config, key, None) for key in getattr(config, "sub_configs", {})]
    return list(found.values())


@contextmanager
def listening(
    model: PreTrainedModel,
    listener: Listener,
    within: nn.Module | None = None,
    implementation: str | None = None,
) -> Iterator[None]:
    """Within the block, `listener` hears every attention call of the model, which is in eval mode.

    Args:
        model: the model to listen to.
        listener: called after each attention call.
        within: one attention module, when only that is going to be run.
        implementation: the attention implementation to run; the model's current one by default.

    Raises:
        UnsupportedModelError: the model does not go through the attention interface.
    """
    config = getattr(within, "config", None)
    if config is None or not hasattr(config, "_attn_implementation_internal"):
        within, config = None, model.config
    with MODEL_LOCK:
        configs = [config] if within is not None else _configs(model)
        before = [(c, getattr(c, "_attn_implementation_internal", None)) for c in configs]
        training = [m for m in (within or model).modules() if m.training]
        name = _register(implementation or config._attn_implementation or "eager")
        _listeners.append(listener)
        try:
            for module in training:
                module.training = False
            if within is not None:
                config._attn_implementation_internal = name
            else:
                model.set_attn_implementation(name)
            if config._attn_implementation != name:
                raise UnsupportedModelError(
                    f"{type(model).__name__} does not use the attention interface of transformers, "
                    "so its attention cannot be heard. Families with their own attention code are "
                    "not supported yet."
                )
            yield
        finally:
            _listeners.pop()
            for changed, was in before:
                changed._attn_implementation_internal = was
            for module in training:
                module.training = True
