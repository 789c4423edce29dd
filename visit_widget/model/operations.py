"""Overhearing attention that models compute with operations of their own.

Families older than the attention interface of `transformers` (GPT-J, BLOOM, Falcon, …) multiply
queries and keys, scale, mask and normalise in their own code. What all of them have in common is
the order of operations, so that is what is watched, whatever a family calls its parts:

    P = q kᵀ    →    S = s · P + B    →    weights = softmax(S)    →    weights · v

P is made the start of a derivative, which shows the scale s = dS/dP wherever a family hides it, and
each operation on the way to S is applied to zeros in the place of P too, which ends in B. Where S
is no such function of P (a softcap, a bias made of the text), nothing is guessed:
UnsupportedModelError.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakIdKeyDictionary

from .attention_call import AttentionCall, Before, Listener
from .errors import UnsupportedModelError
from .exclusive import exclusive
from .factors import Factors, by_head, factors_of
from .loaded import weights_of
from .scores import FAR, Masks, Scores, solve

_SDPA = nn.functional.scaled_dot_product_attention
_SOFTMAX = {nn.functional.softmax, torch.softmax, Tensor.softmax, torch.special.softmax}
_LINEAR = {nn.functional.linear, torch.addmm, Tensor.addmm, torch.einsum, torch.tensordot}
# Of these the first argument alone, or none, has a say in the values of the result.
_RESHAPED = {Tensor.to, Tensor.type_as, Tensor.expand_as, Tensor.view_as, Tensor.reshape_as}
_FRESH = {
    torch.zeros_like, torch.ones_like, torch.full_like, torch.empty_like, Tensor.new_zeros,
    Tensor.new_ones, Tensor.new_full, Tensor.new_empty, Tensor.new_tensor,
}  # fmt: skip
_ELSEWHERE = "looks at something else than the positions of the prompt"


def plain_attention(
    _module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    **_: Any,
) -> tuple[Tensor, Tensor]:
    """softmax(q kᵀ · scaling + mask) v, in the precision of its inputs, called like the
    `eager_attention_forward` of a family.

    Args:
        query: (1, n_heads, R, d_head).
        key: (1, n_kv_heads, T, d_head); heads that share a key are neighbours.
        value: (1, n_kv_heads, T, d_value).
        attention_mask: added to the scores: (1, 1 or n_heads, R, T).
        scaling: factor on the scores; 1/√d_head by default.

    Returns:
        (1, R, n_heads, d_value) the mixed values and (1, n_heads, R, T) the weights.
    """
    n_heads = query.shape[1]
    key = key.repeat_interleave(n_heads // key.shape[1], 1)
    value = value.repeat_interleave(n_heads // value.shape[1], 1)
    scores = query @ key.mT * (query.shape[-1] ** -0.5 if scaling is None else scaling)
    if attention_mask is not None:
        scores = scores + attention_mask
    weights = scores.softmax(-1)
    return (weights.to(value.dtype) @ value).transpose(1, 2), weights


@contextmanager
def overhearing(
    model: nn.Module,
    listener: Listener,
    modules: Collection[nn.Module] | None = None,
    before: Before | None = None,
) -> Iterator[None]:
    """Within the block, `listener` hears every attention that the model's own operations compute.

    Args:
        model: the model, in eval mode; a prompt is run on its own, without a cache.
        listener: called when the values of one attention have been mixed. `module` of a call is the
            innermost module with parameters that was running at the softmax.
        modules: the modules to watch; every one with parameters by default.
        before: called with (module, query, key) before a product of the two, attention or not, with
            whatever graph they are part of. It may raise to end the pass.

    Raises:
        UnsupportedModelError: from the pass, for attention that is no softmax of s·q·k + mask.
    """
    watched = [m for m in model.modules() if any(True for _ in weights_of(m))]
    grad = torch.is_grad_enabled()
    with exclusive(model), ExitStack() as stack:
        mode = _Overhearing(listener, before)
        for module in watched if modules is None else modules:
            stack.callback(module.register_forward_pre_hook(mode.enter_module).remove)
            stack.callback(module.register_forward_hook(mode.leave_module).remove)
        # Derivatives are taken on the way, which tensors made in inference mode cannot be part of.
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.set_grad_enabled(grad))
        stack.callback(mode.forget)
        stack.enter_context(mode)
        yield


@dataclass
class _Weights:
    """What a softmax made of scores.

    Attributes:
        weights: a copy, in the shape that the softmax gave.
        module: what was running.
        scores: query, key, mask and scaling; None once the values are mixed.
        problem: as of the scores.
    """

    weights: Tensor
    module: nn.Module
    scores: tuple[Tensor, Tensor, Tensor | None, float] | None
    problem: str | None


class _Overhearing(TorchFunctionMode):
    def __init__(self, listener: Listener, before: Before | None) -> None:
        super().__init__()
        self.listener, self.before = listener, before
        self.running: list[nn.Module] = []
        self.forget()

    def forget(self) -> None:
        """Let go of every tensor."""
        # Tensors as keys are held weakly: what the model has dropped is not kept alive here.
        self.scores: Any = WeakIdKeyDictionary()
        self.weights: Any = WeakIdKeyDictionary()
        self.textual: Any = WeakIdKeyDictionary()  # what depends on the text
        self.masks = Masks()

    def enter_module(self, module: nn.Module, _args: Any) -> None:
        self.running.append(module)

    def leave_module(self, module: nn.Module, _args: Any, output: Any) -> Any:
        while self.running and self.running.pop() is not module:
            pass
        # Scores that were none after all: nobody asked for their derivatives.
        scores = self.scores.get(output) if isinstance(output, Tensor) else None
        return output.detach() if scores is not None and scores.own else None

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if not self.running:
            return func(*args, **kwargs)
        if func is _SDPA:
            return self._fused(*args, **kwargs)
        if func in _SOFTMAX and self._known(args[0] if args else kwargs["input"]) is not None:
            return self._normalise(func, args, kwargs)
        factors = factors_of(func, args, kwargs, self.weights.__contains__)
        if factors is None:
            return self._follow(func, args, kwargs)
        if any(f in self.weights for f in factors.given):
            return self._mix(factors, func, args, kwargs)
        # An outer product (the angles of rotary embedding) makes no scores.
        if factors.left.shape[-1] > 1 and not any(
            self._known(f) is not None or _is_parameter(f) for f in factors.given
        ):
            return self._multiply(factors, func, args, kwargs)
        return self._follow(func, args, kwargs, product=True)

    def _multiply(self, factors: Factors, func: Any, args: Any, kwargs: Any) -> Tensor:
        """A product that may turn out to be the one of queries and keys."""
        left, right, problem = factors.left, factors.right, None
        lead = torch.broadcast_shapes(left.shape[:-2], right.shape[:-2])
        query = by_head(left.expand(*lead, *left.shape[-2:]), lead)
        key = by_head(right.mT, lead)
        if query.shape[2] != key.shape[2]:
            problem = _ELSEWHERE
        elif self.before is not None:
            self.before(self.running[-1], query, key)
        result: Tensor = func(*args, **kwargs)
        leaf, own = result, not result.requires_grad and problem is None
        bias = torch.zeros_like(leaf, requires_grad=False)
        if factors.offset is not None:
            bias += factors.offset.detach()
        with torch.enable_grad() if own else nullcontext():
            # What the model goes on with is a copy, which it may change in place.
            result = (leaf.requires_grad_() if own else leaf).clone()
        self.scores[result] = Scores(
            self.running[-1], query, key, leaf, factors.alpha, factors.offset, own, bias, problem
        )
        if any(f in self.textual for f in factors.given):
            self.textual[result] = True
        return result

    def _known(self, tensor: Tensor) -> Scores | None:
        """What the tensor is of scores, while the module runs that multiplied them."""
        scores: Scores | None = self.scores.get(tensor)
        return scores if scores is not None and scores.module in self.running else None

    def _follow(self, func: Any, args: Any, kwargs: Any, product: bool = False) -> Any:
        """Any other operation: what it gives comes from what it was given."""
        given = [] if func in _FRESH else _tensors(args, kwargs)
        given = given[:1] if func in _RESHAPED else given
        product = product or func in _LINEAR
        scores = [s for s in map(self._known, given) if s is not None and not product]
        weights = next((self.weights[t] for t in given if t in self.weights), None)
        text = [t for t in given if t in self.textual]
        textual = bool(text) or (product and any(map(_is_parameter, given)))
        own = bool(scores) and all(s.own for s in scores)
        with torch.enable_grad() if own else nullcontext():
            result = func(*args, **kwargs)
        made = _tensors(args[:1] if result is None else (result,), {})
        if scores:
            known = scores[0]
            size = max((t.numel() for t in made), default=0) - known.leaf.numel()
            if size > 0:
                known = replace(known, problem="adds columns to its scores")
            elif any(s.leaf is not known.leaf for s in scores) or any(
                self._known(t) is None for t in text
            ):
                known = replace(
                    known, problem=known.problem or "adds to its scores what depends on the text"
                )
            at_zero = [known.bias] * len(made)
            if known.problem is None:
                at_zero = self._at_zero(func, args, kwargs, result)
            for tensor, bias in zip(made, at_zero, strict=True):
                if tensor.is_floating_point() and tensor.numel() >= known.leaf.numel():
                    self.scores[tensor] = replace(known, bias=bias)
            if own and size < 0 and isinstance(result, Tensor):
                made = [result := result.detach()]
        for tensor in made:
            if textual and tensor.is_floating_point():
                self.textual[tensor] = True
            # A part of them is of interest only to say what is wrong with it.
            if weights is not None and (
                weights.problem is not None or tensor.numel() == weights.weights.numel()
            ):
                self.weights[tensor] = weights
        return result

    def _at_zero(self, func: Any, args: Any, kwargs: Any, result: Any) -> list[Tensor]:
        """What the operation makes of the scores if all products of queries and keys are zero."""

        def swap(value: Any) -> Any:
            if isinstance(value, (list, tuple)):
                return type(value)(map(swap, value))
            known = self._known(value) if isinstance(value, Tensor) else None
            return value if known is None else known.bias

        changed = args and (result is None or result is args[0])
        into = args[0].clone() if changed and self._known(args[0]) is None else None
        args, kwargs = [swap(a) for a in args], {k: swap(v) for k, v in kwargs.items()}
        if into is not None:
            args[0] = into
        with torch.no_grad():
            made = func(*args, **kwargs)
        return _tensors(args[:1] if made is None else (made,), {})

    def _normalise(self, func: Any, args: Any, kwargs: Any) -> Tensor:
        """The softmax of scores."""
        values = [*args, *(kwargs.pop(name) for name in ("input", "dim") if name in kwargs)]
        sums = values[0]
        scores: Scores = self.scores[sums]
        given = sums.detach() if scores.own else sums
        weights: Tensor = func(given, *values[1:], **kwargs)
        if len(values) < 2 or values[1] not in (-1, sums.ndim - 1):
            return weights
        solved, problem, module = None, scores.problem, self.running[-1]
        if problem is None:
            found = solve(scores, sums, weights)
            if found is None:
                problem = "does more with its scores than to scale them and add to them"
            else:
                scaling, bias, hidden = found
                solved = (scores.query, scores.key, self.masks.of(module, bias, hidden), scaling)
        self.weights[weights] = _Weights(weights.detach().clone(), module, solved, problem)
        return weights

    def _mix(self, factors: Factors, func: Any, args: Any, kwargs: Any) -> Tensor:
        """The product of weights and values."""
        result: Tensor = func(*args, **kwargs)
        self.textual[result] = True
        left = factors.left.detach()
        held: _Weights | None = self.weights.get(factors.given[0])
        if held is None:
            raise _unsupported(self.running[-1], "has its weights on the right of its values")
        if held.problem is None and not (factors.offset is None and _same(left, held.weights)):
            held.problem = "changes its weights after the softmax"
        if held.problem is not None:
            raise _unsupported(held.module, held.problem)
        if held.scores is None:
            return result
        query, key, mask, scaling = held.scores
        square = (*query.shape[:3], query.shape[2])
        mixed = factors.arranged(result)
        value = by_head(factors.right, left.shape[:-2])
        call = AttentionCall(
            held.module, query, key, value, mask, scaling, {},
            mixed.reshape(*query.shape[:3], -1).transpose(1, 2), held.weights.view(square),
            plain_attention,
        )  # fmt: skip
        # The model may hold on to its weights, and what is said of them here should not outlast
        # the call.
        held.scores, held.weights = None, held.weights.new_empty(0)
        instead = self.listener(call)
        if isinstance(instead, Tensor):
            return factors.restored(instead.transpose(1, 2).reshape(mixed.shape))
        return result

    def _fused(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        **options: Any,
    ) -> Tensor:
        """`scaled_dot_product_attention`, which tells everything."""
        module, n_tokens = self.running[-1], query.shape[-2]
        q, k, v = (t.reshape(1, -1, *t.shape[-2:]) for t in (query, key, value))
        if k.shape[2] != n_tokens:
            raise _unsupported(module, _ELSEWHERE)
        if self.before is not None:
            self.before(module, q, k)
        result = _SDPA(query, key, value, attn_mask, dropout_p, is_causal, **options)
        self.textual[result] = True
        bias = q.new_zeros(1, 1, n_tokens, n_tokens)
        hidden = bias.bool()
        if attn_mask is not None:
            whole = attn_mask.expand(*attn_mask.shape[:-2], n_tokens, n_tokens)
            whole = whole.reshape(1, -1, n_tokens, n_tokens)
            if attn_mask.dtype == torch.bool:
                hidden = ~whole
            else:
                bias, hidden = whole, whole <= FAR
        if is_causal:
            hidden = hidden | torch.ones_like(hidden).triu(1)
        mask = self.masks.of(module, bias, hidden)
        scale = options.get("scale")
        scaling = q.shape[-1] ** -0.5 if scale is None else float(scale)
        output = result.reshape(*q.shape[:3], -1).transpose(1, 2)
        instead = self.listener(
            AttentionCall(module, q, k, v, mask, scaling, {}, output, None, plain_attention)
        )
        if isinstance(instead, Tensor):
            return instead.transpose(1, 2).reshape(result.shape)
        return result


def _same(given: Tensor, weights: Tensor) -> bool:
    if given.numel() != weights.numel():
        return False
    return torch.equal(given.reshape(weights.shape), weights.to(given.dtype))


def _tensors(args: Any, kwargs: dict[str, Any]) -> list[Tensor]:
    """The tensors among arguments, and in lists and tuples among them."""
    found = []
    for value in (*args, *kwargs.values()):
        many = value if isinstance(value, (list, tuple)) else (value,)
        found += [v for v in many if isinstance(v, Tensor)]
    return found


def _is_parameter(tensor: Tensor) -> bool:
    return isinstance(tensor, nn.Parameter) or isinstance(tensor._base, nn.Parameter)


def _unsupported(module: nn.Module, problem: str) -> UnsupportedModelError:
    return UnsupportedModelError(
        f"The attention of {type(module).__name__} {problem}, so it cannot be traced exactly."
    )
