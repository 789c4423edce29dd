"""A module run with what is nonlinear in it held, so that it is one linear map of its input.

    activation      φ(z) = s · z + φ(0),  s = (φ(z) − φ(0)) / z held; where z is 0, s = φ′(0)
    product         a · b of two numbers that hang on the input: half of it by a, half by b
    weight          a product with one number for a whole vector (a router's, a norm's): held
    choice          softmax, top-k, comparisons: held

A function of one number may be spelled in many operations (0.5 · z · (1 + tanh(…))): operations
that map the numbers of a tensor one by one are gathered from the tensor z that they begin with, and
become one secant where something else is done with the result. Bach et al. (2015) share out a
layer's output by such secants; Arras et al. (2017) give a product's relevance to its signal alone,
here each branch gets half.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakIdKeyDictionary

# Operations that map numbers one by one, by name; with other tensors that are constants, or begin
# with the same numbers.
_ONE_BY_ONE = frozenset(
    {
        "silu", "gelu", "relu", "relu6", "leaky_relu", "elu", "selu", "celu", "sigmoid", "tanh",
        "hardswish", "hardsigmoid", "hardtanh", "softplus", "mish", "erf", "logsigmoid", "softsign",
        "mul", "multiply", "__mul__", "__rmul__", "div", "divide", "true_divide", "__truediv__",
        "__rtruediv__", "rdiv", "__rdiv__", "pow", "__pow__", "square", "sqrt", "rsqrt",
        "reciprocal", "exp", "expm1", "log", "log1p", "abs", "neg", "__neg__", "sin", "cos",
        "clamp", "clip", "clamp_min", "clamp_max", "minimum", "maximum", "where", "threshold",
        "to", "float", "double", "half", "bfloat16", "type", "type_as", "prelu",
    }
)  # fmt: skip
# Of these also, where the other is a plain number; a tensor is a bias like any other.
_WITH_NUMBER = frozenset(
    {
        "add", "__add__", "__radd__", "sub", "__sub__", "__rsub__", "rsub", "subtract", "min",
        "max",
    }
)  # fmt: skip
_PRODUCTS = frozenset({"mul", "multiply", "__mul__", "__rmul__"})
_SUMS_OF_PRODUCTS = frozenset(
    {"matmul", "__matmul__", "bmm", "mm", "einsum", "addmm", "baddbmm", "tensordot", "linear"}
)
_QUOTIENTS = frozenset({"div", "divide", "true_divide", "__truediv__"})
# What says nothing of the numbers.
_SHAPES = frozenset(
    {"size", "dim", "numel", "nelement", "stride", "is_contiguous", "is_floating_point", "__len__"}
)
_TURNED = frozenset({"T", "mT", "H", "mH", "data"})
_FRESH = frozenset(
    {
        "zeros_like", "ones_like", "full_like", "empty_like", "rand_like", "new_zeros", "new_ones",
        "new_full", "new_empty", "new_tensor",
    }
)  # fmt: skip
# What chooses, counts or measures: its result is what it was.
_HELD = frozenset(
    {
        "softmax", "log_softmax", "topk", "sort", "argsort", "argmax", "argmin", "max", "min",
        "amax", "amin", "norm", "vector_norm", "std", "var", "std_mean", "var_mean", "logsumexp",
        "eq", "ne", "lt", "le", "gt", "ge", "__eq__", "__ne__", "__lt__", "__le__", "__gt__",
        "__ge__", "isfinite", "isnan", "isinf", "nonzero", "sign", "round", "floor", "ceil",
        "detach", "item", "tolist", "kthvalue", "median", "quantile", "multinomial",
    }
)  # fmt: skip


class NotHeldError(Exception):
    """A module does something that cannot be held, or does it otherwise the second time."""


@dataclass
class _Chain:
    """What has been made of the numbers of a tensor one by one.

    Attributes:
        root: the tensor that it began with, in the graph of the input.
        leaf: the same numbers, where a graph of their own begins.
        value: what they became, in the leaf's graph.
        at_zero: what zeros would have become.
    """

    root: Tensor
    leaf: Tensor
    value: Tensor
    at_zero: Tensor


class Held(TorchFunctionMode):
    """Within the block a module's operations are linear in a tensor that it is given.

    Args:
        source: the tensor, a leaf of the graph.
        kept: what was held the first time, in order; filled by the first run. Another run with it
            does to its source what the first one did to its own.
    """

    def __init__(self, source: Tensor, kept: list[Any]) -> None:
        super().__init__()
        self.kept, self.first, self.count = kept, not kept, 0
        # What hangs on the source: nothing more is known of most tensors, a chain of some.
        self._known: WeakIdKeyDictionary = WeakIdKeyDictionary()
        self._leaves: WeakIdKeyDictionary = WeakIdKeyDictionary()
        self._known[source] = None

    def finished(self, output: Tensor) -> Tensor:
        """The module's output, in the graph of the source.

        Raises:
            NotHeldError: a further run held less than the first.
        """
        closed = self._closed(output)
        if self.count != len(self.kept):
            raise NotHeldError("A module did less than when its parts were held.")
        return closed

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Called in place of every torch function that the module calls."""
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if name == "_set_grad_enabled":
            return None  # a module that forbids gradients is run with them all the same
        found = [t for t in _tensors((args, kwargs)) if t in self._known]
        if not found:
            return func(*args, **kwargs)
        told = name == "__get__" and func.__self__.__name__ not in _TURNED
        if told or name in _SHAPES or name in _FRESH:
            return func(*args, **kwargs)
        if kwargs.get("inplace"):
            kwargs = {**kwargs, "inplace": False}
        if name.endswith("_") and not name.endswith("__") and args[0] in self._known:
            return self._changed(name, args, kwargs, found)
        if self._is_one_by_one(name, args, kwargs, found):
            return self._continued(func, args, kwargs, found)
        if name in _HELD:
            with torch.no_grad():
                plain = _mapped((args, kwargs), self._plain)
                return self._hold(lambda: _each(func(*plain[0], **plain[1]), Tensor.detach))
        if name in _PRODUCTS and len(args) == 2 and all(_is_in(a, found) for a in args):
            return self._product(*args)
        if name in _SUMS_OF_PRODUCTS and len(found) > 1:
            args, kwargs = self._with_weights_held(args, kwargs, found)
        if name in _QUOTIENTS and len(args) == 2 and _is_in(args[1], found):
            return self._quotient(func, *args)
        args, kwargs = _mapped((args, kwargs), self._closed)
        result = func(*args, **kwargs)
        if name.endswith("_") or name == "__setitem__":
            self._known[args[0]] = None
        return self._noted(result)

    def _changed(self, name: str, args: Any, kwargs: Any, found: list[Tensor]) -> Tensor:
        """What hangs on the source is changed in place: from now on it stands for the result."""
        target: Tensor = args[0]
        func, plain = getattr(Tensor, name[:-1], None), self._known[target] is None
        if func is not None and self._is_one_by_one(name[:-1], args, kwargs, found):
            shown = self._continued(func, args, kwargs, found)
            self._known[target] = self._known.get(shown)
            return target
        closed = _mapped((args, kwargs), self._closed)
        if plain:
            getattr(target, name)(*closed[0][1:], **closed[1])
        else:
            self._known[target] = getattr(closed[0][0], name)(*closed[0][1:], **closed[1])
        return target

    def _is_one_by_one(self, name: str, args: Any, kwargs: Any, found: list[Tensor]) -> bool:
        others = [t for t in _tensors((args, kwargs)) if t not in self._known]
        if name in _WITH_NUMBER:
            numbers = len(args) == 2 and not kwargs
            if not numbers or (others and name not in ("min", "max")) or len(found) > 1:
                return False
            if name in ("min", "max") and not others:
                return False
        elif name not in _ONE_BY_ONE:
            return False
        roots = {id(self._root(t)) for t in found}
        shape = self._root(found[0]).shape
        fits = all(t.ndim <= len(shape) and _broadcasts(t.shape, shape) for t in others)
        return len(roots) == 1 and fits and all(t.is_floating_point() for t in found)

    def _root(self, tensor: Tensor) -> Tensor:
        known: _Chain | Tensor | None = self._known[tensor]
        return known.root if isinstance(known, _Chain) else tensor if known is None else known

    def _chain(self, tensor: Tensor) -> _Chain:
        known: _Chain | Tensor | None = self._known[tensor]
        if isinstance(known, _Chain):
            return known
        tensor = tensor if known is None else known
        if tensor not in self._leaves:
            self._leaves[tensor] = tensor.detach().requires_grad_()
        leaf = self._leaves[tensor]
        return _Chain(tensor, leaf, leaf, torch.zeros_like(tensor))

    def _continued(self, func: Any, args: Any, kwargs: Any, found: list[Tensor]) -> Any:
        """One more operation of a chain."""
        chains = {id(t): self._chain(t) for t in found}
        first = chains[id(found[0])]

        def swapped(what: str) -> Any:
            def swap(t: Tensor) -> Tensor:
                return getattr(chains[id(t)], what) if id(t) in chains else t.detach()

            return _mapped((args, kwargs), swap)

        values, zeros = swapped("value"), swapped("at_zero")
        with torch.enable_grad():
            value = func(*values[0], **values[1])
        with torch.no_grad():
            at_zero = func(*zeros[0], **zeros[1])
        if value is first.leaf:  # as it was, in another dtype's name
            return found[0]
        if not isinstance(value, Tensor):
            return value  # the name of a type
        shown: Tensor = value.detach()
        self._known[shown] = _Chain(first.root, first.leaf, value, at_zero)
        return shown

    def _closed(self, tensor: Tensor) -> Tensor:
        """A tensor in the graph of the source; one that does not hang on it as it is."""
        if tensor not in self._known:
            return tensor
        linear, constant = self._secant(tensor)
        return linear if constant is None else linear + constant

    def _secant(self, tensor: Tensor) -> tuple[Tensor, Tensor | None]:
        """A tensor as something in the graph of the source and a constant."""
        known: _Chain | Tensor | None = self._known[tensor]
        if not isinstance(known, _Chain):
            return (tensor if known is None else known), None
        slope, constant = self._hold(lambda: _secant_of(known))
        return slope * known.root.to(slope.dtype), constant

    def _product(self, left: Tensor, right: Tensor) -> Any:
        """Of two tensors that hang on the source in ways of their own."""
        if left.numel() != right.numel():
            # One number for a whole vector is a weight.
            light, heavy = (left, right) if left.numel() < right.numel() else (right, left)
            weight = self._hold(lambda: self._plain(light))
            return self._noted(weight * self._closed(heavy))
        (a, a_fixed), (b, b_fixed) = self._secant(left), self._secant(right)
        a_held, b_held = self._hold(lambda: (a.detach(), b.detach()))
        total = (a * b_held + a_held * b) / 2
        if b_fixed is not None:
            total = total + a * b_fixed
        if a_fixed is not None:
            total = total + a_fixed * b
        if a_fixed is not None and b_fixed is not None:
            total = total + a_fixed * b_fixed
        return self._noted(total)

    def _with_weights_held(self, args: Any, kwargs: Any, found: list[Tensor]) -> Any:
        """The arguments with all but the largest of those that hang on the source held."""
        heavy = max(found, key=Tensor.numel)

        def swap(tensor: Tensor) -> Tensor:
            light = tensor is not heavy and tensor in self._known
            held: Tensor = self._hold(lambda: self._plain(tensor)) if light else tensor
            return held

        return _mapped((args, kwargs), swap)

    def _quotient(self, func: Any, above: Any, below: Tensor) -> Any:
        held = self._hold(lambda: self._plain(below))
        if not isinstance(above, Tensor) or above not in self._known:
            return func(above, held)
        return self._noted(func(self._closed(above), held))

    def _plain(self, tensor: Tensor) -> Tensor:
        """The numbers alone."""
        known: _Chain | Tensor | None = self._known.get(tensor)
        if isinstance(known, _Chain):
            return known.value.detach()
        return (tensor if known is None else known).detach()

    def _hold(self, make: Callable[[], Any]) -> Any:
        """What was held at this place the first time; the first time, what is made now."""
        if self.first:
            made = make()
            # Modules may change it in place.
            self.kept.append(_each(made, Tensor.clone))
            self.count += 1
            return made
        if self.count >= len(self.kept):
            raise NotHeldError("A module did more than when its parts were held.")
        self.count += 1
        return _each(self.kept[self.count - 1], Tensor.clone)

    def _noted(self, result: Any) -> Any:
        for tensor in _tensors(result):
            if tensor.is_floating_point():
                self._known[tensor] = None
        return result


