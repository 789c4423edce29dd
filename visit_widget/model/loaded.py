"""What stands around a model's own modules: wrappers (`peft`, `torch.compile`, data parallelism),
compiled code, and weights that `accelerate` has put away on a disk.

A trace runs the model's own code eagerly, on the weights as they are used, and leaves all of it as
it was.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from .errors import UnsupportedModelError, VisitError
from .given import check_language_model, not_a_model
from .sharded import check_sharding, held_whole, whole


def unwrapped(model: Any) -> PreTrainedModel:
    """The model of transformers inside `peft`, `torch.compile` and data parallel wrappers.

    Adapters that `peft` puts into the model (LoRA, DoRA, IA³, …) are modules of it, and stay.

    Raises:
        VisitError: there is none, or the wrapper changes what the model computes.
    """
    outermost = model
    while not isinstance(model, PreTrainedModel):
        prompt_learning = getattr(
            getattr(model, "active_peft_config", None), "is_prompt_learning", False
        )
        if prompt_learning:
            raise VisitError(
                "This adapter puts learned vectors before the prompt, which are no tokens, so a "
                "trace would leave them out: pass model.get_base_model() to trace the model "
                "without them."
            )
        if isinstance(model, nn.Module) and hasattr(model, "_orig_mod"):
            model = model._orig_mod  # compiled
        elif isinstance(model, nn.Module) and callable(getattr(model, "get_base_model", None)):
            model = model.get_base_model()  # type: ignore[operator]  # peft
        elif isinstance(model, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
            model = model.module
        else:
            raise not_a_model(outermost)
    return model


def check_traceable(model: PreTrainedModel) -> None:
    """Whether exact numbers can be had where the caller stands.

    Raises:
        VisitError: saying what to do first.
        UnsupportedModelError: there are no weights.
    """
    kind = next((t.device.type for t in tensors_of(model)), "cpu")
    if any(torch.is_autocast_enabled(k) for k in {"cpu", kind} - {"meta"}):
        raise VisitError(
            "Under torch.autocast the model rounds in other places than the parts that are derived "
            "from it: trace outside of the autocast block, or load the model with "
            "dtype=torch.bfloat16."
        )


def check_weights(model: PreTrainedModel) -> None:
    """Whether the model has weights that say a next token, at hand, and derivatives can be taken
    through them.

    Raises:
        UnsupportedModelError: it is another kind of model, or the weights are nowhere.
        VisitError: saying what to do first.
    """
    check_language_model(model)
    for module in model.modules():
        if _is_away(module):
            _hook_of(module)
    check_sharding(model.modules())
    if any(p.is_inference() for p in tensors_of(model)):
        raise VisitError(
            "The model's weights were made inside torch.inference_mode, so that no derivative can "
            "be taken through them: load the model outside of it. Tracing inside is fine."
        )


def coarsest_dtype(model: nn.Module, stream: torch.dtype) -> torch.dtype:
    """The dtype that rounds most among those of the stream and of what the modules compute in."""
    found = {stream}
    for module in modules_of(model):
        found.update(w.dtype for w in module._parameters.values() if w is not None)
        found.update(b.dtype for b in module._buffers.values() if b is not None and b.ndim)
        found.add(getattr(module, "compute_dtype", None) or stream)
    floating = {d for d in found if d in (torch.float16, torch.bfloat16, torch.float32, stream)}
    return max(floating, key=lambda d: torch.finfo(d).eps)


def modules_of(module: nn.Module) -> list[nn.Module]:
    """What `module.modules()` gives, in another order: several times as fast, as it is needed on
    the way of every pass.
    """
    found, known = [module], {module}
    for one in found:
        for inner in one._modules.values():
            if inner is not None and inner not in known:
                known.add(inner)
                found.append(inner)
    return found


@contextmanager
def lent(module: nn.Module, modules: Iterable[nn.Module] | None = None) -> Iterator[None]:
    """Within the block the module's own code runs, not what `torch.compile` made of it, and whole,
    if it is sharded over processes; weights that were put away before are put away after it, also
    if a run is broken off.

    Args:
        module: the module that is lent.
        modules: those in it, where they are known.
    """
    modules = modules_of(module) if modules is None else modules
    away = [m for m in modules if "_hf_hook" in m.__dict__ and _is_away(m)]
    with ExitStack() as stack:
        if "torch._dynamo" in sys.modules and hasattr(torch.compiler, "set_stance"):
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        stack.enter_context(whole(modules))
        try:
            yield
        finally:
            for inner in away:
                if not _is_away(inner):
                    _hook_of(inner).post_forward(inner, ())


@contextmanager
def eval_mode(module: nn.Module) -> Iterator[None]:
    """Within the block the module and those in it are in eval mode, and lent as above."""
    modules = modules_of(module)
    training = [m for m in modules if m.training]
    try:
        for m in training:
            m.training = False
        with lent(module, modules):
            yield
    finally:
        for m in training:
            m.training = True


@contextmanager
def weights_at_hand(module: nn.Module) -> Iterator[None]:
    """Within the block the weights of the module are where it computes.

    Raises:
        UnsupportedModelError: they are nowhere.
    """
    with lent(module):
        for inner in module.modules():
            if _is_away(inner):
                _hook_of(inner).pre_forward(inner)
        yield


@contextmanager
def brought_in(module: nn.Module) -> Iterator[None]:
    """Within the block the module runs on weights that stay where they are, also if they were put
    away before: whoever goes by where a weight lies finds it there.

    Raises:
        UnsupportedModelError: they are nowhere.
    """
    away = [m for m in module.modules() if _is_away(m)]
    with weights_at_hand(module), held_whole(module.modules()), ExitStack() as stack:
        for inner in away:
            hooked = vars(inner)["forward"]
            stack.callback(setattr, inner, "forward", hooked)
            inner.forward = vars(inner)["_old_forward"]
        yield


def _is_away(module: nn.Module) -> bool:
    """Whether a module's own weights are put away."""
    own = (*module._parameters.values(), *module._buffers.values())
    return any(t is not None and t.is_meta for t in own)


def _hook_of(module: nn.Module) -> Any:
    hook = getattr(module, "_hf_hook", None)
    if hook is None:
        raise UnsupportedModelError(
            f"The weights of a {type(module).__name__} are on the meta device and hold no numbers: "
            "load them, with from_pretrained or load_state_dict(assign=True), and trace then."
        )
    return hook


def is_changed(module: nn.Module) -> bool:
    """Whether somebody's hooks or another forward may change what the module's class computes."""
    if module._forward_hooks or module._forward_pre_hooks:
        return True
    return "forward" in vars(module) and not hasattr(module, "_hf_hook")


def weights_of(module: nn.Module, recurse: bool = True) -> Iterator[Tensor]:
    """The module's parameters, and the buffers that may be weights: packed ones are kept there."""
    yield from module.parameters(recurse)
    yield from (b for b in module.buffers(recurse) if b.ndim)


def tensors_of(module: nn.Module) -> Iterator[Tensor]:
    """The module's parameters and buffers."""
    yield from module.parameters()
    yield from module.buffers()
