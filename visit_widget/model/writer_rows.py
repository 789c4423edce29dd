"""One run of an MLP on one position, taken apart into rows that write."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn

from .errors import UnsupportedModelError
from .gates import Gate
from .loaded import brought_in
from .watch import first_tensor
from .weight_calls import Product, Run, Watch
from .weights import Weights

HINT = "MLPs are understood that add up rows of their own, unquantised weights."
_FAILURES = (TypeError, ValueError, RuntimeError, LookupError, AttributeError)


@dataclass(frozen=True)
class WriterGroup:
    """Weights with the same part in the module: one dense matrix, or those of all experts.

    Attributes:
        names: the weights' names in the module, in order; experts may share one weight.
        width: neurons of an expert, or of the dense matrix.
        per_weight: neurons of each of the weights.
        offset: the number of the group's first neuron.
        first_expert: the number of its first expert; None where every token has these neurons.
        gate: where it reads what enters a neuron's activation function; None where that is unknown.
    """

    names: tuple[str, ...]
    width: int
    per_weight: int
    offset: int
    first_expert: int | None
    gate: Gate | None = None

    @property
    def size(self) -> int:
        """How many neurons the group has."""
        return len(self.names) * self.per_weight


@dataclass(frozen=True)
class WriterLayout:
    """Which weights of a module write, and how their neurons are numbered.

    Attributes:
        groups: experts first, then what every token has.
        d_mlp: how many neurons there are, over all experts.
        n_experts: how many experts a router chooses from; 0 where there is none.
        constant: (d_model,) what the module adds of its own accord; None where nothing.
        flat: whether the module takes (1, d_model) rather than (1, 1, d_model).
    """

    groups: tuple[WriterGroup, ...]
    d_mlp: int
    n_experts: int
    constant: Tensor | None
    flat: bool

    def group_of(self, name: str) -> WriterGroup | None:
        """The group of a weight."""
        return next((g for g in self.groups if name in g.names), None)


class Row(NamedTuple):
    """One row of a writing product."""

    group: WriterGroup
    start: int
    product: Product
    batch: int
    row: int
    share: Tensor


@contextmanager
def experts_one_by_one(module: nn.Module) -> Iterator[None]:
    """Within the block, experts are computed one by one, as every dtype can be.

    The setting is written where the config keeps it: its setter would reach into other configs.
    """
    configs = {id(c): c for m in module.modules() if (c := getattr(m, "config", None)) is not None}
    key = "_experts_implementation_internal"
    usual = [(c, vars(c)[key]) for c in configs.values() if key in getattr(c, "__dict__", {})]
    try:
        for config, _ in usual:
            vars(config)[key] = "eager"
        yield
    finally:
        for config, value in usual:
            vars(config)[key] = value


@contextmanager
def as_found(module: nn.Module) -> Iterator[None]:
    """In eval mode, with experts computed one by one, and gradients on; all put back afterwards."""
    training = [m for m in module.modules() if m.training]
    try:
        module.eval()
        with experts_one_by_one(module), brought_in(module), torch.enable_grad():
            yield
    finally:
        for m in training:
            m.training = True


def run_once(
    module: nn.Module,
    weights: Weights,
    x: Tensor,
    flat: bool,
    silent: Collection[str] = (),
) -> Run:
    """Run the module on x of shape (d_model,), giving it zeros for products with `silent`."""
    leaf = x.clone().requires_grad_()
    given = leaf.clone()[None] if flat else leaf.clone()[None, None]
    watch = Watch(weights, silent)
    try:
        with watch:
            output = first_tensor(module(given))
    except _FAILURES as error:
        raise UnsupportedModelError(
            f"{type(module).__name__} could not be run on one position on its own: {error}"
        ) from error
    if output is None or output.numel() != x.numel():
        raise UnsupportedModelError(
            f"{type(module).__name__} did not give one vector of the stream for one. {HINT}"
        )
    return Run(leaf, output.reshape(-1), watch.products, watch.entered)


@lru_cache(maxsize=8)
def _signs(n: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Random ±1, n of them: multiplying by them rounds nothing."""
    generator = torch.Generator().manual_seed(5)
    return (torch.randint(0, 2, (n,), generator=generator) * 2 - 1).to(device, dtype)


class Use(NamedTuple):
    """How one product reached the output: its rows' shares (B, T), None where it is no writer."""

    product: Product
    shares: Tensor | None


