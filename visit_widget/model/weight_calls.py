"""Watching a module multiply by its own weights, with the graph cut at each product.

What a module computes between its matrix products is left to autograd: in a run under `Watch` the
output of every product is a leaf, so a gradient of the module's output, or of what enters a
product, with respect to such a leaf says how that product is used and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from .weights import Weights

_PRODUCTS = frozenset({"linear", "matmul", "mm", "bmm", "addmm", "baddbmm", "einsum"})
_SUMS = frozenset({"add", "add_"})
_COPIES = frozenset(
    {"to", "float", "double", "half", "bfloat16", "type", "type_as", "contiguous", "clone"}
)
_GATHERS = frozenset({"__getitem__", "index_select"})
_ACTIVATIONS = frozenset(
    {
        "silu", "gelu", "relu", "relu6", "leaky_relu", "elu", "selu", "celu", "sigmoid", "tanh",
        "hardswish", "hardsigmoid", "hardtanh", "softplus", "mish", "erf", "logsigmoid", "softsign",
    }
)  # fmt: skip


@dataclass
class Product:
    """One product of an activation with a weight, as B · T rows x W (+ bias).

    Attributes:
        name: the weight's name in the module.
        x: (B, T, I) what is multiplied, in the graph of earlier leaves and of the module's input.
        leaf: the product's output, a leaf of the graph.
        bias: what the output holds besides x W; broadcasts to the output.
        added: what the module added right afterwards, shaped as `leaf`; None where nothing.
    """

    name: str
    x: Tensor
    leaf: Tensor
    bias: Tensor | None
    _weight: Tensor
    _turn: Callable[[Tensor], Tensor]
    added: Tensor | None = None

    @property
    def width(self) -> int:
        """O, the width of a row of the output."""
        return self._weight.shape[-1]

    def rows(self, output: Tensor) -> Tensor:
        """Rows of a tensor shaped as the output: (B, T, O)."""
        turned = self._turn(output)
        return turned.reshape(*self.x.shape[:2], turned.shape[-1])

    def matrix(self, batch: int) -> Tensor:
        """(I, O) the weight of the rows of one batch, a view."""
        if self._weight.ndim == 2:
            return self._weight
        at: list[int] = []
        for size in reversed(self._weight.shape[:-2]):
            batch, i = divmod(batch, size)
            at.insert(0, i)
        return self._weight[tuple(at)]


@dataclass
class Run:
    """One pass of a module over one position.

    Attributes:
        x: (d_model,) its input, a leaf.
        output: (d_model,) in the graph of the leaves.
        products: in the order in which they were made.
        entered: what entered activation functions, in order.
    """

    x: Tensor
    output: Tensor
    products: list[Product] = field(default_factory=list)
    entered: list[Tensor] = field(default_factory=list)


class Watch(TorchFunctionMode):
    """Cuts the graph at every product with a weight and notes the products.

    Args:
        weights: the module's weights.
        silent: names of weights whose products are given to the module as zeros.
    """

    def __init__(self, weights: Weights, silent: Collection[str] = ()) -> None:
        super().__init__()
        self.weights, self.silent = weights, silent
        self.products: list[Product] = []
        self.entered: list[Tensor] = []
        # By storage: outputs as the module got them, and the version in which they are still that.
        self._outputs: dict[int, tuple[Product, Tensor, int]] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Called in place of every torch function that the module calls."""
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if name == "_set_grad_enabled":
            return None  # a module that forbids gradients is watched all the same
        if name in _PRODUCTS:
            return self._product(name, func, args, kwargs)
        if name in _SUMS and len(args) == 2 and not kwargs:
            return self._sum(func, args, in_place=name == "add_")
        if name in _ACTIVATIONS and args and isinstance(args[0], Tensor):
            if not kwargs.get("inplace"):
                self.entered.append(args[0])
        elif name in _COPIES or name in _GATHERS:
            return self._copied(name, func, args, kwargs)
        return func(*args, **kwargs)

    def _product(self, name: str, func: Any, args: Any, kwargs: Any) -> Any:
        factors = _factors(name, args, kwargs)
        if factors is None:
            return func(*args, **kwargs)
        a, b, bias, equation = factors
        owners = self.weights.owner(a), self.weights.owner(b)
        owner = owners[0] or owners[1]
        if owner is None or None not in owners:
            return func(*args, **kwargs)
        if bias is not None and self.weights.owner(bias) is None:
            return func(*args, **kwargs)  # an activation, added under the name of a bias
        form = _right_hand(a, b, equation, weight_first=owners[0] is not None)
        if form is None:
            return func(*args, **kwargs)
        x, weight, turn = form
        with torch.no_grad():
            out = func(*args, **kwargs)
            leaf = torch.zeros_like(out) if owner in self.silent else out
        leaf = leaf.detach().requires_grad_()
        product = Product(owner, x, leaf, bias, weight, turn)
        self.products.append(product)
        given = leaf.clone()  # a module may write into what it gets
        self._note_output(product, given)
        return given

    def _note_output(self, product: Product, given: Tensor) -> None:
        self._outputs[given.untyped_storage().data_ptr()] = (product, given, given._version)

    def _sum(self, func: Any, args: Any, in_place: bool) -> Any:
        """A bias added to a product of its own accord belongs to the product."""
        pairs = (args,) if in_place else (args, args[::-1])
        for kept, bias in pairs:
            if not (isinstance(kept, Tensor) and isinstance(bias, Tensor)):
                continue
            product, _, version = self._outputs.get(
                kept.untyped_storage().data_ptr(), (None, None, 0)
            )
            if (
                product is None
                or kept._version != version
                or kept.numel() != product.leaf.numel()
                or not kept.is_contiguous()
                or bias.ndim > kept.ndim
                or self.weights.owner(bias) is None
            ):
                continue
            whole = bias.detach().expand(kept.shape).reshape(product.leaf.shape)
            product.added = whole if product.added is None else product.added + whole
            if product.name in self.silent:
                return kept
            out = func(*args)
            self._note_output(product, out)
            return out
        return func(*args)

    def _copied(self, name: str, func: Any, args: Any, kwargs: Any) -> Any:
        out = func(*args, **kwargs)
        source = args[0] if args else None
        if not (isinstance(source, Tensor) and isinstance(out, Tensor)) or out is source:
            return out
        if self.weights.owner(source) is None:
            return out
        if name in _COPIES:
            self.weights.note_copy(out, source)
            return out
        index = args[1] if name == "__getitem__" else args[2] if len(args) > 2 else None
        along_first = name == "__getitem__" or args[1] == 0
        if isinstance(index, Tensor) and index.ndim == 1 and along_first:
            picked = index.nonzero()[:, 0] if index.dtype == torch.bool else index
            self.weights.note_copy(out, source, [int(i) for i in picked.tolist()])
        return out


