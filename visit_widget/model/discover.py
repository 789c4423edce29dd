"""Finding a model's anatomy from the numbers of one short pass."""

from __future__ import annotations

import weakref

import torch
from torch import nn
from transformers import PreTrainedModel

from .anatomy import Anatomy
from .attention import hear_by_operations
from .attention_call import AttentionCall
from .blocks import understand
from .eager import check_like_eager
from .errors import UnsupportedModelError
from .exclusive import exclusive, is_door
from .find import called, refuse, same
from .loaded import check_weights, modules_of, unwrapped
from .tail import TailReader
from .watch import Watched, input_device, vocabulary_of, watch

_known: weakref.WeakKeyDictionary[PreTrainedModel, tuple[tuple[object, ...], Anatomy]] = (
    weakref.WeakKeyDictionary()
)


def anatomy_of(model: PreTrainedModel) -> Anatomy:
    """The anatomy of a model, found once and found anew when its modules have changed (an
    adapter or a hook was added, say).

    Raises:
        UnsupportedModelError: a part was not found or the parts do not add up.
    """
    model = unwrapped(model)
    with exclusive(model):
        modules = _modules_now(model)
        known = _known.get(model)
        if known is None or known[0] != modules:
            known = modules, discover(model)
            _known[model] = known
        return known[1]


def _modules_now(model: PreTrainedModel) -> tuple[object, ...]:
    """What an anatomy was found in: the modules, and the hooks that may be part of what they
    compute.
    """
    now: list[object] = [model.config._attn_implementation]
    for module in modules_of(model):
        now.append(id(module))
        if module._forward_hooks or module._forward_pre_hooks:
            before = module._forward_pre_hooks.items()
            now += (*module._forward_hooks, *(key for key, hook in before if not is_door(hook)))
    return tuple(now)


def discover(model: PreTrainedModel) -> Anatomy:
    """Watch a short pass of the model and say which module is what.

    Raises:
        UnsupportedModelError: naming the part that was not found.
    """
    with exclusive(model):
        return _discover(model)


def _discover(model: PreTrainedModel) -> Anatomy:
    check_weights(model)
    n_vocab = vocabulary_of(model)
    ids = torch.tensor([[n_vocab // n for n in (3, 2, 5, 7, 4, 6)]], device="cpu") % n_vocab
    seen = watch(model, ids.to(input_device(model)))
    if not seen.attention:
        hear_by_operations(model)
        seen = watch(model, ids.to(input_device(model)))
    if not seen.attention:
        raise UnsupportedModelError(
            f"No layer of {type(model).__name__} mixes tokens by attention in a way that can be "
            "heard. Recurrent and state-space models are not supported: trace a model with "
            "attention layers."
        )
    check_like_eager(seen.attention, model.config._attn_implementation or "eager")
    blocks = _blocks(model, seen)
    whole = called(seen, model, "the model")
    last = called(seen, blocks[-1], "the last block")
    tail = TailReader(model, seen, whole, last, ids)
    if not tail.is_causal():
        raise UnsupportedModelError(
            f"{type(model).__name__} looks at later tokens (it is an encoder): load a causal "
            "language model, or set is_decoder=True in its config if it was trained as one. (If it "
            "is quantised, activations are rounded across tokens: load it with weight-only "
            "quantisation. If a hook of yours adds noise, take it off.)"
        )
    parts, notes = understand(model, blocks, seen)
    _check_order(seen, blocks, model)
    end = tail.read()
    assert tail.head is not None
    return Anatomy(
        blocks=parts,
        final_norm=end.final_norm,
        unembedding=end.unembedding,
        d_model=last.output.shape[-1],
        n_vocab=tail.head.output.shape[-1],
        head_scale=end.head_scale,
        logit_scale=end.logit_scale,
        softcap=end.softcap,
        notes=notes,
    )


def _blocks(model: PreTrainedModel, seen: Watched) -> list[nn.Module]:
    """The called elements of the module list that holds the attention modules."""
    names = {module: name for name, module in model.named_modules()}
    first: AttentionCall = seen.attention[0]
    path = names.get(first.module, "").split(".")
    for length in range(1, len(path)):
        parent = model.get_submodule(".".join(path[:length]))
        if isinstance(parent, nn.ModuleList):
            break
    else:
        raise refuse(
            f"The blocks of {type(model).__name__} were not found: its attention is in no "
            "ModuleList."
        )
    inside = {module for block in parent for module in block.modules()}
    stray = next((call for call in seen.attention if call.module not in inside), None)
    if stray is not None:
        raise refuse(
            f"{type(model).__name__} attends outside its blocks, in "
            f"{names.get(stray.module, type(stray.module).__name__)}."
        )
    order = [c.module for c in seen.calls if c.module in set(parent)]
    if len(order) != len(set(order)):
        raise refuse(
            f"{type(model).__name__} runs its blocks more than once in a pass; each is understood "
            "as one layer."
        )
    return order


def _check_order(seen: Watched, blocks: list[nn.Module], model: PreTrainedModel) -> None:
    """Each block reads what the one before it gave."""
    for index in range(1, len(blocks)):
        before = called(seen, blocks[index - 1], f"block {index - 1}").output
        after = called(seen, blocks[index], f"block {index}").input
        if not same(before, after):
            raise refuse(
                f"Between blocks {index - 1} and {index} {type(model).__name__} does something to "
                "the stream that was not understood."
            )
