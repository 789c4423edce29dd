"""One model without its adapters and with them: two traces that hold side by side.

What a trace derives, it asks its model for when it is asked. So a trace of a model whose adapters
are switched off must not be asked once they are on again. Both traces here have a model of their
own instead: a twin has the same modules and the same weights, down to the memory, and switches of
its own. The model that was given is not touched.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Sequence
from typing import Any

from torch import nn
from transformers import PretrainedConfig, PreTrainedModel

from ..model import VisitError
from ..model.exclusive import exclusive
from ..model.loaded import tensors_of, unwrapped
from ..model.replica import FAILURES
from ..trace import Trace
from ..trace.inputs import Prompt
from ..trace.tracing import trace as trace_of


def adapter_pair(
    model: Any,
    tokenizer: Any,
    prompt: Prompt,
    adapters: str | Sequence[str] | None = None,
    **options: Any,
) -> tuple[Trace, Trace]:
    """The traces of one prompt without a model's adapters and with them.

        without, with_lora = vw.adapter_pair(model, tokenizer, "The capital of Japan is")
        vw.compare(without, with_lora).changed("heads")

    Args:
        model: a model with adapters of `peft` in it, or in its wrapper. It is left as it is found,
            whether they are on or off.
        tokenizer: as `visit_widget.trace`.
        prompt: likewise.
        adapters: the name of one, or of several together; those that are chosen by default.
        **options: as `visit_widget.trace`.

    Raises:
        VisitError: the model has no adapters, or they are merged into its weights, or none has such
            a name.
    """
    inner = unwrapped(model)
    layers = _layers(inner)
    if not layers:
        raise VisitError(
            "This model has no adapters that can be switched on and off: pass a peft.PeftModel, or "
            "compare the traces of two models with vw.compare(trace_a, trace_b)."
        )
    if any(getattr(layer, "merged", False) for layer in layers):
        raise VisitError(
            "The adapters are merged into the weights, which are not as they were any more: call "
            "model.unmerge_adapter() first."
        )
    names = None if adapters is None else [adapters] if isinstance(adapters, str) else [*adapters]
    if names is not None:
        known = sorted({n for layer in layers for n in _names(layer)})
        unknown = [n for n in names if n not in known]
        if unknown or not names:
            raise VisitError(f"There is no adapter {unknown[:1]}: this model has {known}.")
    made = []
    with exclusive(inner):
        for on in (False, True):
            own = _twin(inner)
            _switch(own, on, names)
            made.append(trace_of(own, tokenizer, prompt, **options))
    return made[0], made[1]


def _layers(model: PreTrainedModel) -> list[Any]:
    """The modules that hold adapters; none where `peft` was never imported."""
    if "peft" not in sys.modules:
        return []
    from peft.tuners.tuners_utils import BaseTunerLayer
    from peft.utils import ModulesToSaveWrapper

    kinds: tuple[type, ...] = (BaseTunerLayer, ModulesToSaveWrapper)
    try:
        from peft.utils.other import AuxiliaryTrainingWrapper
    except ImportError:
        pass
    else:
        kinds = (*kinds, AuxiliaryTrainingWrapper)
    return [m for m in model.modules() if isinstance(m, kinds)]


def _names(layer: Any) -> set[str]:
    found = getattr(layer, "_get_available_adapters", None)
    names: set[str] = found() if callable(found) else set()
    return names


def _twin(model: PreTrainedModel) -> PreTrainedModel:
    """Modules of its own with the same weights."""
    memo: dict[int, Any] = {id(tensor): tensor for tensor in tensors_of(model)}
    for module in model.modules():
        for value in vars(module).values():
            if isinstance(value, PretrainedConfig) or type(value).__name__ == "AlignDevicesHook":
                memo[id(value)] = value
    try:
        return copy.deepcopy(model, memo)
    except FAILURES as error:
        raise VisitError(
            f"This model cannot be had twice ({' '.join(str(error).split())[:120]}): trace it in a "
            "block of model.disable_adapter(), and compare what those traces say within it."
        ) from error


def _switch(model: PreTrainedModel, on: bool, names: Sequence[str] | None) -> None:
    # Switching freezes weights, or thaws them, and these are the given model's.
    wanted: list[tuple[nn.Parameter, bool]] = [(p, p.requires_grad) for p in model.parameters()]
    try:
        for layer in _layers(model):
            own = None if names is None else [n for n in names if n in _names(layer)]
            layer.enable_adapters(on and own != [])
            if on and own:
                layer.set_adapter(own)
    finally:
        for parameter, grad in wanted:
            parameter.requires_grad_(grad)