_Factors = tuple[Tensor, Tensor, Tensor | None, str | None]


def _factors(name: str, args: Any, kwargs: Any) -> _Factors | None:
    """The two factors of a call, its bias, and its einsum equation; None for what is not read."""
    if "out" in kwargs or "alpha" in kwargs or "beta" in kwargs:
        return None
    given = [*args, *kwargs.values()]
    equation, bias = None, None
    if name == "einsum":
        equation = given.pop(0)
        if len(given) == 1 and isinstance(given[0], (tuple, list)):
            given = list(given[0])
    elif name == "linear":
        bias = given[2] if len(given) > 2 else None
        given = given[:2]
    elif name in ("addmm", "baddbmm"):
        bias = given.pop(0)
    if len(given) != 2 or not all(isinstance(t, Tensor) and t.numel() for t in given):
        return None
    a, b = given
    return a, b.mT if name == "linear" else b, bias, equation


_Form = tuple[Tensor, Tensor, Callable[[Tensor], Tensor]]


def _right_hand(a: Tensor, b: Tensor, equation: str | None, weight_first: bool) -> _Form | None:
    """A product as x W with the weight on the right.

    Returns:
        x of shape (B, T, I); W of shape (I, O) or (…, I, O); and what turns the output's dimensions
        into (…, T, O). None where the product is no such thing.
    """
    if equation is not None:
        return _from_einsum(a, b, equation, weight_first)
    if weight_first:
        if a.ndim < 2:
            return None
        x, weight, turn = (b[None], a.mT, _same) if b.ndim == 1 else (b.mT, a.mT, _transposed)
    else:
        if b.ndim < 2:
            return None
        x, weight, turn = (a[None] if a.ndim == 1 else a), b, _same
    if weight.ndim == 2:
        return x.reshape(1, -1, x.shape[-1]), weight, turn
    batch = torch.broadcast_shapes(x.shape[:-2], weight.shape[:-2])
    return (
        x.expand(*batch, *x.shape[-2:]).reshape(-1, *x.shape[-2:]),
        weight.expand(*batch, *weight.shape[-2:]),
        turn,
    )


def _from_einsum(a: Tensor, b: Tensor, equation: str, weight_first: bool) -> _Form | None:
    left, arrow, out = equation.replace(" ", "").partition("->")
    letters = left.split(",")
    if not arrow or "." in equation or len(letters) != 2 or "," in out:
        return None
    pairs = list(zip(letters, (a, b), strict=True))
    (wl, weight), (xl, x) = pairs if weight_first else pairs[::-1]
    rows = [c for c in xl if c in out and c not in wl]
    inner = [c for c in xl if c in wl and c not in out]
    outer = [c for c in out if c in wl and c not in xl][-1:]
    batch = [c for c in out if c in wl and c not in outer]
    whole = len(set(xl)) == len(xl) and len(set(wl)) == len(wl)
    if not whole or len(inner) != 1 or len(outer) != 1:
        return None
    if not {*xl} <= {*batch, *rows, *inner} or {*wl} != {*batch, *inner, *outer}:
        return None
    weight = weight.permute([wl.index(c) for c in (*batch, *inner, *outer)])
    x = x.permute([xl.index(c) for c in (*batch, *rows, *inner) if c in xl])
    for d, c in enumerate(batch):  # the same activations for every matrix
        x = x if c in xl else x.unsqueeze(d)
    x = x.expand(*weight.shape[: len(batch)], *x.shape[len(batch) :])
    n_rows = x.shape[len(batch) : -1].numel()
    order = [out.index(c) for c in (*batch, *rows, *outer)]
    return x.reshape(-1, n_rows, x.shape[-1]), weight, lambda t: t.permute(order)


def _same(t: Tensor) -> Tensor:
    return t


def _transposed(t: Tensor) -> Tensor:
    return t.mT
