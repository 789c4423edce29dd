"""Watching one short forward pass: which module was called with what, and what it gave back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from .attention import listening
from .attention_call import AttentionCall
from .errors import UnsupportedModelError
from .exclusive import exclusive
from .forward import logits_in, logits_of
from .loaded import weights_of


@dataclass
class Call:
    """One call of one module.

    Attributes:
        name: the module's dotted name in the model.
        module: the module.
        inputs: its tensor arguments, positional ones first.
        output: the (first) tensor it returned.
        given: all its arguments, as they are now.
    """

    name: str
    module: nn.Module
    inputs: list[Tensor]
    output: Tensor
    given: tuple[tuple[Any, ...], dict[str, Any]] = ((), {})

    @property
    def input(self) -> Tensor | None:
        """The first tensor argument."""
        return self.inputs[0] if self.inputs else None


@dataclass
class Watched:
    """All calls of a pass, in the order in which they ended, and the attention calls."""

    calls: list[Call]
    attention: list[AttentionCall]

    def of(self, module: nn.Module) -> Call | None:
        """The call of this very module, if it was called."""
        return next((c for c in self.calls if c.module is module), None)


def input_embedding(model: PreTrainedModel) -> nn.Module:
    """The module that embeds tokens; a prompt goes to its device.

    Raises:
        UnsupportedModelError: the model has no such module.
    """
    try:
        embedding = model.get_input_embeddings()
    except (AttributeError, NotImplementedError):
        embedding = None
    # Several tables are of several vocabularies.
    if not isinstance(embedding, nn.Module) or isinstance(embedding, nn.ModuleList):
        raise UnsupportedModelError(
            f"{type(model).__name__} does not embed its tokens by one table: models of text with "
            "one vocabulary are supported."
        )
    return embedding


def vocabulary_of(model: PreTrainedModel) -> int:
    """How many tokens the model embeds.

    Raises:
        UnsupportedModelError: that is not known.
    """
    embedding = input_embedding(model)
    weight = getattr(embedding, "weight", None)
    # A packed table has other sizes than the numbers in it.
    told = getattr(embedding, "num_embeddings", None)
    if not isinstance(told, int) and isinstance(weight, Tensor) and weight.ndim == 2:
        told = int(weight.shape[0])
    if not isinstance(told, int):
        told = getattr(model.config.get_text_config(), "vocab_size", None)
    if not isinstance(told, int):
        raise UnsupportedModelError(
            f"How many tokens {type(model).__name__} knows was not found: set "
            "model.config.vocab_size."
        )
    return told


def input_device(model: PreTrainedModel) -> torch.device:
    """Where the model wants its prompt."""
    return device_of(input_embedding(model)) or device_of(model) or torch.device("cpu")


def device_of(module: nn.Module) -> torch.device | None:
    """Where a module wants its input; None for a module without weights of its own.

    Of weights that `accelerate` has put away, where it will bring them.
    """
    for inner in module.modules():
        device = getattr(getattr(inner, "_hf_hook", None), "execution_device", None)
        if device is not None:
            return torch.device(device)
    weight = next(weights_of(module), None)
    return None if weight is None else weight.device


def first_tensor(value: Any) -> Tensor | None:
    """The value itself if it is a tensor, else the first tensor in it."""
    if isinstance(value, Tensor):
        return value
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (tuple, list)):
        return next((v for v in value if isinstance(v, Tensor)), None)
    return None


def watch(model: PreTrainedModel, input_ids: Tensor) -> Watched:
    """Run the model on input_ids of shape (1, T) and note every module call."""
    seen = Watched([], [])
    names = {module: name for name, module in model.named_modules()}

    def given_back(module: nn.Module, output: Any) -> Tensor | None:
        whole = module is model
        return logits_in(output, model, input_ids.shape[1]) if whole else first_tensor(output)

    def afresh() -> None:
        seen.calls.clear()
        seen.attention.clear()

    listener = seen.attention.append
    noted = noting(names, seen, given_back)
    with exclusive(model), noted, torch.no_grad(), listening(model, listener):
        logits_of(model, input_ids, afresh=afresh)
    return seen


def _first(_module: nn.Module, output: Any) -> Tensor | None:
    return first_tensor(output)


@contextmanager
def noting(
    names: dict[nn.Module, str],
    seen: Watched,
    given_back: Callable[[nn.Module, Any], Tensor | None] = _first,
) -> Iterator[None]:
    """Within the block, every call of the modules is noted.

    Args:
        names: of each module.
        seen: what the calls are added to.
        given_back: the tensor in what a module gave back; the first by default.
    """

    def note(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        result = given_back(module, output)
        if result is not None:
            # Copies: some models go on to write into what a module gave them.
            inputs = [v.clone() for v in (*args, *kwargs.values()) if isinstance(v, Tensor)]
            seen.calls.append(Call(names[module], module, inputs, result.clone(), (args, kwargs)))

    with ExitStack() as stack:
        for module in names:
            stack.callback(module.register_forward_hook(note, with_kwargs=True).remove)
        yield