def uses_of(module: nn.Module, run: Run, products: list[Product] | None = None) -> list[Use]:
    """What the output is of each product: c · identity, something else, or nothing (left out)."""
    products = run.products if products is None else products
    if not products or not run.output.requires_grad:
        raise UnsupportedModelError(
            f"No product of {type(module).__name__} with its own weights was seen to reach its "
            f"output. {HINT}"
        )
    signs = _signs(run.output.numel(), run.output.dtype, run.output.device)
    leaves = [p.leaf for p in products]
    try:
        grads = torch.autograd.grad(run.output, leaves, signs, allow_unused=True, retain_graph=True)
    except RuntimeError as error:  # the module wrote over what a gradient needs
        raise UnsupportedModelError(
            f"How {type(module).__name__} makes its output could not be followed: {error}"
        ) from error
    seen = []
    for product, grad in zip(products, grads, strict=True):
        if grad is None or not bool(grad.any()):
            continue
        shares = None
        if product.width == signs.numel():
            each = product.rows(grad) * signs.to(grad)
            middle = each[..., 0]
            spread = (each - middle[..., None]).abs().amax(-1)
            # Times ±1, every number of c · identity is rounded the same way, in any dtype.
            eps = min(torch.finfo(grad.dtype).eps, torch.finfo(torch.float32).eps)
            if bool((spread <= 4 * eps * middle.abs()).all()):
                shares = middle
        seen.append(Use(product, shares))
    return seen


def live_rows(product: Product, shares: Tensor) -> list[list[int]]:
    """[batch, row] of the rows of a writing product that write anything."""
    alive = (shares != 0) & (product.x.detach() != 0).any(-1)
    found: list[list[int]] = alive.nonzero().tolist()
    return found


def rows_of(
    module: nn.Module, layout: WriterLayout, weights: Weights, run: Run
) -> tuple[list[Row], Tensor | None]:
    """What the layout's weights write in a run, row by row, and the bias: (d_model,) or None."""
    known = [p for p in run.products if layout.group_of(p.name) is not None]
    rows: list[Row] = []
    wide = torch.promote_types(run.output.dtype, torch.float32)
    bias = None if layout.constant is None else layout.constant.to(wide)
    total = torch.zeros_like(run.output, dtype=wide) if bias is None else bias
    size = float(total.norm())
    for product, shares in uses_of(module, run, known):
        group = layout.group_of(product.name)
        if shares is None or group is None:
            raise UnsupportedModelError(
                f"The output of {type(module).__name__} is not linear in what its {product.name} "
                f"writes. {HINT}"
            )
        shares = shares.to(wide)
        written = product.rows(product.leaf.detach()).to(wide)
        for constant in (product.bias, product.added):
            if constant is None:
                continue
            each = product.rows(constant.detach().expand(product.leaf.shape)).to(wide)
            part = torch.einsum("bt,bto->o", shares, each)
            bias = part if bias is None else bias + part
            if constant is product.added:
                written = written + each
        parts = shares[..., None] * written
        total = total + parts.sum((0, 1))
        size += float(parts.norm(dim=-1).sum())
        if group.first_expert is None:
            live = (shares != 0).nonzero().tolist()
        else:
            live = live_rows(product, shares)
        for batch, row in live:
            rows.append(_row(module, weights, group, product, batch, row, shares[batch, row]))
    dtypes = {run.output.dtype, torch.float32, *(p.leaf.dtype for p in known)}
    tolerance = 16 * max(torch.finfo(dtype).eps for dtype in dtypes)
    error = float((run.output.detach() - total).norm())
    if not error <= tolerance * size:
        raise UnsupportedModelError(
            f"The output of {type(module).__name__} is not what its down projections add up to: "
            f"off by {error / max(size, 1e-30):.1e} of it. {HINT}"
        )
    rows.sort(key=lambda r: r.start)
    if any(a.start == b.start for a, b in pairwise(rows)):
        raise UnsupportedModelError(
            f"{type(module).__name__} lets a neuron write more than once. {HINT}"
        )
    return rows, bias


def _row(
    module: nn.Module,
    weights: Weights,
    group: WriterGroup,
    product: Product,
    batch: int,
    row: int,
    share: Tensor,
) -> Row:
    matrix = product.matrix(batch)
    place = weights.neurons(matrix)
    if place is None or len(matrix) != group.width:
        raise unnumbered(module, product.name)
    start = group.offset + group.names.index(place[0]) * group.per_weight + place[1]
    return Row(group, start, product, batch, row, share)


def unnumbered(module: nn.Module, name: str) -> UnsupportedModelError:
    """What to raise where a weight's rows do not stand in it one after the other."""
    return UnsupportedModelError(
        f"The neurons of {type(module).__name__} cannot be numbered: its {name} is used in "
        f"pieces that do not follow one another. {HINT}"
    )
