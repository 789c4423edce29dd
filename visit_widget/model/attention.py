"""Listening to a model's attention, through the attention interface of `transformers` where it goes
through that, else by its operations (`operations.py`).

`transformers` looks attention functions up by name. `listening` puts a function in the place of the
model's that hands (module, query, key, value, mask, scaling) to a listener and calls the one that
it stands for. On the way out everything is as it was, whatever happened inside.
"""

from __future__ import annotations

import math
import sys
import weakref
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, PreTrainedModel
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, AttentionMaskInterface
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from .attention_call import Attend, AttentionCall, Before, Listener, own_attention
from .exclusive import exclusive
from .loaded import eval_mode
from .operations import overhearing

_listeners: list[_Hearing] = []
# Models that say they go through the attention interface, and do not.
_mute: weakref.WeakSet[nn.Module] = weakref.WeakSet()
# The tables of attention functions that a module's classes look them up in.
_tables: weakref.WeakKeyDictionary[nn.Module, list[AttentionInterface]] = (
    weakref.WeakKeyDictionary()
)


def is_transformers_own(name: str) -> bool:
    """Whether a name stands for an attention function of transformers, not one that was registered
    in its place.
    """
    function = ALL_ATTENTION_FUNCTIONS.get(name)
    return function is None or function.__module__.startswith("transformers.")


def scaling_of(call: AttentionCall) -> float | None:
    """The factor on the scores: what the attention function was given, else what it makes of one
    query and two keys.
    """
    if call.scaling is not None:
        return call.scaling
    width, n_kv_heads = call.query.shape[-1], call.key.shape[1]
    wide = torch.promote_types(call.query.dtype, torch.float32)
    query = torch.ones_like(call.query[:, :, :1], dtype=wide)
    key = query.new_zeros(1, n_kv_heads, 2, width)
    key[:, :, 1] = 1 / math.sqrt(width)  # the scores are 0 and √d_head times the factor
    value = query.new_zeros(1, n_kv_heads, 2, call.value.shape[-1])
    _, weights = call.attend(
        call.module, query, key, value, None, scaling=None, dropout=0.0, **call.options
    )
    if weights is None:
        return None
    return float(weights[0, :, 0].log().diff(dim=-1).mean()) / math.sqrt(width)


@dataclass
class _Hearing:
    listener: Listener
    before: Before | None
    modules: Collection[nn.Module]


def _listener_for(attend: Attend) -> Attend:
    """An attention function that calls another and tells the listener of the moment."""

    def listen_then_attend(
        module: nn.Module,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attention_mask: Any,
        **options: Any,
    ) -> tuple[Tensor, Tensor | None]:
        hearing = _listeners[-1] if _listeners else None
        if hearing is not None and module not in hearing.modules:
            hearing = None
        if hearing is not None and hearing.before is not None:
            hearing.before(module, query, key)
        result = attend(module, query, key, value, attention_mask, **options)
        if hearing is not None:
            rest = {k: v for k, v in options.items() if k not in ("scaling", "dropout")}
            mask = _as_wide(attention_mask, key)
            given = (module, query, key, value, mask, options.get("scaling"), rest)
            instead = hearing.listener(AttentionCall(*given, *result))
            if instead is not None:
                return instead, result[1]
        return result

    return listen_then_attend


def _as_wide(mask: Any, key: Tensor) -> Any:
    """A mask without the columns that no key is for: some models make it wider than it is used."""
    wider = isinstance(mask, Tensor) and mask.shape[-1] > key.shape[-2]
    return mask[..., : key.shape[-2]] if wider else mask


def _put(stack: ExitStack, name: str, owner: nn.Module) -> None:
    """Put a listening function in the place of a registered one until the stack is left.

    The name stays: some models do one thing or another by the name of their implementation.
    """
    if owner not in _tables:
        files = {type(module).__module__ for module in owner.modules()}
        known = (getattr(sys.modules.get(file), "ALL_ATTENTION_FUNCTIONS", None) for file in files)
        # Most models share one table, some have their own.
        found = {id(t): t for t in (ALL_ATTENTION_FUNCTIONS, *known) if t is not None}
        _tables[owner] = list(found.values())
    for table in _tables[owner]:
        was = table.get(name)
        table[name] = _listener_for(own_attention if was is None else was)
        stack.callback(_put_back, table, name, was)


def _put_back(table: AttentionInterface, name: str, was: Attend | None) -> None:
    del table[name]
    if was is not None and table.get(name) is not was:
        table[name] = was


def _register_twin() -> str:
    """Register a listening twin of eager attention, once, for versions of transformers that do not
    look eager attention up by its name; returns the twin's name.
    """
    name = "visit_widget_eager"
    if name not in ALL_ATTENTION_FUNCTIONS:
        AttentionInterface.register(name, _listener_for(own_attention))
        AttentionMaskInterface.register(name, ALL_MASK_ATTENTION_FUNCTIONS["eager"])
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


def has_interface(model: nn.Module) -> bool:
    """Whether a model goes through the attention interface, as far as its class says."""
    if model in _mute:
        return False
    told = getattr(model, "_can_set_attn_implementation", None)
    return told is None or bool(told())


def hear_by_operations(model: nn.Module) -> None:
    """From now on, listen to this model's operations rather than to the attention interface."""
    _mute.add(model)


@contextmanager
def listening(
    model: PreTrainedModel,
    listener: Listener,
    within: nn.Module | None = None,
    implementation: str | None = None,
    before: Before | None = None,
    modules: Collection[nn.Module] | None = None,
) -> Iterator[None]:
    """Within the block, `listener` hears every attention call of the model, which is in eval mode.

    Args:
        model: the model to listen to.
        listener: called after each attention call; a tensor that it returns takes the place of the
            call's output (where the model goes through the attention interface).
        within: one attention module, when only that is going to be run.
        implementation: the attention implementation to run; the model's current one by default, and
            always where the model does not go through the attention interface.
        before: called with (module, query, key) before each attention call; it may raise to end the
            pass.
        modules: the attention modules to hear; all by default.
    """
    if modules is None and within is not None:
        modules = [within]
    with exclusive(model), eval_mode(within or model), ExitStack() as stack:
        if not _switch(stack, model, within, implementation):
            stack.enter_context(overhearing(model, listener, modules, before))
        else:
            heard = set(model.modules() if modules is None else modules)
            _listeners.append(_Hearing(listener, before, heard))
            stack.callback(_listeners.pop)
        yield


def _switch(
    stack: ExitStack, model: PreTrainedModel, within: nn.Module | None, implementation: str | None
) -> bool:
    """Switch a model to the listening twin of its implementation until the stack is left.

    Returns:
        Whether it can be: else it does not go through the attention interface.
    """
    if not has_interface(model):
        return False
    config = getattr(within, "config", None)
    if config is None or not hasattr(config, "_attn_implementation_internal"):
        config = model.config
    current = config._attn_implementation or "eager"
    name = wanted = implementation or current
    if wanted != "eager" or hasattr(ALL_ATTENTION_FUNCTIONS, "get_interface"):
        _put(stack, wanted, within or model)
    else:
        name = _register_twin()
    if name != current:
        for changed in _configs(model):
            was = getattr(changed, "_attn_implementation_internal", None)
            stack.callback(setattr, changed, "_attn_implementation_internal", was)
        model.set_attn_implementation(name)
    return bool(config._attn_implementation in (name, None))
