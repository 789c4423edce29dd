"""A model run again with its nonlinear parts frozen, and something added: what that changes.

Attention patterns, the scale of every norm and what the MLPs' neurons do are held at what they were
in a clean run. What is left of the model is affine in anything that is added to it, so the change
of a logit is exact and can be compared with what a graph says. Everything here is hooks on the
model's own modules; for the families of `tests.tiny`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal
from unittest.mock import patch

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from tests.tiny import blocks_of, final_norm_of

Place = Literal["into", "out_of", "pattern"]


@dataclass(frozen=True)
class Addition:
    """Something added to a module's input or output, or to an attention module's weights.

    Attributes:
        place: where.
        module: of which module.
        value: (T, width); of weights (n_heads, T, T).
    """

    place: Place
    module: nn.Module
    value: Tensor


Change = Sequence[Addition]


@dataclass
class Pass:
    """What a run showed of every module, shapes (B, T, …).

    Attributes:
        into, out_of: the first input and the (first) output of each module.
        patterns: (B, n_heads, T, T) the weights of each attention module.
        values: (B, n_heads, T, d_value) what they weigh, shared values repeated.
    """

    into: dict[nn.Module, Tensor] = field(default_factory=dict)
    out_of: dict[nn.Module, Tensor] = field(default_factory=dict)
    patterns: dict[nn.Module, Tensor] = field(default_factory=dict)
    values: dict[nn.Module, Tensor] = field(default_factory=dict)


class Frozen:
    """A clean run of a model on a prompt, and runs with that run's nonlinear parts.

    Args:
        model: one of `tests.tiny`, with eager attention.
        ids: the prompt.

    Attributes:
        clean: what the clean run showed; B is 1.
        blocks, final_norm, head: the model's modules.
    """

    def __init__(self, model: PreTrainedModel, ids: list[int]) -> None:
        self.model, self.ids = model, ids
        self.blocks, self.final_norm = blocks_of(model), final_norm_of(model)
        self.head: nn.Module = model.get_output_embeddings()
        self.norms = [
            m for m in model.modules() if isinstance(m, nn.LayerNorm) or "Norm" in type(m).__name__
        ]
        self.clean = self._run(1, _mixed_as_usual)

    # What may be added.

    def vector(self, place: Place, module: nn.Module, position: int, vector: Tensor) -> Addition:
        """A vector at one position."""
        value = torch.zeros_like(getattr(self.clean, place)[module][0])
        value[position] = vector.detach()
        return Addition(place, module, value)

    def again(self, place: Place, module: nn.Module, position: int) -> Addition:
        """What was there at one position, once more."""
        return self.vector(place, module, position, getattr(self.clean, place)[module][0, position])

    def coordinates(self, module: nn.Module, position: int, chosen: Iterable[int]) -> Addition:
        """Some coordinates of a module's input at one position, once more."""
        kept, seen = list(chosen), self.clean.into[module][0, position]
        only = torch.zeros_like(seen)
        only[kept] = seen[kept]
        return self.vector("into", module, position, only)

    def weights(self, layer: int, position: int, pairs: Iterable[tuple[int, int]]) -> Addition:
        """The attention weights of some (head, source) at one position, once more."""
        module = self.blocks[layer].attention
        value = torch.zeros_like(self.clean.patterns[module][0])
        for head, source in pairs:
            value[head, position, source] = self.clean.patterns[module][0, head, position, source]
        return Addition("pattern", module, value)

    # What comes of it.

    def run(self, changes: Sequence[Change], hold_attention: bool) -> Pass:
        """One run for each change, all in one batch.

        Args:
            changes: what is added in each run.
            hold_attention: whether the values that attention weighs are held as well, so that
                nothing but the stream itself carries a change on.
        """
        added: dict[tuple[str, nn.Module], Tensor] = {}
        for n, change in enumerate(changes):
            for addition in change:
                key = (addition.place, addition.module)
                if key not in added:
                    added[key] = addition.value.new_zeros(len(changes), *addition.value.shape)
                added[key][n] += addition.value

        def mixed(module: nn.Module, _: Tensor, values: Tensor, seen: Pass) -> Tensor:
            pattern = self.clean.patterns[module].expand(len(changes), -1, -1, -1)
            pattern = pattern + added.get(("pattern", module), torch.zeros_like(pattern))
            if hold_attention:
                values = self.clean.values[module].expand_as(values)
            seen.patterns[module], seen.values[module] = pattern, values
            return pattern @ values

        with ExitStack() as stack:
            for norm in self.norms:
                stack.enter_context(_hooked(norm, after=self._frozen_norm(norm)))
            for block in self.blocks:
                held = self.clean.into[block.down]
                stack.enter_context(_hooked(block.down, before=lambda x, held=held: held + 0 * x))
            for (place, module), value in added.items():
                if place == "into":
                    stack.enter_context(_hooked(module, before=lambda x, v=value: x + v))
                elif place == "out_of":
                    stack.enter_context(_hooked(module, after=lambda _, y, v=value: y + v))
            return self._run(len(changes), mixed)

    def logits(self, seen: Pass) -> Tensor:
        """(B, T, n_vocab) before any softcap."""
        return seen.out_of[self.head]

    def changed(self, seen: Pass, place: Literal["into", "out_of"], module: nn.Module) -> Tensor:
        """(B, T, width) by how much a run differs from the clean one."""
        return getattr(seen, place)[module] - getattr(self.clean, place)[module]

    def _frozen_norm(self, norm: nn.Module) -> Callable[[Tensor, Tensor], Tensor]:
        """y₀ + r ⊙ c(x − x₀), with r read off what the norm did to x₀ in the clean run."""
        before, after = self.clean.into[norm], self.clean.out_of[norm]
        bias = getattr(norm, "bias", None)
        linear = after if bias is None else after - bias.detach()
        ratio = linear / self._centred(norm, before)

        def frozen(x: Tensor, _: Tensor) -> Tensor:
            return after + ratio * self._centred(norm, x - before)

        return frozen

    @staticmethod
    def _centred(norm: nn.Module, x: Tensor) -> Tensor:
        return x - x.mean(-1, keepdim=True) if isinstance(norm, nn.LayerNorm) else x

    def _run(self, batch: int, mixed: Callable[..., Tensor]) -> Pass:
        seen = Pass()
        python = sys.modules[type(self.blocks[0].attention).__module__]
        usual = python.eager_attention_forward

        def attend(
            module: nn.Module, q: Tensor, k: Tensor, v: Tensor, *args: Any, **kwargs: Any
        ) -> tuple[Tensor, Tensor]:
            _, weights = usual(module, q, k, v, *args, **kwargs)
            values = v.repeat_interleave(q.shape[1] // v.shape[1], 1)
            return mixed(module, weights, values, seen).transpose(1, 2).contiguous(), weights

        with ExitStack() as stack:
            # Last, so that what other hooks changed is what is seen.
            for module in self.model.modules():
                stack.enter_context(_noting(module, seen))
            stack.enter_context(patch.object(python, "eager_attention_forward", attend))
            stack.enter_context(torch.no_grad())
            self.model(torch.tensor([self.ids] * batch), use_cache=False)
        return seen


def _mixed_as_usual(module: nn.Module, weights: Tensor, values: Tensor, seen: Pass) -> Tensor:
    seen.patterns[module], seen.values[module] = weights.detach(), values.detach()
    return weights @ values


@contextmanager
def _hooked(
    module: nn.Module,
    before: Callable[[Tensor], Tensor] | None = None,
    after: Callable[[Tensor, Tensor], Tensor] | None = None,
) -> Iterator[None]:
    """`before` maps a module's first input, `after` its first input and output to its output."""

    def pre(_: nn.Module, args: Any, kwargs: dict[str, Any]) -> Any:
        assert before is not None
        if args:
            return (before(args[0]), *args[1:]), kwargs
        return args, {**kwargs, "hidden_states": before(kwargs["hidden_states"])}

    def post(_: nn.Module, args: Any, kwargs: dict[str, Any], output: Any) -> Any:
        assert after is not None
        entered = args[0] if args else kwargs["hidden_states"]
        if isinstance(output, tuple):
            return (after(entered, output[0]), *output[1:])
        return after(entered, output)

    handles = []
    if before is not None:
        handles.append(module.register_forward_pre_hook(pre, with_kwargs=True))
    if after is not None:
        handles.append(module.register_forward_hook(post, with_kwargs=True))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def _noting(module: nn.Module, seen: Pass) -> Iterator[None]:
    def note(_: nn.Module, args: Any, kwargs: dict[str, Any], output: Any) -> None:
        entered = args[0] if args else kwargs.get("hidden_states")
        left = output[0] if isinstance(output, tuple) else output
        if isinstance(entered, Tensor):
            seen.into[module] = entered.detach()
        if isinstance(left, Tensor):
            seen.out_of[module] = left.detach()

    handle = module.register_forward_hook(note, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()