def _secant_of(chain: _Chain) -> tuple[Tensor, Tensor | None]:
    """(slope, constant) with value = slope · z + constant; no constant where it is nothing."""
    value, z = chain.value.detach(), chain.leaf.detach().to(chain.value.dtype)
    at_zero = chain.at_zero.to(value).expand_as(value)
    # Of what has no value at 0 nothing can be said: it is a constant.
    known = at_zero.isfinite() & z.isfinite()
    at_zero = torch.where(known, at_zero, torch.zeros_like(at_zero))
    # Differences of numbers that are almost the same are rounding.
    near = (z == 0) | ((at_zero != 0) & (z.abs() < torch.finfo(value.dtype).eps ** 0.5))
    slope = (value - at_zero) / torch.where(near, torch.ones_like(z), z)
    if bool(near.any()):
        tangent = torch.zeros_like(z)
        if chain.value.requires_grad:
            (found,) = torch.autograd.grad(chain.value.sum(), chain.leaf, retain_graph=True)
            tangent = found.to(value.dtype)
        slope = torch.where(near, tangent, slope)
    slope = torch.where(known & slope.isfinite(), slope, torch.zeros_like(slope))
    constant = value - torch.where(known, slope * z, torch.zeros_like(z))
    constant = torch.where(known & ~near & (at_zero == 0), torch.zeros_like(z), constant)
    return slope, constant if bool(constant.any()) else None


def _broadcasts(shape: torch.Size, to: torch.Size) -> bool:
    return all(a in (1, b) for a, b in zip(reversed(shape), reversed(to), strict=False))


def _is_in(value: Any, tensors: list[Tensor]) -> bool:
    return any(value is t for t in tensors)


def _mapped(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """The same arguments with their tensors changed, in lists and tuples and dicts too."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, dict):
        return {k: _mapped(v, change) for k, v in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_mapped(v, change) for v in value)
    return value


def _tensors(value: Any) -> list[Tensor]:
    found: list[Tensor] = []

    def note(tensor: Tensor) -> Tensor:
        found.append(tensor)
        return tensor

    if isinstance(value, tuple) and type(value) is not tuple:
        value = tuple(value)  # what torch returns under names
    _mapped(value, note)
    return found


def _each(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """The tensors of a result changed, in tuples too."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, (tuple, list)):
        values = [_each(v, change) for v in value]
        return type(value)(values)
    return value
